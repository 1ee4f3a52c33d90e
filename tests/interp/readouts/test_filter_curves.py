"""The drawn filter of a readout: that of a net whose steps were written down, and nothing where nothing is read."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from interp.config.model_transformer import TransformerConfig
from interp.models import build_model
from interp.models.constructed_algorithms import constructed_gradient_descent
from interp.readouts.filter_curves import FilterCurves
from tasks.regression import InContextRegression

D, N, STEPS, RATE = 5, 10, 3, 0.1
TASK = InContextRegression(d=D, n=N, layout="merged", eigenvalues=(3.0, 1.0, 0.5, 0.3, 0.2))


def curves(model) -> pd.DataFrame:
    analysis = FilterCurves(chunks=5, validation_chunks=1, test_chunks=1, draws=100)
    accumulator = analysis.accumulator(model, TASK, None)
    for chunk in range(analysis.chunks):
        batch = TASK.sample(0, "analysis", chunk, 256).double()
        _, cache = model.run_with_cache(batch.inputs, names_filter=analysis.hooks(model))
        accumulator.add(chunk, batch, torch.zeros(256, TASK.interface.n_ctx, 1), cache)
    return accumulator.table()


@pytest.fixture(scope="module")
def planted() -> pd.DataFrame:
    table = curves(constructed_gradient_descent([RATE] * STEPS, D, N)[0])
    return table[table["site"] == f"blocks.{STEPS - 1}.hook_resid_post"]


def curve(table: pd.DataFrame, family: str) -> pd.DataFrame:
    return table[table["algorithm"] == family].reset_index(drop=True)


def test_the_measured_filter_is_that_of_the_planted_steps(planted):
    """f is gain (1 - (1 - rate λ / n)^steps); the gain is the readout's own, one number for all λ."""
    found = curve(planted, "measured")
    true = 1 - (1 - RATE * found["eigenvalue"] / N) ** STEPS
    upper = found["eigenvalue"] >= found["eigenvalue"].median()
    gain = found["value"] / true
    assert (gain / gain[upper].median() - 1)[upper].abs().max() < 0.1
    low, high = found["ci_low"] / true, found["ci_high"] / true
    assert ((low <= 1.1 * gain[upper].median()) & (0.9 * gain[upper].median() <= high)).all()


def test_the_planted_family_lies_on_the_measured_curve_and_rivals_off_it(planted):
    measured = curve(planted, "measured")

    def inside(family: str) -> int:
        return int(curve(planted, family)["value"].between(measured["ci_low"], measured["ci_high"]).sum())

    gd = curve(planted, "gd")
    assert gd["k"].unique().tolist() == [STEPS]
    assert gd["misfit"].max() < 0.005
    assert inside("gd") >= 6, "of eight 95% intervals"
    assert inside("newton") <= 2
    assert inside("cg") <= 3


def test_an_untrained_net_has_no_filter_to_draw():
    settings = TransformerConfig(n_layers=2, n_heads=2, d_model=16, mask="full")
    table = curves(build_model(settings, TASK.interface, 0).double().eval())
    assert table["algorithm"].tolist() == ["none"]
    assert table["note"].item() == "no site beats its controls"
