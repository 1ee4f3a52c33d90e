"""Curve fits against scikit-learn, ruptures and planted shapes; the joint test's false alarms counted."""

from __future__ import annotations

import numpy as np
import pytest
import ruptures
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from sklearn.isotonic import IsotonicRegression

from interp.emergence.curves import best_split, fit_logistic, log_time, rises_by_permutation, rising, unimodal
from probes.stats import share
from tasks import UserError

CURVES = st.lists(st.integers(-20, 20), min_size=2, max_size=25)


@given(CURVES)
@settings(max_examples=60, deadline=None)
def test_the_fit_is_the_best_over_every_mode(numbers: list[int]) -> None:
    y = np.array(numbers, dtype=float)
    fitted, mode = unimodal(y)
    best = min(_with_mode(y, m) for m in range(len(y)))
    assert ((fitted - y) ** 2).sum() == pytest.approx(best, abs=1e-7)
    assert (np.diff(fitted[: mode + 1]) >= -1e-9).all()
    assert (np.diff(fitted[mode + 1 :]) <= 1e-9).all()


def _with_mode(y: np.ndarray, mode: int) -> float:
    x = np.arange(len(y))
    up = IsotonicRegression().fit_transform(x[: mode + 1], y[: mode + 1])
    down = (
        IsotonicRegression(increasing=False).fit_transform(x[mode + 1 :], y[mode + 1 :])
        if mode + 1 < len(y)
        else []
    )
    return float(((np.append(up, down) - y) ** 2).sum())


@pytest.mark.parametrize("seed", range(20))
def test_a_phase_change_is_where_ruptures_finds_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, at = 40, int(rng.integers(5, 35))
    y = np.where(np.arange(n) < at, 0.1, 0.9) + 0.15 * rng.standard_normal(n)
    found = ruptures.Dynp(model="l2", min_size=1, jump=1).fit(y).predict(n_bkps=1)[0]
    assert best_split(y).index == found


def test_logistic_finds_what_was_planted() -> None:
    steps = list(range(0, 2000, 25))
    time = log_time(steps)
    y = 0.1 + 0.8 / (1 + np.exp(-(time - np.log1p(400)) / 0.15))
    found = fit_logistic(steps, y.tolist())
    assert (found.lower, found.upper) == (pytest.approx(0.1, abs=1e-3), pytest.approx(0.9, abs=1e-3))
    assert found.midpoint == pytest.approx(400, rel=1e-3)
    assert found.width == pytest.approx(401 * (9**0.15 - 9**-0.15), rel=1e-2)
    assert found.r2 > 0.9999
    moved = fit_logistic(steps, (5 - 3 + 40 * y).tolist())
    assert moved.midpoint == pytest.approx(found.midpoint, rel=1e-3)
    with pytest.raises(UserError, match="not all equal"):
        fit_logistic(steps, [0.3] * len(steps))


def simulated(rng: np.random.Generator, truth: np.ndarray, prompts: int = 150, draws: int = 100):
    """Accuracies of some curves on the same prompts at every checkpoint, and their paired bootstrap replicates."""
    ease = 0.7 * rng.standard_normal((prompts, 1, 1))
    hits = (ease + rng.standard_normal((prompts, *truth.shape))) / np.hypot(0.7, 1) < ndtri(truth)
    weights = rng.multinomial(prompts, np.full(prompts, 1 / prompts), draws) / prompts
    return hits.mean(0), np.einsum("dp,pcs->dcs", weights, hits.astype(float))


def test_a_run_of_flat_curves_raises_the_alarm_in_at_most_5_percent() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    runs = 400
    for _ in range(runs):
        values, draws = simulated(rng, np.full((24, 12), 0.25), prompts=100)
        alarms += bool(rising(values, draws).any())
    assert share(alarms, runs).low <= 0.05, f"{alarms} alarms in {runs} runs of 24 curves"


def test_a_true_rise_is_seen_among_flat_curves() -> None:
    rng = np.random.default_rng(1)
    truth = np.full((24, 12), 0.25)
    truth[5, 8:] = 0.75
    found = np.array([rising(*simulated(rng, truth, prompts=100)) for _ in range(20)])
    assert found[:, 5].all()
    assert found[:, np.arange(24) != 5].mean() < 0.01


def test_curves_without_noise_and_single_checkpoints() -> None:
    still, step = np.full(6, 0.3), np.array([0.0, 0, 0, 1, 1, 1])
    values = np.stack([still, step])
    assert rising(values, np.repeat(values[None], 50, 0)).tolist() == [False, True]
    assert rising(values[:, :1], np.repeat(values[None, :, :1], 50, 0)).tolist() == [False, False]


def test_permutation_alarms_are_at_most_5_percent_and_a_step_is_seen() -> None:
    rng = np.random.default_rng(2)
    alarms = sum(rises_by_permutation(rng.standard_normal(20), permutations=199) for _ in range(400))
    assert share(alarms, 400).low <= 0.05
    assert rises_by_permutation(np.repeat([0.0, 1.0], 8) + 0.3 * rng.standard_normal(16))
    assert not rises_by_permutation(np.linspace(1, 0, 20))
    assert not rises_by_permutation(np.full(20, 0.3))
