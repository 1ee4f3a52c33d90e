"""Losses of a skill: stretches of a curve that lie below a level after it had been reached, beyond the noise.

Owns what counts as a loss and what as a dip. A stretch of checkpoints below the level, after one above it, is a loss
where its mean lies below the level by more than the noise of that mean allows over all checkpoints together (normal
quantile at 2.5% shared among them); otherwise it is a dip and belongs to what surrounds it. An earlier stretch above
the level counts as a rise on the same terms. The noise is that of replicates where there are any. Without them it is
read off the curve (median absolute difference of neighbours, 12 checkpoints or more), and a loss is at least 5% of
the curve's range deep: noise of training that lasts longer than a checkpoint is not told from a loss.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

TAIL = 0.025
SHALLOW = 0.05  # of a curve's range: without replicates nothing shallower is a loss
FEWEST_FOR_NOISE = 12
_TINY = 1e-9

Stretch = tuple[int, int]  # first and last checkpoint, by index
Noise = Callable[[int, int], float]  # standard error of the mean from one checkpoint to another


def noise_of(
    y: Float[np.ndarray, " step"], draws: Float[np.ndarray, "draw step"] | None
) -> Callable[[int, int], float]:
    """The standard error of a stretch's mean: over replicates, or from the differences of neighbours."""
    if draws is not None:
        sums = np.concatenate([np.zeros((len(draws), 1)), np.asarray(draws, dtype=float).cumsum(1)], axis=1)
        return lambda first, last: float((sums[:, last + 1] - sums[:, first]).std() / (last + 1 - first))
    few = len(y) < FEWEST_FOR_NOISE
    one = 0.0 if few else 1.4826 * float(np.median(np.abs(np.diff(y)))) / 2**0.5
    return lambda first, last: one / (last + 1 - first) ** 0.5


def losses(
    y: Float[np.ndarray, " step"], level: float, noise: Noise, *, exact: bool, scale: float = 1.0
) -> list[Stretch]:
    """Stretches below `level` after a stretch above it, in order. `exact`: there are no replicates; `scale`: of the
    noise in units of `noise` (a replicate deviates from the truth by sqrt 2 of what the curve does).
    """
    z = float(ndtri(1 - TAIL / len(y))) * scale
    spread = float(np.ptp(y))
    least = SHALLOW * spread if exact else _TINY * spread

    def clear(first: int, last: int) -> bool:
        away = abs(float(y[first : last + 1].mean()) - level)
        return away > max(least, z * noise(first, last))

    above = _merged(y >= level - _TINY * spread, False, clear)
    above = _merged(above, True, clear)
    if above[int(above.argmax()) :].all():
        return []
    stretches = _stretches(above)
    return [(a, b) for i, (high, a, b) in enumerate(stretches) if not high and i]


def _stretches(above: np.ndarray) -> list[tuple[bool, int, int]]:
    found, start = [], 0
    for high, members in groupby(above.tolist()):
        size = len(list(members))
        found.append((bool(high), start, start + size - 1))
        start += size
    return found


def _merged(above: np.ndarray, kind: bool, clear: Callable[[int, int], bool]) -> np.ndarray:
    """Stretches of one kind that are not clear of the level given to their neighbours: of low ones all but the first,
    of high ones all but the last.
    """
    out, stretches = above.copy(), _stretches(above)
    for i, (high, first, last) in enumerate(stretches):
        inner = i < len(stretches) - 1 if kind else i > 0
        if high is kind and inner and not clear(first, last):
            out[first : last + 1] = not kind
    return out
