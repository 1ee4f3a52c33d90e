"""When a curve over checkpoints rises: the first checkpoint from which it stays above a threshold.

Owns the onset of any score per checkpoint (head score, hop accuracy). Sign: the score must grow with the skill; turn a
loss round before asking. The onset is known only up to the spacing of the checkpoints, so it comes with the last
checkpoint before it. A curve that never stays above is "not emerged by step N" (censored), never dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from tasks import UserError

HEAD_THRESHOLD = 0.5


@dataclass(frozen=True)
class Onset:
    """`step`: first checkpoint from which the curve stays at or above `threshold`; None when there is none by `last`.
    `before`: the checkpoint just before it, so that the true onset lies in (before, step]."""

    step: int | None
    before: int | None
    last: int
    threshold: float

    def __str__(self) -> str:
        return f"not emerged by step {self.last}" if self.step is None else f"step {self.step}"


def onset(steps: Sequence[int], values: Sequence[float], threshold: float) -> Onset:
    """Onset of one curve. Source: emergence step of Musat's setting (arXiv 2411.12118), threshold ours.

    >>> onset([0, 10, 20, 30], [0.0, 0.7, 0.2, 0.9], 0.5)
    Onset(step=30, before=20, last=30, threshold=0.5)

    Raises UserError when steps do not increase or there are no values.
    """
    if not steps or len(steps) != len(values):
        raise UserError(
            f"an onset needs as many values as steps, at least one; got {len(values)} and {len(steps)}"
        )
    if any(a >= b for a, b in pairwise(steps)):
        raise UserError("an onset needs steps in increasing order")
    first = len(values)
    while first > 0 and values[first - 1] >= threshold:
        first -= 1
    if first == len(values):
        return Onset(None, steps[-1], steps[-1], threshold)
    return Onset(steps[first], steps[first - 1] if first else None, steps[-1], threshold)


COLUMNS = ("subject", "metric", "position", "layer", "head", "threshold", "before", "step", "last")


def emergence_table(scores: pd.DataFrame, heads: pd.DataFrame | None) -> pd.DataFrame:
    """Onsets of every read of an accuracy and of every head that scores above `HEAD_THRESHOLD` at some checkpoint.

    Sorted by onset (`step`; missing when not emerged by `last`), `before` is the checkpoint before it. Reads use the
    threshold half-way between chance and 1. `scores` and `heads` are tables of one run.
    """
    rows = _read_rows(scores)
    if heads is not None:
        rows += _head_rows(heads)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    whole = dict.fromkeys(("layer", "head", "before", "step", "last"), "Int64")
    return table.astype(whole).sort_values(["step", "subject"], kind="stable", ignore_index=True)


def _read_rows(scores: pd.DataFrame) -> list[dict]:
    chance = scores[scores["control"] == "chance"].set_index("position")["value"]
    measured = scores[(scores["control"] == "none") & (scores["metric"] == "accuracy")]
    rows = []
    for position, curve in measured.groupby("position", sort=False):
        level = float(chance.get(position, 0.0))
        found = _onset_columns(curve, level + (1 - level) / 2)
        rows.append({"subject": position, "metric": "accuracy", "position": position, **found})
    return rows


def _head_rows(heads: pd.DataFrame) -> list[dict]:
    measured = heads[heads["control"] == "none"]
    rows = []
    for (metric, layer, head), curve in measured.groupby(["metric", "layer", "head"], sort=False):
        if (curve["value"] >= HEAD_THRESHOLD).any():
            who = {"subject": f"L{layer}H{head}", "metric": metric, "layer": layer, "head": head}
            rows.append({**who, **_onset_columns(curve, HEAD_THRESHOLD)})
    return rows


def _onset_columns(curve: pd.DataFrame, threshold: float) -> dict:
    curve = curve.sort_values("step")
    found = onset([int(s) for s in curve["step"]], curve["value"].tolist(), threshold)
    return {"threshold": threshold, "before": found.before, "step": found.step, "last": found.last}
