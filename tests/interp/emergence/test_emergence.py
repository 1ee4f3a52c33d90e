"""Onsets: found where planted, silent on flat curves."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from interp.emergence.emergence import emergence_table
from interp.emergence.onset import onset
from probes.stats import share
from tasks import UserError


def simulated(rng: np.random.Generator, truth: np.ndarray, prompts: int, draws: int = 100):
    """Accuracies of some curves on the same prompts at every checkpoint, and their paired bootstrap replicates."""
    ease = 0.7 * rng.standard_normal((prompts, 1, 1))
    hits = (ease + rng.standard_normal((prompts, *truth.shape))) / np.hypot(0.7, 1) < ndtri(truth)
    weights = rng.multinomial(prompts, np.full(prompts, 1 / prompts), draws) / prompts
    return hits.mean(0), np.einsum("dp,pcs->dcs", weights, hits.astype(float))


def test_planted_step_is_found() -> None:
    steps = list(range(0, 1000, 50))
    for at in steps[1:]:
        values = [0.1 if s < at else 0.9 for s in steps]
        found = onset(steps, values, 0.5)
        assert found.step == at
        assert found.before == at - 50


def test_flat_and_transient_curves_have_no_onset() -> None:
    assert onset([0, 1, 2], [0.2, 0.3, 0.2], 0.5).step is None
    assert str(onset([0, 7], [0.0, 0.0], 0.5)) == "not emerged by step 7"
    lost = onset([0, 10, 20, 30, 40], [0.2, 0.9, 0.9, 0.3, 0.2], 0.5)
    assert (lost.state, lost.step, lost.first_rise, lost.first_loss) == ("transient", None, 10, 30)
    assert str(lost) == "step 10, lost again by step 30"
    dip = onset([0, 10, 20, 30, 40], [0.2, 0.9, 1.0, 0.7, 0.8], 0.5)
    assert (dip.state, dip.step) == ("emerged", 10)


def test_the_onset_is_the_last_crossing_and_an_earlier_rise_is_reported_as_lost() -> None:
    steps = list(range(0, 80, 10))
    values = [0.0, 0.9, 0.9, 0.1, 0.1, 0.9, 0.9, 0.9]
    found = onset(steps, values, 0.5)
    assert (found.state, found.step, found.before) == ("emerged", 50, 40)
    assert (found.first_rise, found.first_loss, found.lost) == (10, 30, 1)
    assert (found.ci_low, found.ci_high) == (40, 50)
    assert str(found) == "step 50 (a rise at step 10 was lost by step 30)"
    noisy = np.array(values) + 0.02 * np.random.default_rng(0).standard_normal((60, 8))
    assert onset(steps, noisy[0].tolist(), 0.5, draws=noisy).step == 50
    twice = onset(list(range(10)), [0, 1, 0, 0, 1, 1, 0, 0, 1, 0], 0.5)
    assert (twice.state, twice.step, twice.first_rise, twice.first_loss, twice.lost) == (
        "transient",
        None,
        1,
        2,
        3,
    )


def test_a_dip_within_noise_is_no_loss_and_one_beyond_it_is() -> None:
    """A dip of 2 standard errors and one of 8, at the same depth, by replicates; and by the curve's own noise."""
    steps = list(range(0, 200, 10))
    values = np.where(np.arange(20) < 6, 0.1, 0.9)
    values[13] = 0.42
    for error, step in ((0.04, 60), (0.01, 140)):
        draws = values + error * np.random.default_rng(1).standard_normal((100, 20))
        assert onset(steps, values.tolist(), 0.5, draws=draws, rises=True).step == step
    rough = values + 0.2 * np.random.default_rng(2).standard_normal(20)
    assert onset(steps, rough.tolist(), 0.5).step == 60
    assert onset(steps, values.tolist(), 0.5).step == 140


def test_noise_around_a_sustained_level_seldom_moves_the_onset() -> None:
    rng, moved = np.random.default_rng(5), 0
    for _ in range(40):
        values, draws = simulated(rng, np.array([[0.1] * 8 + [0.62] * 12]), prompts=60, draws=60)
        found = onset(list(range(20)), values[0].tolist(), 0.5, draws=draws[:, 0])
        moved += found.state != "emerged" or found.lost > 0
    assert share(moved, 40).low <= 0.05, f"{moved} of 40 onsets moved"


def test_a_curve_that_starts_above_its_threshold_was_there_from_the_start() -> None:
    found = onset([0, 10], [0.8, 0.8], 0.5, rises=False)
    assert (found.state, found.step, found.before) == ("emerged", 0, None)
    assert onset([5], [0.8], 0.5).step == 5


