"""When a curve over checkpoints rises: its onset, half-rise and 10-90 width, with intervals; whether it falls
again.

Owns the onset of any score per checkpoint (head score, hop accuracy, minus a loss). Sign: the score must grow
with the skill. A curve is fitted by least squares with one that rises to a mode and falls after it; time
between checkpoints is interpolated in log(1 + step). A curve that never rises, or never reaches its
threshold, is "not emerged by step N" (censored), never dropped; one that rises and falls back below the
threshold is "transient". One that rises again after that has emerged at the last crossing, the one that is sustained,
and its earlier rises are reported as lost; `interp.emergence.phases` tells a loss from a dip.

Intervals within a run: bootstrap of whole prompts. The prompts are the same at every checkpoint, so one
resample makes one replicate of a whole curve, with the noise's correlation across checkpoints kept
(`CurveDraws` stores these replicates). An interval reaches from the checkpoint before the crossing to the one
after it, at the 2.5% and the 97.5% point of the replicates, so that it also covers what happened unseen
between two checkpoints. It is no interval over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from interp.emergence.curves import crossing, log_time, unimodal
from interp.emergence.phases import TAIL, Noise, Stretch, losses, noise_of
from interp.emergence.rises import FALSE_POSITIVES, FEWEST, rise_p_value, rising
from tasks import UserError

SHAPED = 3  # checkpoints without which a rise has a step but no half-rise and no width
State = Literal["emerged", "transient", "not emerged"]


@dataclass(frozen=True)
class Onset:
    """`step`: first checkpoint at which the fitted curve is at or above `threshold` and stays there; None
    where it does not, `before`: the checkpoint before that one (None when there is none). `last`: the last
    checkpoint.

    [`ci_low`, `ci_high`] covers the true time of the crossing (nan at the open end of a rise that some
    replicates never make). `half` (half-rise) and `width` (10% to 90% of the rise) are in steps,
    interpolated; nan without a rise, and of fewer than three checkpoints. `first_rise` and `first_loss` are the steps
    of the first rise and of the first loss (None where nothing was lost; `first_rise` is then `step`), `lost` how many
    rises were lost. A transient curve has no `step`; its interval, half-rise and width are those of its last rise.
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
    first_rise: int | None = None
    first_loss: int | None = None
    lost: int = 0

    def __str__(self) -> str:
        if self.state == "transient":
            return f"step {self.first_rise}, lost again by step {self.first_loss}"
        if self.step is None:
            return f"not emerged by step {self.last}"
        earlier = (
            f" (a rise at step {self.first_rise} was lost by step {self.first_loss})" if self.lost else ""
        )
        return f"step {self.step}{earlier}"


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

    `draws`: bootstrap replicates of the curve; without them the interval is the gap between two checkpoints.
    `rises` says whether the curve rises at all when that was tested elsewhere (jointly with others); otherwise it is
    tested here at 5%: against the replicates' noise, or without them, and without a threshold, against
    autocorrelated noise (`interp.emergence.rises`). Source: emergence step of stacked heads (Musat, arXiv
    2411.12118); definition ours.

    >>> found = onset([0, 10, 20, 30], [0.0, 0.7, 0.2, 0.9], 0.5)
    >>> found.step, found.before
    (30, 20)
    >>> str(onset([0, 10, 20, 30, 40, 50, 60, 70], [0.0, 0.9, 0.9, 0.1, 0.1, 0.9, 0.9, 0.9], 0.5))
    'step 50 (a rise at step 10 was lost by step 30)'

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
    if len(y) < FEWEST:
        raise UserError(
            f"{len(y)} checkpoints cannot tell a rise from noise: give a threshold, replicates, or {FEWEST} of them"
        )
    return rise_p_value(y) <= FALSE_POSITIVES


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
    course = _Course(steps, y, threshold, noise_of(y, draws), exact=draws is None)
    fit = course.rise
    shaped = len(steps) >= SHAPED
    shape: dict[str, Any] = {"half": fit.at_share(0.5), "width": fit.width} if shaped else {}
    if fit.crossed is None:
        return Onset(None, last, last, course.level, **shape)
    low, high = _interval(steps, course, draws, threshold)
    at, before = steps[fit.crossed], steps[fit.crossed - 1] if fit.crossed else None
    first_rise, first_loss = course.first_lost or (fit.crossed, None)
    history: dict[str, Any] = {
        "first_rise": steps[first_rise],
        "first_loss": None if first_loss is None else steps[first_loss],
        "lost": len(course.lost),
    }
    if course.gone:
        return Onset(None, last, last, course.level, low, high, **shape, state="transient", **history)
    return Onset(at, before, last, course.level, low, high, **shape, state="emerged", **history)


class _Course:
    """A curve's last rise above a level (half of the whole curve's rise unless one is given), and what it lost before
    and after.
    """

    def __init__(
        self,
        steps: list[int],
        y: Float[np.ndarray, " step"],
        threshold: float | None,
        noise: Noise,
        *,
        exact: bool,
        scale: float = 1.0,
    ):
        whole = _Rise(steps, y, threshold)
        self.level = whole.level
        self.lost: list[Stretch] = losses(y, self.level, noise, exact=exact, scale=scale)
        self.gone = bool(self.lost) and self.lost[-1][1] == len(y) - 1
        before = [first for first, _ in self.lost[: len(self.lost) - self.gone]]
        start, end = before[-1] if before else 0, self.lost[-1][0] if self.gone else len(y)
        self.rise = whole if not before and not self.gone else _Rise(steps[:end], y[:end], self.level, start)
        self.first_lost: Stretch | None = None
        if self.lost:
            first_loss = self.lost[0][0]
            first_rise = _Rise(steps[:first_loss], y[:first_loss], self.level).crossed
            self.first_lost = (
                int(np.argmax(y >= self.level)) if first_rise is None else first_rise,
                first_loss,
            )


class _Rise:
    """The rising part of a rise-then-fall fit to a curve from index `start` on, and where it crosses a level (half of
    its own rise unless one is given).
    """

    def __init__(
        self, steps: list[int], y: Float[np.ndarray, " step"], threshold: float | None, start: int = 0
    ):
        fitted, mode = unimodal(y[start:])
        self.rise = fitted[: mode + 1]
        self.time = log_time(steps[start:])[: mode + 1]
        self.level = float((self.rise[0] + self.rise[-1]) / 2) if threshold is None else threshold
        found = crossing(self.time, self.rise, self.level)
        self.crossed = None if found is None else start + found[0]

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
    steps: list[int], course: _Course, draws: Float[np.ndarray, "draw step"] | None, threshold: float | None
) -> tuple[float, float]:
    """From the checkpoint before the crossing to the one after it, at the outer points of the replicates."""
    found = [course.rise.crossed]
    if draws is not None:
        rows = np.asarray(draws, dtype=float)
        noise = noise_of(rows[0], rows)
        twice = 2**0.5  # a replicate deviates by the curve's noise and by its own
        found = [_Course(steps, row, threshold, noise, exact=False, scale=twice).rise.crossed for row in rows]
    where = sorted(len(steps) if one is None else one for one in found)
    first, final = where[math.floor(TAIL * len(where))], where[math.ceil((1 - TAIL) * len(where)) - 1]
    if course.rise.crossed is not None:
        first, final = min(first, course.rise.crossed), max(final, course.rise.crossed)
    low = float(steps[max(first - 1, 0)])
    return low, float(steps[final]) if final < len(steps) else math.nan
