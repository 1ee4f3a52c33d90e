"""The picture at the top of a page: which head attends where on the shown prompt, and when each part emerged.

Left the prompt with one numbered arc a relation (from the attending token to the attended one), right the same
numbers and the skills in the order of their onset, each with its interval. Only geometry lives here; the template
draws it, in the page's colours and without a script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp.analysis.conclusion import first_middle_last
from interp.heads.attention_conclusions import NEAR
from interp.heads.roles import role_of
from interp.pictures.labels import relation_label
from tasks import Relation

ATTENDS = 0.3
LEAST = 11.0  # between labels of tokens, in the picture's units
WIDTH, LEFT, RIGHT, TOP, ROW = 1124, 480, 800, 30, 25


@dataclass(frozen=True)
class Line:
    """One row of the timeline; `arc` is the path and its apex on the prompt, None for a skill."""

    text: str
    note: str
    step: int | None
    low: float | None
    high: float | None
    arc: tuple[str, float, float] | None = None


@dataclass(frozen=True)
class Sketch:
    """Everything drawn, in the picture's own units; a token without a label is a dot alone. Not `dated`: of one
    checkpoint, at which nothing can have emerged.
    """

    tokens: tuple[tuple[str, float], ...]
    lines: tuple[Line, ...]
    last: int
    base: float
    height: float
    dated: bool = True

    @property
    def turned(self) -> bool:
        """Whether token labels are too long to stand side by side."""
        return max(len(label) for label, _ in self.tokens) * 7 > (LEFT - 20) / len(self.tokens)

    def x(self, step: float | int) -> float:
        """Where a training step lies on the timeline."""
        return RIGHT + (WIDTH - 14 - RIGHT) * step / max(1, self.last)

    def y(self, row: int) -> float:
        return float(TOP + ROW * row + 10)


def sketch(
    tokens: Sequence[str],
    relations: Sequence[Relation],
    heads: pd.DataFrame | None,
    scores: pd.DataFrame,
    emergence: pd.DataFrame,
    last: int,
    agreement: pd.DataFrame | None = None,
    *,
    dated: bool = True,
) -> Sketch | None:
    """The picture; None where no head attends to a relation and nothing emerged. `dated`: of several checkpoints."""
    found = [] if heads is None else _looks(heads, {r.name: r for r in relations}, agreement)
    skills = _skills(scores, emergence, last)
    count = len(found) + len(skills)
    if not count:
        return None
    base = max(150.0, float(TOP + ROW * count - 20))
    room = (LEFT - 20) / len(tokens)
    at = [(label, 10 + room * (i + 0.5)) for i, label in enumerate(tokens)]
    looks = [
        Line(
            relation_label(name),
            f"L{layer}H{head}, {score:.0%}",
            *_onset(emergence, f"L{layer}H{head}", name),
            _arc(at, pair, base),
        )
        for name, layer, head, score, pair in found
    ]
    lines = sorted([*looks, *skills], key=lambda line: np.inf if line.step is None else line.step)
    ends = {end for *_, pair in found for end in pair}
    return Sketch(_labelled(at, room, ends), tuple(lines), last, base, base + 46, dated)


def _labelled(at: Sequence[tuple[str, float]], room: float, ends: set[int]) -> tuple[tuple[str, float], ...]:
    """Only every few labels where tokens stand too close to be read; those at the ends of arcs in any case."""
    every = max(1, math.ceil(LEAST / room))
    near = {i + shift for i in ends for shift in range(1 - every, every)} - ends
    shown = {i for i in range(0, len(at), every) if i not in near} | ends
    return tuple((label if i in shown else "", x) for i, (label, x) in enumerate(at))


def strongest(heads: pd.DataFrame, agreement: pd.DataFrame | None = None) -> pd.DataFrame:
    """The head of each relation at the last checkpoint; relations of distractor chains left out.

    The one with the most attention there. Where ablations were measured (`interp.heads.agreement`), among heads with
    this role within `NEAR` of it the one with the largest ablation effect: a high score alone may belong to a head
    that nothing needs.
    """
    last = heads[(heads["step"] == heads["step"].max()) & (heads["control"] == "none")]
    last = last[~last["metric"].str.startswith("rival")]
    near = last[last["value"] >= last.groupby("metric")["value"].transform("max") - NEAR]
    costs = {} if agreement is None else ablation_effects(agreement)
    cost = [costs.get((r.layer, r.head, role_of(str(r.metric))), ("", 0.0))[1] for r in near.itertuples()]
    best = (
        near.assign(cost=cost).sort_values(["cost", "value"], ascending=False).groupby("metric", sort=False)
    )
    return best.head(1).drop(columns="cost").sort_index()


def ablation_effects(agreement: pd.DataFrame) -> dict[tuple[object, object, str], tuple[str, float]]:
    """By layer, head and its role at the last checkpoint: the verdict of its ablation, and the ablation effect."""
    last = agreement[(agreement["step"] == agreement["step"].max()) & (agreement["role"] != "")]
    return {(r.layer, r.head, str(r.role)): (str(r.verdict), float(r.effect)) for r in last.itertuples()}  # type: ignore[arg-type]


def _looks(
    heads: pd.DataFrame, relations: dict[str, Relation], agreement: pd.DataFrame | None
) -> list[tuple[str, int, int, float, tuple[int, int]]]:
    """Relations that some head attends to, with that head and one pair of positions of the first prompt."""
    best = strongest(heads, agreement)
    best = best[(best["value"] >= ATTENDS) & best["metric"].isin(list(relations))]
    found: list[tuple[str, int, int, float, tuple[int, int]]] = []
    for i, row in enumerate(best.itertuples()):
        pair = _pair(relations[str(row.metric)], (i + 0.5) / len(best), {look[-1] for look in found})
        found.append((str(row.metric), int(row.layer), int(row.head), float(row.value), pair))  # type: ignore[arg-type]
    return found


def _pair(relation: Relation, share: float, taken: set[tuple[int, int]]) -> tuple[int, int]:
    """One of a relation's pairs; relations with many fan out, and no two show the same one if they need not."""
    pairs = relation.pairs(0) or [(int(relation.dest[0, 0]), int(relation.source[0, 0]))]
    first = int(share * len(pairs))
    turned = pairs[first:] + pairs[:first]
    return next((pair for pair in turned if pair not in taken and pair[::-1] not in taken), turned[0])


