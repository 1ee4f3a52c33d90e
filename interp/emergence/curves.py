"""Shapes of a curve over checkpoints: monotone and rise-then-fall fits, crossings, a logistic in log steps.

Time is log(1 + step) wherever a fit or an interpolation needs an axis, so that step 0 has a place. Every
result is invariant under values -> a + b values with b > 0, and equivariant where it is a value. Curves grow
with the skill: turn a loss round before asking. Nothing here knows a model or a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import isotonic_regression, least_squares

from tasks.errors import UserError

_TINY = 1e-9


def log_time(steps: Sequence[int] | Int[np.ndarray, " step"]) -> Float[np.ndarray, " step"]:
    """The axis of every fit: log(1 + step)."""
    return np.log1p(np.asarray(steps, dtype=float))


def unimodal(values: Float[np.ndarray, " step"]) -> tuple[Float[np.ndarray, " step"], int]:
    """Least-squares fit that rises up to its mode and falls after it, with the mode's index.

    A curve that only rises has its mode at the end. Among equally good modes the latest one is taken.
    """
    up = _prefix_errors(values)
    down = _prefix_errors(values[::-1])[::-1]
    errors = up + np.append(down[1:], 0.0)
    mode = int(np.flatnonzero(errors <= errors.min() + _TINY * (1e-300 + np.ptp(values) ** 2))[-1])
    rise = isotonic_regression(values[: mode + 1]).x
    fall = isotonic_regression(values[mode + 1 :], increasing=False).x if mode + 1 < len(values) else []
    return np.append(rise, fall), mode


def _prefix_errors(values: Float[np.ndarray, " step"]) -> Float[np.ndarray, " step"]:
    """Squared error of the best rising fit to each prefix, by pooling adjacent violators once."""
    blocks: list[tuple[float, int, float]] = []  # mean, size, squared error about the mean
    errors, total = [], 0.0
    for value in values.tolist():
        block = (value, 1, 0.0)
        while blocks and blocks[-1][0] >= block[0]:
            mean, size, error = blocks.pop()
            total -= error
            both = size + block[1]
            gap = (mean - block[0]) ** 2 * size * block[1] / both
            block = ((mean * size + block[0] * block[1]) / both, both, error + block[2] + gap)
        blocks.append(block)
        total += block[2]
        errors.append(total)
    return np.array(errors)


def crossing(
    time: Float[np.ndarray, " step"], fitted: Float[np.ndarray, " step"], level: float
) -> tuple[int, float] | None:
    """First index at which a fit reaches a level, and the time at which it does by interpolation; None if it
    never does.

    Index 0 means that it starts at the level or above.
    """
    at = np.flatnonzero(fitted >= level - _TINY * np.ptp(fitted))
    if not len(at):
        return None
    i = int(at[0])
    if i == 0:
        return 0, float(time[0])
    low, high = fitted[i - 1], fitted[i]
    share = min(1.0, max(0.0, (level - low) / (high - low)))
    return i, float(time[i - 1] + share * (time[i] - time[i - 1]))


@dataclass(frozen=True)
class Logistic:
    """lower + (upper - lower) / (1 + exp(-(log(1+step) - log(1+midpoint)) / scale)); `r2` of the fit.

    `midpoint` and the 10-90 `width` are in steps.
    """

    lower: float
    upper: float
    midpoint: float
    scale: float
    width: float
    r2: float


def fit_logistic(steps: Sequence[int], values: Sequence[float | int]) -> Logistic:
    """The rising logistic in log steps nearest to a curve. Raises UserError for fewer than 5 points or a flat
    curve.
    """
    time, y = log_time(steps), np.asarray(values, dtype=float)
    if len(y) < 5 or np.ptp(y) == 0:
        raise UserError(f"a logistic needs at least 5 points that are not all equal, got {len(y)}")
    low, span = y.min(), np.ptp(y)
    z = (y - low) / span
    start = _start(time, z)
    bounds = ([-1, 0, time[0] - 1, 0.01], [1, 3, time[-1] + 1, np.ptp(time)])
    found = least_squares(lambda p: _sigmoid(time, p) - z, np.clip(start, *bounds), bounds=bounds)
    a, b, middle, scale = found.x
    ends = np.expm1([middle - scale * np.log(9), middle + scale * np.log(9)])
    r2 = 1 - 2 * found.cost / ((z - z.mean()) ** 2).sum()
    return Logistic(
        low + span * a,
        low + span * (a + b),
        float(np.expm1(middle)),
        float(scale),
        float(np.ptp(ends)),
        float(r2),
    )


def _sigmoid(time: Float[np.ndarray, " step"], p: Float[np.ndarray, "4"]) -> Float[np.ndarray, " step"]:
    return p[0] + p[1] / (1 + np.exp(np.clip(-(time - p[2]) / p[3], -500, 500)))


def _start(time: Float[np.ndarray, " step"], z: Float[np.ndarray, " step"]) -> Float[np.ndarray, "4"]:
    """The best of a grid of midpoints and scales with plateaus 0 and 1."""
    middles = np.linspace(time[0], time[-1], 41)
    grid = [np.array([0.0, 1.0, m, s]) for m in middles for s in np.ptp(time) * np.array([0.02, 0.06, 0.2])]
    return min(grid, key=lambda p: float(((_sigmoid(time, p) - z) ** 2).sum()))
