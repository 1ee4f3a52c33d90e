"""Whether a curve over checkpoints rises at all: against known noise over prompts, or against noise of its own.

`rising` takes bootstrap replicates: noise over the same prompts at every checkpoint. `rise_p_value` takes the values
alone. Checkpoints of one training depend on each other, so its null is a stationary first-order autoregression
(normal innovations) of any strength: the likelihood ratio of the best of many shapes of a rise, with mean, variance and
autocorrelation fitted on both sides, against its largest quantile over the strengths in `NULLS`. Quantiles were
simulated once (`interp.emergence.rise_null`). Innovations with heavier tails are not covered (the trust table says what
they cost). Invariant under values -> a + b values, b > 0.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from jaxtyping import Bool, Float

from interp.emergence.null_quantiles import kept

FALSE_POSITIVES = 0.05
FEWEST = 5  # values from which a rise can be told from noise
STRENGTHS = (0.0, 0.2, 0.4, 0.55, 0.7, 0.8, 0.87, 0.93, 0.97, 0.99)  # autocorrelations that are fitted
NULLS = (0.8, 0.95, 0.99)  # those simulated; weaker ones reach less
WIDTHS = (1, 2, 3, 5, 8, 13, 21, 34)  # of ramps, in checkpoints; 1 is a step
RATES = (1.5, 3.0, 6.0, 12.0)  # of saturating rises, in checkpoints
AT_ONCE = 4000  # curves, so that memory stays small
LONGEST = 60  # checkpoints; longer curves are tested on means of neighbours
_TINY = 1e-9


def split_sizes(values: Float[np.ndarray, "*curve step"]) -> Float[np.ndarray, "*curve split"]:
    """Standardised difference of means after and before each split, for many curves at once: the jump times
    sqrt(k (n - k) / n), in the units of the values."""
    n = values.shape[-1]
    before = np.arange(1, n)
    sums = values.cumsum(-1)
    mean_before = sums[..., :-1] / before
    mean_after = (sums[..., -1:] - sums[..., :-1]) / (n - before)
    return (mean_after - mean_before) * np.sqrt(before * (n - before) / n)


def rising(
    values: Float[np.ndarray, "curve step"],
    draws: Float[np.ndarray, "draw curve step"],
    alpha: float = FALSE_POSITIVES,
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


def rise_p_value(values: Float[np.ndarray, " step"]) -> float:
    """How often autocorrelated noise alone gives as clear a rise as this curve shows, in (0, 1].

    1 for a constant curve and for fewer than `FEWEST` values. Below 5% the simulated tail is continued as an
    exponential, which the tail of a likelihood ratio is. Source: likelihood-ratio test of a mean shift under AR(1)
    errors, null by simulation (at the least favourable strength).
    """
    return float(rise_p_values(values[None])[0])


def rise_p_values(curves: Float[np.ndarray, "curve step"]) -> Float[np.ndarray, " curve"]:
    """`rise_p_value` of many curves of one length."""
    found = np.ones(len(curves))
    spread = np.ptp(curves, axis=1) if curves.size else np.zeros(len(curves))
    live = spread > _TINY * (np.abs(curves).max(1, initial=0.0) + 1e-300)
    if curves.shape[1] < FEWEST or not live.any():
        return found
    if curves.shape[1] > LONGEST:
        curves = np.stack([part.mean(1) for part in np.array_split(curves, LONGEST, axis=1)], axis=1)
    centred = (curves - curves.mean(1, keepdims=True))[live] / spread[live, None]
    parts = np.array_split(centred, math.ceil(len(centred) / AT_ONCE))
    ratios = np.concatenate([likelihood_ratios(part) for part in parts])
    found[live] = np.max([null.exceeded(ratios) for null in kept()[curves.shape[1]]], axis=0)
    return found


def _shapes(n: int) -> Float[np.ndarray, "shape step"]:
    """Ramps of several widths and saturating rises of several rates, from every checkpoint."""
    at = np.arange(n)
    widths = [w for w in WIDTHS if w < n - 1] + [n - 1]
    ramps = [np.clip((at - a) / w, 0, 1) for w in widths for a in range(min(0, 1 - w), n - 1)]
    rates = [r for r in RATES if r < n / 2]
    curves = [1 - np.exp(-np.maximum(at - a, 0) / r) for r in rates for a in range(n - 2)]
    shapes = np.array(ramps + curves)
    return shapes[np.ptp(shapes, axis=1) > 0]


@functools.lru_cache(maxsize=8)
def _projections(
    n: int,
) -> tuple[Float[np.ndarray, "strength step step"], Float[np.ndarray, "strength shape step"]]:
    """For each strength of autocorrelation: the matrix that whitens and centres a curve, and unit directions of the
    whitened shapes, both to be applied to the curve itself.
    """
    shapes, centred, along = _shapes(n), [], []
    for rho in STRENGTHS:
        white = np.eye(n) - rho * np.eye(n, k=-1)
        white[0, 0] = math.sqrt(1 - rho**2)
        flat = white.sum(1) / np.linalg.norm(white.sum(1))
        matrix = white - np.outer(flat, flat @ white)
        q = shapes @ matrix.T
        centred.append(matrix)
        along.append(q / np.linalg.norm(q, axis=1, keepdims=True) @ matrix)
    return np.array(centred), np.array(along)


def likelihood_ratios(curves: Float[np.ndarray, "curve step"]) -> Float[np.ndarray, " curve"]:
    """Log likelihood of the best rise less that of no rise, each at its own best strength of autocorrelation."""
    n = curves.shape[1]
    without, with_rise = [], []
    for rho, matrix, along in zip(STRENGTHS, *_projections(n), strict=True):
        whole = np.square(curves @ matrix.T).sum(1)
        explained = np.square(np.maximum((curves @ along.T).max(1), 0))
        left = np.maximum(whole - explained, 1e-18 * whole + 1e-300)
        determinant = math.log(1 - rho**2) / 2
        without.append(determinant - n / 2 * np.log(np.maximum(whole, 1e-300)))
        with_rise.append(determinant - n / 2 * np.log(left))
    return np.max(with_rise, axis=0) - np.max(without, axis=0)


def autoregression(
    rng: np.random.Generator, curves: int, n: int, rho: float
) -> Float[np.ndarray, "curve step"]:
    """Stationary AR(1) curves of unit variance."""
    noise = rng.standard_normal((curves, n))
    found = [noise[:, 0]]
    for step in range(1, n):
        found.append(rho * found[-1] + math.sqrt(1 - rho**2) * noise[:, step])
    return np.stack(found, axis=1)