def _skills(scores: pd.DataFrame, emergence: pd.DataFrame, last: int) -> list[Line]:
    """The output positions, or the first, the middle and the last of many."""
    metric = "accuracy" if (scores["metric"] == "accuracy").any() else "loss"
    now = scores[(scores["step"] == last) & (scores["metric"] == metric) & (scores["control"] == "none")]
    said = "{:.0%} right" if metric == "accuracy" else "loss {:.2g}"
    return [
        Line(str(row.position), said.format(row.value), *_onset(emergence, str(row.position), metric))
        for row in now.iloc[first_middle_last(len(now))].itertuples()
    ]


def _onset(
    emergence: pd.DataFrame, subject: str, metric: str
) -> tuple[int | None, float | None, float | None]:
    rows = emergence[(emergence["subject"] == subject) & (emergence["metric"] == metric)]
    if rows.empty or pd.isna(rows["step"].iloc[0]):
        return None, None, None
    row = rows.iloc[0]
    low, high = (None if pd.isna(row[end]) else float(row[end]) for end in ("ci_low", "ci_high"))
    return int(row["step"]), low, high


def _arc(at: Sequence[tuple[str, float]], pair: tuple[int, int], base: float) -> tuple[str, float, float]:
    """An arc from the attending token to the attended one, as high as it is wide (within the picture)."""
    start, end = at[pair[0]][1], at[pair[1]][1]
    lift = min(base - TOP - 6, 34 + 0.42 * abs(start - end))
    high = base - 1.33 * lift
    path = f"M{start:.1f},{base:.1f} C{start:.1f},{high:.1f} {end:.1f},{high:.1f} {end:.1f},{base - 3:.1f}"
    return path, (start + end) / 2, base - lift
