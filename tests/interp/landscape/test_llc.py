"""Coefficients known in closed form, and chains that must be refused."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad

from interp.cli.landscape_tables import refused
from interp.emergence.instruments import instrument_onsets
from interp.landscape.llc import LearningCoefficient, check_traces, local_learning_coefficient, split_rhat
from interp.run import Run
from tasks import UserError

N = 1000


def _measured(loss, d: int, step: float, gamma: float = 1.0, draws: int = 3000):
    start = torch.zeros(d, dtype=torch.float64)
    return local_learning_coefficient(
        [loss], start, N, chains=4, draws=draws, burn_in=300, step=step, gamma=gamma
    )


def test_a_bowl_has_half_its_dimension() -> None:
    found = _measured(lambda w: (w**2).sum() / 2, d=10, step=1e-3)
    assert found.value == pytest.approx(5, rel=0.08)


def test_flat_directions_do_not_count() -> None:
    found = _measured(lambda w: (w[:4] ** 2).sum() / 2, d=10, step=1e-3)
    assert found.value == pytest.approx(2, rel=0.1)


def test_a_singular_minimum_agrees_with_quadrature() -> None:
    """loss w^4: coefficient 1/4 as n grows; at this n and localisation the exact value is an integral."""
    beta_n = N / math.log(N)

    def weight(w: float) -> float:
        return math.exp(-beta_n * w**4 - w**2 / 2)

    exact = beta_n * quad(lambda w: w**4 * weight(w), -3, 3)[0] / quad(weight, -3, 3)[0]
    assert exact == pytest.approx(0.25, abs=0.03)
    found = _measured(lambda w: (w**4).sum(), d=8, step=4e-3, draws=4000)
    assert found.value / 8 == pytest.approx(exact, rel=0.12)


def test_rhat_tells_chains_that_agree_from_those_that_do_not() -> None:
    gen = torch.Generator().manual_seed(0)
    good = torch.randn(4, 500, generator=gen, dtype=torch.float64)
    assert split_rhat(good) < 1.02
    assert split_rhat(good + torch.arange(4.0).double()[:, None]) > 1.3
    assert split_rhat(good + torch.linspace(0, 4, 500).double()) > 1.3


def test_bad_chains_are_refused() -> None:
    with pytest.raises(UserError, match="diverged"):
        _measured(lambda w: (w**2).sum() * 1e4, d=3, step=1.0, draws=200)
    with pytest.raises(UserError, match="not mixed"):
        check_traces(torch.linspace(0, 1, 100).double().repeat(4, 1))
    noise = 0.1 * torch.randn(4, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with pytest.raises(UserError, match="no local minimum"):
        check_traces(noise - 1.0)
    with pytest.raises(UserError, match="2 chains"):
        local_learning_coefficient([lambda w: w.sum()], torch.zeros(2), N, chains=1, step=0.1)


def test_minibatches_of_different_levels_cancel_in_pairs() -> None:
    """Four bowls whose depths differ by more than the chains' rise: the mean bowl's coefficient comes out."""
    losses = [lambda w, k=k: (w**2).sum() / 2 + 10 * k for k in range(4)]
    found = local_learning_coefficient(
        losses, torch.zeros(10, dtype=torch.float64), N, draws=1500, burn_in=300, step=1e-3
    )
    assert found.value == pytest.approx(5, rel=0.12)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A net that learns one hop."""
    shape = {"task.hops": 1, "task.chains": 2, "task.vocab": 4, "model.n_layers": 1, "model.n_heads": 1,
             "model.d_model": 8, "train.batch": 16, "train.eval_batch": 16, "train.schedule.every": 20,
             "train.schedule.log": 0, "train.lr": 1e-2}  # fmt: skip
    return Run.train("retrieval", tmp_path_factory.mktemp("llc") / "run", steps=400, changes=shape)


def test_a_trained_net_has_a_coefficient_and_an_untrained_one_is_refused(run) -> None:
    settings = LearningCoefficient(prompts=64, minibatch=16, n=1000, gamma=100.0, draws=200, step=1e-3)
    table = run.tables([settings], [0, 400])["llc"].set_index("step")
    assert table.loc[400, "note"] == ""
    assert 0 < table.loc[400, "ci_low"] < table.loc[400, "value"] < run.parameters / 2
    assert math.isnan(table.loc[0, "value"])
    assert "no local minimum" in table.loc[0, "note"]


SHORT = LearningCoefficient(prompts=16, minibatch=16, chains=2, draws=20, burn_in=0, step=1e3)


def test_refused_checkpoints_keep_a_row_without_a_value_beside_the_curvature(run) -> None:
    found = run.curvature([40, 400], prompts=16, probes=2, llc=SHORT).table
    assert "sharpness" in set(found["metric"])
    table = found[found["metric"] == "local learning coefficient"]
    assert table["step"].tolist() == [40, 400]
    assert table["value"].isna().all()
    assert (table["note"] != "").all()
    assert [step for step, _ in refused(found)] == [40, 400]


def test_the_landscape_is_dated_on_the_runs_axis_and_the_loss_by_its_fall(run) -> None:
    table = instrument_onsets(run, "landscape", llc=SHORT).set_index("subject")
    assert table.loc["loss", "state"] == "emerged"
    assert 0 < table.loc["loss", "step"] <= 200
    assert {"sharpness", "gradient norm"} <= set(table.index)
    assert "local learning coefficient" not in table.index, "all its chains are refused"
    with pytest.raises(UserError, match="cannot tell a rise from noise"):
        instrument_onsets(run, "landscape", "0,400")
    with pytest.raises(UserError, match="there are readouts, landscape, edges"):
        instrument_onsets(run, "skills")