@given(
    values=st.lists(st.integers(0, 30), min_size=5, max_size=30),
    slope=st.floats(0.1, 10),
    shift=st.floats(-5, 5),
)
@settings(max_examples=40, deadline=None)
def test_an_affine_map_changes_no_onset(values, slope, shift) -> None:
    steps = [10 * i for i in range(len(values))]
    rng = np.random.default_rng(0)
    draws = np.array(values) + 2 * rng.standard_normal((40, len(values)))
    plain = onset(steps, [float(v) for v in values], draws=draws)
    moved = onset(steps, [slope * v + shift for v in values], draws=slope * draws + shift)
    assert (plain.state, plain.step, plain.first_rise, plain.first_loss) == (
        moved.state,
        moved.step,
        moved.first_rise,
        moved.first_loss,
    )
    assert (plain.ci_low, plain.ci_high) == pytest.approx((moved.ci_low, moved.ci_high), nan_ok=True)
    assert (plain.half, plain.width) == pytest.approx((moved.half, moved.width), nan_ok=True, rel=1e-6)


def _sigmoid(steps: np.ndarray, at: float) -> np.ndarray:
    return 0.1 + 0.8 / (1 + np.exp(-(np.log1p(steps) - np.log1p(at)) / 0.25))


@pytest.mark.parametrize("threshold", [0.5, None])
def test_interval_covers_the_true_crossing(threshold: float | None) -> None:
    """Truth: the continuous curve's crossing of 0.5, which is also its half-rise, at a step of no checkpoint."""
    rng = np.random.default_rng(3)
    steps = np.unique(np.round(np.geomspace(1, 3000, 25))).astype(int)
    covered, widths, trials = 0, [], 100
    for _ in range(trials):
        at = float(np.exp(rng.uniform(np.log(60), np.log(600))))
        values, draws = simulated(rng, _sigmoid(steps, at)[None], prompts=80)
        found = onset(steps.tolist(), values[0].tolist(), threshold, draws=draws[:, 0])
        covered += found.ci_low <= at <= found.ci_high
        widths.append(np.log1p(found.ci_high) - np.log1p(found.ci_low))
    assert share(covered, trials).high >= 0.95, f"covered {covered} of {trials}"
    assert np.median(widths) < 1.2, "intervals span less than four checkpoints"


def test_without_replicates_the_interval_is_the_gap_between_checkpoints() -> None:
    found = onset([0, 10, 20, 30], [0.0, 0.1, 0.8, 0.9], 0.5)
    assert (found.ci_low, found.ci_high, found.before, found.step) == (10, 20, 10, 20)
    assert 10 < found.half < 20


def test_half_rise_and_width_of_a_ramp() -> None:
    found = onset(np.arange(200).tolist(), np.linspace(2.0, 4.0, 200).tolist())
    assert found.threshold == pytest.approx(3.0)
    assert found.step == 100
    assert found.half == pytest.approx(99.5, abs=0.01)
    assert found.width == pytest.approx(0.8 * 199, abs=0.05)


def test_a_rise_some_replicates_never_make_has_an_open_end() -> None:
    steps = list(range(0, 100, 10))
    values = np.array([0.1] * 9 + [0.52])
    draws = np.tile(values, (100, 1))
    draws[::4, -1] = 0.45
    found = onset(steps, values.tolist(), 0.5, draws=draws, rises=True)
    assert found.step == 90
    assert np.isnan(found.ci_high)
    assert found.ci_low == 80


def test_two_checkpoints_have_a_step_but_no_shape_of_the_rise() -> None:
    found = onset([0, 300], [0.0, 1.0], 0.5)
    assert (found.step, found.before) == (300, 0)
    assert math.isnan(found.half)
    assert math.isnan(found.width)


def test_too_few_checkpoints_to_tell_a_rise_from_noise_are_refused() -> None:
    with pytest.raises(UserError, match="give a threshold, replicates"):
        onset([0, 1, 2], [0.0, 0.1, 0.9])


@pytest.mark.parametrize(
    ("steps", "values"), [([], []), ([0, 1], [0.1]), ([1, 1], [0.0, 0.0]), ([2, 1], [0.0, 1.0])]
)
def test_bad_curves_are_refused(steps, values) -> None:
    with pytest.raises(UserError, match="onset needs"):
        onset(steps, values, 0.5)


def _scores() -> pd.DataFrame:
    steps = np.arange(0, 100, 10)
    rows = [
        {"step": None, "position": p, "metric": "accuracy", "control": "chance", "value": 0.2}
        for p in ("hop 1", "hop 2")
    ]
    for read, at in (("hop 1", 30), ("hop 2", 60)):
        rows += [
            {
                "step": s,
                "position": read,
                "metric": "accuracy",
                "control": "none",
                "value": 0.2 if s < at else 1.0,
            }
            for s in steps
        ]
    return pd.DataFrame(rows).astype({"step": "Int64"})


