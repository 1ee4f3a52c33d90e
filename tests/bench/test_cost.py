"""Counted costs against a count by hand, and stacked against single runs as rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from interp.config.run import configure
from interp.train.stacked_pace import stacked_table
from tests.bench import cost_models, fits
from tests.bench.cost import H100_PEAK, H100_SHARE, cost, matmul_rate

SMALL = {"model.n_layers": 1, "model.n_heads": 2, "model.d_model": 8, "train.batch": 4, "train.steps": 10}


def test_flops_are_those_of_a_count_by_hand() -> None:
    """Doubling the prompts doubles the count; a layer costs 3 times its forward products (its inputs need slopes)."""
    one, two, more = (
        cost(configure("retrieval", changes={**SMALL, **change}), 1e9)
        for change in ({}, {"train.batch": 8}, {"model.n_layers": 2})
    )
    config = configure("retrieval", changes=SMALL)
    positions = config.task.sample(0, "train", 0, 4).inputs.shape[1]
    d, rows = 8, 4 * positions
    forward = (
        2 * rows * 4 * d * d + 2 * 2 * rows * positions * d
    )  # Q, K, V, O; scores and mixing, over all heads
    assert more["step_flop"] - one["step_flop"] == 3 * forward
    assert two["step_flop"] == 2 * one["step_flop"]
    assert one["run_flop"] == 10 * one["step_flop"]
    assert one["h100_hours"] == pytest.approx(one["run_flop"] / (H100_PEAK * H100_SHARE * 3600))
    assert one["core_hours"] == pytest.approx(one["run_flop"] / 3.6e12)


def test_memory_is_counted_once() -> None:
    found = cost(configure("retrieval", changes={**SMALL, "train.optimiser": "adam"}), 1e9)
    assert found["optimiser_mb"] == pytest.approx(
        found["weights_mb"], rel=0.01
    )  # two moments; weights and slopes
    twice = cost(configure("retrieval", changes={**SMALL, "train.optimiser": "adam", "train.batch": 8}), 1e9)
    assert twice["activations_mb"] == pytest.approx(2 * found["activations_mb"], rel=0.2)
    assert twice["weights_mb"] == found["weights_mb"]


def test_rates_and_ratios_are_measured() -> None:
    assert matmul_rate(size=64, seconds=0.01) > 1e6
    table = stacked_table(configure("retrieval", changes=SMALL), (2, 4), members=2, steps=1)
    assert list(table["batch"]) == [2, 4]
    assert table["ratio"].to_numpy() == pytest.approx((table["baseline_ms"] / table["project_ms"]).to_numpy())


def test_a_power_is_found_with_how_far_times_lie_from_it() -> None:
    sizes = (11, 21, 41)
    exact = fits.power(sizes, [0.3 * size**1.7 for size in sizes])
    assert exact == pytest.approx((1.7, 1.0), rel=1e-5)
    off = fits.power(sizes, [0.3 * size**1.7 * noise for size, noise in zip(sizes, (1, 1.3, 1), strict=True)])
    assert off[1] > 1.15


@pytest.mark.parametrize("name", fits.WORK)
def test_every_fitted_analysis_runs_at_every_thing_that_grows(name) -> None:
    tiny = {"layers": 2, "width": 8, "positions": 5, "prompts": 4}
    assert set(fits.SIZES) == set(tiny)
    assert fits.WORK[name](tiny)() is not None


def test_a_line_is_found_with_how_far_times_lie_from_it() -> None:
    exact = cost_models.line((8, 16, 32), (0.3 + 8 * 0.02, 0.3 + 16 * 0.02, 0.3 + 32 * 0.02))
    assert (exact.start, exact.slope, exact.off) == pytest.approx((0.3, 0.02, 0))
    assert cost_models.line((8, 16, 32), (0.4, 0.9, 0.9)).off > 0.1


@pytest.mark.parametrize("name", cost_models.MODELS)
def test_every_page_states_its_line_at_the_sizes_it_is_fitted_on(name: str) -> None:
    """And that the analysis runs at a small size, to a table that is not empty."""
    model = cost_models.MODELS[name]
    page = " ".join(Path(f"docs/estimators/{model.page}.md").read_text(encoding="utf-8").split())
    stated = re.search(
        r"A checkpoint costs (-?[\d.e-]+) s \+ ([\d.e-]+) s x .*? off by at most (\d+)%\.", page
    )
    assert stated, f"{model.page} states no cost"
    assert stated[0] == cost_models.sentence(
        model, cost_models.Line(float(stated[1]), float(stated[2]), int(stated[3]) / 100)
    )
    assert f'python -m tests.bench.cost_models "{name}"' in page
    smallest = {"head scores": 4, "readouts": 2, "learning coefficient": 80, "curvature": 4, "strategies": 16}
    assert len(model.work(smallest.get(name, 32))())
