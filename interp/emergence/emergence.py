"""Onsets of a whole run: every output position, every head on every relation, tested together.

Curves are dated by `interp.emergence.onset` from the tables of scores and heads and their replicates. Sign: a
loss is turned round before it is dated, its threshold turned back after.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.analysis.schema import conformed
from interp.emergence.onset import onset
from interp.emergence.rises import rising
from interp.heads.heads import HEAD_SHARE, SIGNED
from tasks import UserError

OVERLAP = 0.5  # of a direction that is found
COLUMNS = (
    *("subject", "metric", "position", "layer", "head", "threshold", "before", "step", "ci_low", "ci_high"),
    *("half", "width", "state", "first_rise", "first_loss", "last"),
)
KEYS = ("metric", "position", "layer", "head")
NO_HEAD = (
    -1
)  # layer and head of an output position's replicates, whose position is its name; a head's position is ""


def emergence_table(
    scores: pd.DataFrame | None,
    heads: pd.DataFrame | None,
    draws: pd.DataFrame,
    overlaps: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Onsets of every output position, of every head that rose to the threshold of some relation, and of overlaps.

    `scores`, `heads` and `draws` are the tables of `Scores`, `HeadScores` and `CurveDraws` at the same checkpoints, or
    of a score and a relation of the user's own. Thresholds: half-way between chance and 1 for an accuracy, and between
    uniform attention and 1 for a head; half of its own rise (fall) for a loss, a score of one's own or a signed
    attention score, heads that never pass the untrained model's best left out; 1/2 for an overlap, which has no noise
    over prompts. All curves of the run are tested together, so that a run in which nothing rises yields any onset with
    a probability of at most 5%. Sorted by onset; `step` is missing when not emerged by `last`. Raises UserError when
    the tables do not belong together.
    """
    curves = [] if scores is None else _read_curves(scores)
    curves += [] if heads is None else _head_curves(heads)
    replicates = _by_curve(draws)
    for curve in curves:
        curve.attach(replicates)
    curves += [] if overlaps is None else _overlap_curves(overlaps, _replicates(draws))
    rows = [curve.row(rises) for curve, rises in zip(curves, _jointly(curves), strict=True)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    appeared = table["first_rise"].notna() & (table["first_rise"] > draws["step"].min())
    table = table[table["head"].isna() | appeared]
    return conformed("emergence", table).sort_values(
        ["step", "first_rise", "subject"], kind="stable", ignore_index=True
    )


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


def _replicates(draws: pd.DataFrame) -> int:
    return sum(str(name).startswith("draw ") for name in draws.columns)


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
    named = set(scores["metric"].unique())
    own = named.isdisjoint(("accuracy", "loss"))
    metric = next(iter(named)) if own else "accuracy" if "accuracy" in named else "loss"
    chance = scores[(scores["control"] == "chance") & (scores["metric"] == metric)].set_index("position")[
        "value"
    ]
    measured = scores[(scores["control"] == "none") & (scores["metric"] == metric)]
    curves = []
    for position, rows in measured.groupby("position", sort=False):
        level = float(chance.get(position, 0.0))
        threshold, sign = (level + (1 - level) / 2, 1) if metric == "accuracy" else (None, 1 if own else -1)
        key = (metric, position, NO_HEAD, NO_HEAD)
        curves.append(_Curve(str(position), key, *_series(rows), threshold, sign))
    return curves


def _overlap_curves(overlaps: pd.DataFrame, draws: int) -> list[_Curve]:
    """Curves that are exact: every replicate is the curve itself."""
    curves = []
    for name, rows in overlaps.groupby("position", sort=False):
        steps, values = _series(rows)
        key = ("overlap", name, NO_HEAD, NO_HEAD)
        curves.append(_Curve(str(name), key, steps, values, OVERLAP, draws=np.tile(values, (draws, 1))))
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