def _draws(table: pd.DataFrame, noise: float = 0.01) -> pd.DataFrame:
    """Replicates of every measured accuracy and head score of hand-made tables."""
    rows = table[(table["control"] == "none")].copy()
    for name, empty in (("position", ""), ("layer", -1), ("head", -1)):
        rows[name] = rows[name].fillna(empty) if name in rows else empty
    rng = np.random.default_rng(0)
    for j in range(60):
        rows[f"draw {j}"] = rows["value"] + noise * rng.standard_normal(len(rows))
    return rows


def test_table_is_in_order_of_onset_and_keeps_the_late() -> None:
    scores = _scores()
    never = scores[(scores["position"] == "hop 2") & (scores["control"] == "none")].assign(
        position="hop 3", value=0.2
    )
    both = pd.concat([never, scores])
    table = emergence_table(both, None, _draws(both))
    assert table["subject"].tolist() == ["hop 1", "hop 2", "hop 3"]
    assert table["step"].tolist()[:2] == [30, 60]
    assert table["step"].isna().tolist() == [False, False, True]
    assert table["state"].tolist() == ["emerged", "emerged", "not emerged"]
    assert table["threshold"].iloc[0] == pytest.approx(0.6)
    assert table["ci_low"].tolist()[:2] == [20, 50]


def _heads(tops: dict[int, float], unit: str = "attention") -> pd.DataFrame:
    fixed = {"layer": 0, "metric": "query -> link_1", "unit": unit}
    rows = [
        {**fixed, "step": s, "head": h, "control": "none", "value": v}
        for h, top in tops.items()
        for s, v in zip(range(0, 100, 10), np.linspace(0, top, 10), strict=True)
    ]
    rows.append({**fixed, "step": None, "head": None, "control": "uniform", "value": 0.1})
    rows.append({**fixed, "step": None, "head": 0, "control": "untrained", "value": 0.3})
    return pd.DataFrame(rows)


def test_only_heads_that_pass_the_threshold_are_listed() -> None:
    scores, heads = _scores(), _heads({0: 0.9, 1: 0.54})
    draws = pd.concat([_draws(scores), _draws(heads)])
    table = emergence_table(scores, heads, draws)
    assert table[table["head"] >= 0]["subject"].tolist() == ["L0H0"]
    assert table[table["head"] >= 0]["threshold"].tolist() == [pytest.approx(0.55)]


def test_signed_scores_are_dated_by_half_of_their_own_rise() -> None:
    scores, heads = _scores(), _heads({0: 8.0, 1: 0.2}, "signed attention")
    table = emergence_table(scores, heads, pd.concat([_draws(scores), _draws(heads)]))
    found = table[table["head"] >= 0]
    assert found["subject"].tolist() == ["L0H0"]
    assert found["threshold"].iloc[0] == pytest.approx(4.0)


def test_a_loss_is_dated_by_half_of_its_fall() -> None:
    scores = _scores()
    scores["metric"], scores["value"] = "loss", 3 - 2 * scores["value"]
    table = emergence_table(scores, None, _draws(scores))
    assert table["step"].tolist() == [30, 60]
    assert table["threshold"].tolist() == pytest.approx([1.8, 1.8])


def test_a_run_in_which_nothing_happens_has_no_onset() -> None:
    scores = _scores()
    scores["value"] = 0.2
    heads = _heads({0: 0.0, 1: 0.0})
    heads["value"] += 0.7
    table = emergence_table(scores, heads, pd.concat([_draws(scores, 0.02), _draws(heads, 0.02)]))
    assert table["subject"].tolist() == ["hop 1", "hop 2"]
    assert set(table["state"]) == {"not emerged"}


def test_replicates_of_other_checkpoints_are_refused() -> None:
    scores = _scores()
    draws = _draws(scores)
    with pytest.raises(UserError, match="no replicates of hop 1"):
        emergence_table(scores, None, draws[draws["step"] != 50])


def test_tables_of_other_checkpoints_are_refused() -> None:
    scores, heads = _scores(), _heads({0: 0.9})
    heads = heads[heads["step"] != 20]
    with pytest.raises(UserError, match="L0H0 was not measured at the same checkpoints as hop 1"):
        emergence_table(scores, heads, pd.concat([_draws(scores), _draws(heads)]))


def test_a_run_with_one_checkpoint_is_told_what_it_has_and_no_more() -> None:
    scores = _scores()
    only = scores[scores["step"].isna() | (scores["step"] == 90)]
    table = emergence_table(only, None, _draws(only))
    assert table["step"].tolist() == [90, 90], "above its threshold at the only checkpoint there is"
    assert table["before"].isna().all()
    first = scores[scores["step"].isna() | (scores["step"] == 0)]
    assert set(emergence_table(first, None, _draws(first))["state"]) == {"not emerged"}
