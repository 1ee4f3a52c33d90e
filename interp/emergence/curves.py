"""Shapes of a curve over checkpoints: monotone and rise-then-fall fits, a logistic in log steps, a test for
any rise.

Time is log(1 + step) wherever a fit or an interpolation needs an axis, so that step 0 has a place. Every
result is invariant under values -> a + b values with b > 0, and equivariant where it is a value. Curves grow
with the skill: turn a loss round before asking. Nothing here knows a model or a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import isotonic_regression, least_squares
from scipy.stats import rankdata

from tasks.errors import UserError

FALSE_ALARMS = 0.05
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


@dataclass(frozen=True)
class Split:
    """The best single jump: values from `index` on lie higher than those before; `size` is the jump's
    standardised height, |jump| sqrt(k (n - k) / n), in the units of the values (0 when nothing rises).
    """

    index: int
    size: float


def best_split(values: Float[np.ndarray, " step"]) -> Split:
    """The upward step function nearest to a curve, by least squares."""
    sizes = split_sizes(values[None])[0]
    index = int(sizes.argmax())
    return Split(index + 1, float(max(sizes[index], 0.0)))


def split_sizes(values: Float[np.ndarray, "*curve step"]) -> Float[np.ndarray, "*curve split"]:
    """Standardised difference of means after and before each split, for many curves at once."""
    n = values.shape[-1]
    before = np.arange(1, n)
    sums = values.cumsum(-1)
    mean_before = sums[..., :-1] / before
    mean_after = (sums[..., -1:] - sums[..., :-1]) / (n - before)
    return (mean_after - mean_before) * np.sqrt(before * (n - before) / n)


def rising(
    values: Float[np.ndarray, "curve step"],
    draws: Float[np.ndarray, "draw curve step"],
    alpha: float = FALSE_ALARMS,
) -> Bool[np.ndarray, " curve"]:
    """Which curves of a run rise at all; wrong about any flat one with probability at most `alpha`, all taken
    together.

    `draws` are bootstrap replicates of all curves over the same prompts, so their deviations from `values`
    are draws of the noise with its correlation across checkpoints and curves. A curve rises when its largest
    split statistic, in units of its own noise, passes the 1 - alpha quantile of the largest that pure noise
    reaches over all curves (Westfall and Young's max-T). Curves without noise rise when they change at all.
    """
    if values.shape[1] < 2:
        return np.zeros(len(values), dtype=bool)
    noise = draws - values
    noise_scale = np.sqrt((noise - noise.mean(-1, keepdims=True)).var(0).mean(-1))
    floor = _TINY * (np.abs(values).max(-1) + 1e-300)
    noisy = noise_scale > floor
    scale = np.where(noisy, noise_scale, floor)
    found = split_sizes(values).max(-1) / scale
    if not noisy.any():
        return found > 1
    reached = (split_sizes(noise[:, noisy]).max(-1) / scale[noisy]).max(-1)
    bound = np.sort(reached)[min(len(reached), int(np.ceil((len(reached) + 1) * (1 - alpha)))) - 1]
    return np.where(noisy, found > bound, found > 1)


def rises_by_permutation(
    values: Float[np.ndarray, " step"], alpha: float = FALSE_ALARMS, permutations: int = 999, seed: int = 0
) -> bool:
    """Whether a curve without known noise rises: the split statistic of its ranks against that of the same in
    random order.

    Exact for a flat curve whose values are exchangeable. Ranks, because a curve that falls fast and then
    slowly has a few values that outweigh all others. Too few checkpoints to reach `alpha` (fewer than 5 at
    0.05) give no.
    """
    if np.ptp(values) <= _TINY * (np.abs(values).max() + 1e-300):
        return False
    values = rankdata(np.round(values / np.ptp(values), 9))
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(values, (permutations, 1)), axis=1)
    found = split_sizes(values[None]).max()
    as_high = (split_sizes(shuffled).max(-1) >= found * (1 - _TINY)).sum()
    return bool((1 + as_high) / (1 + permutations) <= alpha)


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
