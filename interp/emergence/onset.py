"""When a curve over checkpoints rises: its onset, half-rise and 10-90 width, with intervals; whether it falls
again.

Owns the onset of any score per checkpoint (head score, hop accuracy, minus a loss). Sign: the score must grow
with the skill. A curve is fitted by least squares with one that rises to a mode and falls after it; time
between checkpoints is interpolated in log(1 + step). A curve that never rises, or never reaches its
threshold, is "not emerged by step N" (censored), never dropped; one that rises and falls back below the
threshold is "transient".

Intervals within a run: bootstrap of whole prompts. The prompts are the same at every checkpoint, so one
resample makes one replicate of a whole curve, with the noise's correlation across checkpoints kept
(`CurveDraws` stores these replicates). An interval reaches from the checkpoint before the crossing to the one
after it, at the 2.5% and the 97.5% point of the replicates, so that it also covers what happened unseen
between two checkpoints. It says nothing about other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float

from interp.emergence.curves import crossing, log_time, rises_by_permutation, rising, unimodal
from tasks import UserError

TAIL = 0.025
State = Literal["emerged", "transient", "not emerged"]


@dataclass(frozen=True)
class Onset:
    """`step`: first checkpoint at which the fitted curve is at or above `threshold` and stays there; None
    where it does not, `before`: the checkpoint before that one (None when there is none). `last`: the last
    checkpoint.

    [`ci_low`, `ci_high`] holds the true time of the crossing (nan at the open end of a rise that some
    replicates never make). `half` (half-rise) and `width` (10% to 90% of the rise) are in steps,
    interpolated; nan without a rise. A transient curve has no `step` but the checkpoints `rose` and `fell`,
    and its interval is that of the rise.
    """

    step: int | None
    before: int | None
    last: int
    threshold: float
    ci_low: float = math.nan
    ci_high: float = math.nan
    half: float = math.nan
    width: float = math.nan
    state: State = "not emerged"
    rose: int | None = None
    fell: int | None = None

    def __str__(self) -> str:
        if self.state == "transient":
            return f"step {self.rose}, lost again by step {self.fell}"
        return f"not emerged by step {self.last}" if self.step is None else f"step {self.step}"


def onset(
    steps: Sequence[int],
    values: Sequence[float | int],
    threshold: float | None = None,
    *,
    draws: Float[np.ndarray, "draw step"] | None = None,
    rises: bool | None = None,
) -> Onset:
    """Onset of one curve at a threshold, or at half of its own rise (None), which no affine rescaling
    changes.

    `draws`: bootstrap replicates of the curve; without them the values are taken as exact, and the interval
    is the gap between two checkpoints. `rises` says whether the curve rises at all when that was tested
    elsewhere (jointly with others); otherwise it is tested here at 5%: against the replicates' noise, or
    without them, and without a threshold, against the values in random order. Source: emergence step of
    stacked heads (Musat, arXiv 2411.12118); definition ours.

    >>> found = onset([0, 10, 20, 30], [0.0, 0.7, 0.2, 0.9], 0.5)
    >>> found.step, found.before
    (30, 20)

    Raises UserError when steps do not increase, values are not finite, or there are too few of them to be
    tested.
    """
    y = _checked(steps, values)
    rises = _tested(y, threshold, draws) if rises is None else rises
    return _dated([int(s) for s in steps], y, threshold, draws, rises)


def _checked(steps: Sequence[int], values: Sequence[float | int]) -> Float[np.ndarray, " step"]:
    if not len(steps) or len(steps) != len(values):
        raise UserError(
            f"an onset needs as many values as steps, at least one; got {len(values)} and {len(steps)}"
        )
    if any(a >= b for a, b in pairwise(steps)):
        raise UserError("an onset needs steps in increasing order")
    y = np.asarray(values, dtype=float)
    if not np.isfinite(y).all():
        raise UserError(
            f"an onset needs finite values; the one at step {steps[int(np.isnan(y).argmax())]} is not"
        )
    return y


def _tested(
    y: Float[np.ndarray, " step"], threshold: float | None, draws: Float[np.ndarray, "draw step"] | None
) -> bool:
    if draws is not None:
        return bool(rising(y[None], draws[:, None])[0])
    if threshold is not None:
        return True
    if len(y) < 5:
        raise UserError(
            f"{len(y)} checkpoints cannot tell a rise from noise: give a threshold, replicates, or 5 of them"
        )
    return rises_by_permutation(y)


def _dated(
    steps: list[int],
    y: Float[np.ndarray, " step"],
    threshold: float | None,
    draws: Float[np.ndarray, "draw step"] | None,
    rises: bool,
) -> Onset:
    last, level = steps[-1], math.nan if threshold is None else threshold
    if not rises:
        always = threshold is not None and bool((y >= threshold).all())
        return (
            Onset(steps[0], None, last, level, state="emerged") if always else Onset(None, last, last, level)
        )
    fit = _Fit(steps, y, threshold)
    if fit.crossed is None:
        return Onset(None, last, last, fit.level, half=fit.at_share(0.5), width=fit.width)
    low, high = _interval(steps, fit, draws, threshold)
    at, before = steps[fit.crossed], steps[fit.crossed - 1] if fit.crossed else None
    if fit.fell is not None:
        return Onset(
            None,
            last,
            last,
            fit.level,
            low,
            high,
            fit.at_share(0.5),
            fit.width,
            "transient",
            at,
            steps[fit.fell],
        )
    return Onset(at, before, last, fit.level, low, high, fit.at_share(0.5), fit.width, "emerged", at)


class _Fit:
    """A curve's rise-then-fall fit, and where it crosses a level (half of its own rise unless one is given)."""

    def __init__(self, steps: list[int], y: Float[np.ndarray, " step"], threshold: float | None):
        self.fitted, self.mode = unimodal(y)
        self.rise = self.fitted[: self.mode + 1]
        self.time = log_time(steps)[: self.mode + 1]
        self.level = float((self.rise[0] + self.rise[-1]) / 2) if threshold is None else threshold
        found = crossing(self.time, self.rise, self.level)
        self.crossed = None if found is None else found[0]
        below = np.flatnonzero(self.fitted[self.mode + 1 :] < self.level - 1e-9 * np.ptp(self.fitted))
        self.fell = self.mode + 1 + int(below[0]) if len(below) and found is not None else None

    def at_share(self, share: float) -> float:
        """The step, interpolated, at which a share of the rise is reached; nan for a fit that does not rise."""
        low, high = self.rise[0], self.rise[-1]
        if high <= low:
            return math.nan
        found = crossing(self.time, self.rise, float(low + share * (high - low)))
        return math.nan if found is None else float(np.expm1(found[1]))

    @property
    def width(self) -> float:
        return self.at_share(0.9) - self.at_share(0.1)


def _interval(
    steps: list[int], fit: _Fit, draws: Float[np.ndarray, "draw step"] | None, threshold: float | None
) -> tuple[float, float]:
    """From the checkpoint before the crossing to the one after it, at the outer points of the replicates."""
    fits = [fit] if draws is None else [_Fit(steps, row, threshold) for row in np.asarray(draws, dtype=float)]
    where = sorted(len(steps) if f.crossed is None else f.crossed for f in fits)
    first, final = where[math.floor(TAIL * len(where))], where[math.ceil((1 - TAIL) * len(where)) - 1]
    first = first if fit.crossed is None else min(first, fit.crossed)
    final = final if fit.crossed is None else max(final, fit.crossed)
    low = float(steps[max(first - 1, 0)])
    return low, float(steps[final]) if final < len(steps) else math.nan
