"""Curve fits against scikit-learn, ruptures and planted shapes; the joint test's false alarms counted."""

from __future__ import annotations

import numpy as np
import pytest
import ruptures
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from sklearn.isotonic import IsotonicRegression

from interp.emergence.curves import fit_logistic, log_time, unimodal
from interp.emergence.rises import autoregression, rise_p_value, rising, split_sizes
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
    assert int(split_sizes(y).argmax()) + 1 == found


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


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.95])
def test_autocorrelated_noise_gives_at_most_5_percent_of_rises(strength: float) -> None:
    curves = autoregression(np.random.default_rng(2), 300, 30, strength)
    positives = sum(rise_p_value(curve) <= 0.05 for curve in curves)
    assert share(positives, 300).low <= 0.05, f"{positives} of 300"


def test_a_rise_beyond_autocorrelated_noise_is_seen_and_a_fall_is_none() -> None:
    noise = autoregression(np.random.default_rng(3), 40, 20, 0.8)
    rise = np.where(np.arange(20) < 12, 0.0, 8.0)
    assert np.mean([rise_p_value(curve + rise) <= 0.05 for curve in noise]) > 0.9
    assert np.mean([rise_p_value(curve - rise) <= 0.05 for curve in noise]) < 0.1
    assert rise_p_value(np.linspace(0, 1, 200)) < 0.001
    assert rise_p_value(np.linspace(1, 0, 20)) > 0.5
    assert rise_p_value(np.full(20, 0.3)) == rise_p_value(np.array([0.0, 1.0])) == 1


def test_a_rise_does_not_depend_on_units() -> None:
    curve = autoregression(np.random.default_rng(4), 1, 25, 0.5)[0] + np.linspace(0, 2, 25)
    assert rise_p_value(1e-6 * curve + 7e-4) == pytest.approx(rise_p_value(curve), rel=1e-6)
