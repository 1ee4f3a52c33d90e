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
import pandas as pd
from jaxtyping import Float

from interp.develop.curves import crossing, log_time, rises_by_permutation, rising, unimodal
from tasks import UserError

HEAD_SHARE = 0.5  # of the way from uniform attention to all of it
SIGNED = "signed attention"  # unit of a score of linear or ReLU attention: it has no bound
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


COLUMNS = (
    *("subject", "metric", "position", "layer", "head", "threshold", "before", "step", "ci_low", "ci_high"),
    *("half", "width", "state", "rose", "fell", "last"),
)
KEYS = ("metric", "position", "layer", "head")
NO_HEAD = -1  # layer and head of a read's replicates, whose position is its name; a head's position is ""


def emergence_table(scores: pd.DataFrame, heads: pd.DataFrame | None, draws: pd.DataFrame) -> pd.DataFrame:
    """Onsets of every read of a run, and of every head that rose to the threshold of some relation.

    `scores`, `heads` and `draws` are the tables of `Scores`, `HeadScores` and `CurveDraws` at the same
    checkpoints. Thresholds: half-way between chance and 1 for an accuracy, and between uniform attention and
    1 for a head; half of its own rise (fall) for a loss or a signed attention score, heads that never pass
    the untrained twin's best left out. All curves of the run are tested together, so that a run in which
    nothing rises yields any onset with a probability of at most 5%. Sorted by onset; `step` is missing when
    not emerged by `last`. Raises UserError when the tables do not belong together.
    """
    curves = [*_read_curves(scores), *([] if heads is None else _head_curves(heads))]
    replicates = _by_curve(draws)
    for curve in curves:
        curve.attach(replicates)
    rows = [curve.row(rises) for curve, rises in zip(curves, _jointly(curves), strict=True)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    appeared = table["rose"].notna() & (table["rose"] > scores["step"].min())
    table = table[table["head"].isna() | appeared]
    whole = dict.fromkeys(("layer", "head", "before", "step", "rose", "fell", "last"), "Int64")
    return table.astype(whole).sort_values(["step", "rose", "subject"], kind="stable", ignore_index=True)


@dataclass
class _Curve:
    """One curve of a run on its way into the table; `sign` -1 for a loss."""

    subject: str
    key: tuple
    steps: list[int]
    values: Float[np.ndarray, " step"]
    threshold: float | None
    sign: int = 1
    draws: Float[np.ndarray, "draw step"] | None = None

    def attach(self, replicates: dict[tuple, tuple[list[int], np.ndarray]]) -> None:
        """Take this curve's replicates; they must be of the same checkpoints."""
        steps, draws = replicates.get(self.key, ([], None))
        if draws is None or steps != self.steps:
            raise UserError(
                f"emergence: no replicates of {self.subject} ({self.key[0]}) at the same checkpoints"
            )
        self.draws = self.sign * draws

    def row(self, rises: bool) -> dict:
        found = onset(
            self.steps, (self.sign * self.values).tolist(), self.threshold, draws=self.draws, rises=rises
        )
        named = {
            name: value for name, value in zip(KEYS, self.key, strict=True) if value not in ("", NO_HEAD)
        }
        return {**named, "subject": self.subject, **vars(found), "threshold": self.sign * found.threshold}


def _by_curve(draws: pd.DataFrame) -> dict[tuple, tuple[list[int], np.ndarray]]:
    """Steps and replicates [draw, step] of every curve."""
    columns = [name for name in draws.columns if str(name).startswith("draw ")]
    found = {}
    for key, rows in draws.groupby(list(KEYS), sort=False):
        rows = rows.sort_values("step")
        found[key] = ([int(s) for s in rows["step"]], rows[columns].to_numpy(dtype=float).T)
    return found


def _jointly(curves: list[_Curve]) -> list[bool]:
    """Which curves rise, tested together over a run's checkpoints."""
    if not curves:
        return []
    odd = next((curve for curve in curves if curve.steps != curves[0].steps), None)
    if odd is not None:
        raise UserError(
            f"emergence: {odd.subject} was not measured at the same checkpoints as {curves[0].subject}"
        )
    values = np.stack([curve.sign * curve.values for curve in curves])
    draws = np.stack([curve.draws for curve in curves if curve.draws is not None], axis=1)
    return rising(values, draws).tolist()


def _read_curves(scores: pd.DataFrame) -> list[_Curve]:
    metric = "accuracy" if (scores["metric"] == "accuracy").any() else "loss"
    chance = scores[(scores["control"] == "chance") & (scores["metric"] == metric)].set_index("position")[
        "value"
    ]
    measured = scores[(scores["control"] == "none") & (scores["metric"] == metric)]
    curves = []
    for position, rows in measured.groupby("position", sort=False):
        level = float(chance.get(position, 0.0))
        threshold, sign = (level + (1 - level) / 2, 1) if metric == "accuracy" else (None, -1)
        key = (metric, position, NO_HEAD, NO_HEAD)
        curves.append(_Curve(str(position), key, *_series(rows), threshold, sign))
    return curves


def _head_curves(heads: pd.DataFrame) -> list[_Curve]:
    measured = heads[heads["control"] == "none"]
    uniform = heads[heads["control"] == "uniform"].groupby("metric")["value"].max()
    untrained = heads[heads["control"] == "untrained"].groupby("metric")["value"].max()
    curves = []
    for (metric, layer, head), rows in measured.groupby(["metric", "layer", "head"], sort=False):
        steps, values = _series(rows)
        signed = bool((rows["unit"] == SIGNED).any())
        if signed and not (values > untrained.get(metric, 0.0)).any():
            continue
        level = float(uniform.get(metric, 0.0))
        threshold = None if signed else level + HEAD_SHARE * (1 - level)
        curves.append(
            _Curve(
                f"L{int(layer)}H{int(head)}", (metric, "", int(layer), int(head)), steps, values, threshold
            )
        )
    return curves


def _series(rows: pd.DataFrame) -> tuple[list[int], Float[np.ndarray, " step"]]:
    rows = rows.sort_values("step")
    return [int(s) for s in rows["step"]], rows["value"].to_numpy(dtype=float)
