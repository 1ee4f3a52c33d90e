"""The single-index study at toy size: statistics it rests on, the bridge on planted curves, ledger rows, figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from interp.studies.context import StudyContext
from interp.studies.single_index import rows_emergence as bridge
from interp.studies.single_index import rows_landscape as landscape
from interp.studies.single_index import rows_waits as waiting
from interp.studies.single_index.claims import CLAIMS
from interp.studies.single_index.figures import gains_figure, semantic_figure, waits_figure
from interp.studies.single_index.measure import LINEAR, middle, resampled, scaling, slope
from interp.studies.single_index.runs import ChainBudget
from tasks.theory.escapes import Escapes

BRIEF = 1500
TINY = ChainBudget(24, (50, 100), (30, 60), (16, 25), (1, 2), 24, False, 2)


@pytest.fixture
def study(tmp_path):
    return StudyContext("single-index", "quick", tmp_path, (0,), lambda line: None, TINY, CLAIMS)


def test_scalings_are_one_on_their_own_law():
    sizes = (100, 400, 1600)
    assert scaling(sizes, 1)([3.0 * d for d in sizes]) == pytest.approx(1)
    assert scaling(sizes, 2)([d * math.log(math.sqrt(d) / 2) for d in sizes]) == pytest.approx(1)
    assert scaling(sizes, 3)([d**2.0 for d in sizes]) == pytest.approx(2)
    assert math.isnan(slope(sizes, [1.0, math.inf, 2.0]))


def test_the_median_counts_censored_replicas():
    assert middle(np.array([5.0, math.inf, 1.0])) == 5.0
    assert math.isinf(middle(np.array([math.inf, math.inf, 1.0])))


def test_intervals_of_a_ratio_of_medians_cover_the_truth():
    rng, inside = np.random.default_rng(0), 0
    for trial in range(100):
        samples = [rng.lognormal(1.0, 0.5, 61), rng.lognormal(0.0, 0.5, 61)]
        found = resampled(lambda m: m[0] / m[1], samples, seed=trial)
        inside += found.low <= math.e <= found.high
    assert inside >= 88


def test_the_emergence_estimator_finds_planted_crossings():
    steps = np.arange(0, 1000, 10)
    true = np.array([95.0, 400.0, math.inf])
    path = (steps[:, None] >= true[None]).astype(float)[:, :, None] * 0.9
    planted = Escapes(true[:, None], 1000, path[-1], steps, path)
    np.testing.assert_array_equal(bridge.emergence_steps(planted, 0.5), [100.0, 400.0, math.inf])
    flat = Escapes(true[:, None], 1000, path[-1], steps, 0 * path + 0.1)
    assert np.isinf(bridge.emergence_steps(flat, 0.5)).all()


def test_the_bridge_recovers_times_and_slopes_of_a_small_chain(study):
    rows = {row.id: row for row in bridge.emergence(study)}
    assert set(rows) == {"bridge-slope-1", "bridge-slope-2", "bridge-gap-1", "bridge-gap-2", "bridge-times"}
    assert rows["bridge-times"].value < 0.05
    assert 0.8 < rows["bridge-slope-1"].value < 1.3


def test_every_paired_interval_is_zero_for_equal_samples():
    sample = LINEAR.escape(50, 0.1, 32, 10_000, 0).times[:, 0]
    same = bridge.resampled_pairs([sample, sample])
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    few = bridge.resampled_pairs([sample[:24], sample[:24]])
    assert np.isnan(few.low), "too few replicas for an interval"


def test_runs_of_the_ordinary_loop_are_kept_and_reused(study, monkeypatch):
    """In a part of the steps, by which both have long emerged."""
    whole = bridge.net_config(0)
    assert whole.train.steps == 4000
    brief = whole.train.model_copy(update={"steps": BRIEF})
    monkeypatch.setattr(
        bridge,
        "net_config",
        lambda seed, own=bridge.net_config: own(seed).model_copy(update={"train": brief}),
    )
    (row,) = bridge.ordinary_runs(study)
    folders = sorted(study.out.iterdir())
    assert len(folders) == 2
    before = [f.joinpath("metrics.jsonl").stat().st_mtime_ns for f in folders]
    (again,) = bridge.ordinary_runs(study)
    assert again == row
    assert [f.joinpath("metrics.jsonl").stat().st_mtime_ns for f in folders] == before
    assert 0.2 < row.value < 5


def test_figures_draw_what_was_kept():
    waits = [{"law": "slope-1", "d": d, "value": 2.0 * d, "predicted": 2.1 * d} for d in (10, 20)]
    assert list(waits_figure(waits).data[0].y) == [20.0, 40.0]
    assert len(gains_figure([{"law": "gain-1", "length": 2, "value": 2.0}]).data) == 2
    point = {"d": 100, "omega": 0.5, "value": 0.9, "low": 0.8, "high": 0.95}
    assert semantic_figure([point]).data[0].error_y.arrayminus[0] == pytest.approx(0.1)


def test_every_claim_is_stated_once_with_its_source():
    assert all(claim.source and claim.statement and claim.criterion.text for claim in CLAIMS.values())
    assert set(waiting.RULES) < set(CLAIMS)


def test_odd_targets_need_injected_encodings(study, monkeypatch):
    monkeypatch.setattr(landscape, "ODD_CHAIN", (50, 0.2, 3000, 40))
    rows = {row.id: row for row in landscape.odd_targets(study)}
    assert {name: row.verdict for name, row in rows.items()} == dict.fromkeys(rows, "reproduced")
    assert (rows["odd-none"].value, rows["odd-injected"].value) == (0, 1)


def test_the_minimum_turns_smoothly_only_with_the_encoding_inside(study):
    (row,) = landscape.inside(study)
    assert row.value < 20
    assert "90 degrees" in row.note
    both = {point["target"] for point in study.points["minima"]}
    assert both == {"encoded_target", "positional_semantic"}
