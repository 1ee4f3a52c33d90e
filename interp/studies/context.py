"""A study under way: its scale, seeds, folder and claims, and how every ledger row of every study is made.

Owns the words that rows repeat (the command), the pictures and tables that rows leave behind (`parts`, in order), the
points that figures are drawn from (`points`), and what was read once and is asked for again (`memory`). Knows no
paper: what a study trains and measures stands in its own room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd
import plotly.graph_objects as go

from interp.studies.figure_page import Part
from interp.studies.ledger import Claim, Ledger, Row, Scale
from probes import stats
from probes.seeds import MOST_FOR_A_RANGE
from probes.stats import Interval

Report = Callable[[str], None]
Budget = TypeVar("Budget")


@dataclass
class StudyContext(Generic[Budget]):
    """Where a study's rows are made. `budget` is the study's own: sizes, steps and seeds of the scale.

    `seeds` are those of training; a row's `n` counts them unless its note says otherwise.
    """

    study: str
    scale: Scale
    out: Path
    seeds: tuple[int, ...]
    report: Report
    budget: Budget
    claims: Mapping[str, Claim]
    parts: list[Part] = field(default_factory=list)
    points: dict[str, list[dict]] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What to type to measure the rows again."""
        return f"interp study {self.study} --scale {self.scale}"

    def progress(self, line: str) -> None:
        """One line of progress, with the study's name before it."""
        self.report(f"{self.study}: {line}")

    def show(self, body: go.Figure | pd.DataFrame, title: str, words: str) -> None:
        """Put a picture or a table on the study's page."""
        self.parts.append(Part(body, title, words))

    def keep(self, curve: str, **point: object) -> None:
        """One point of a figure that is drawn at the end."""
        self.points.setdefault(curve, []).append(point)

    def remembered(self, name: str, read: Callable[[], Any]) -> Any:
        """What `read` gives, read once: many rows ask for the same reading."""
        if name not in self.memory:
            self.memory[name] = read()
        return self.memory[name]

    def row(
        self, claim: str | Claim, found: Interval | Sequence[float], *, condition: str, budget: str,
        note: str = "", scale: stats.Scale = "linear", command: str | None = None,
    ) -> Row:  # fmt: skip
        """A row of an interval, or of one value per seed (see `over_seeds`; one value has no interval)."""
        own = self.claims[claim] if isinstance(claim, str) else claim
        made = found if isinstance(found, Interval) else over_seeds(own, found, scale)
        method = f"{made.method}, n={made.n}" if made.method not in ("", "exact") else ""
        return own.measured(
            made.value, made.low, made.high, made.n, condition=condition, budget=budget,
            command=command or self.command, interval=made.method,
            note="; ".join(part for part in (note, method) if part),
        )  # fmt: skip

    def values(
        self, claim: str, found: Sequence[float], *, condition: str, budget: str, note: str = "",
        scale: stats.Scale = "linear", lost: str = "a run of theirs diverged",
    ) -> Row:  # fmt: skip
        """As `row`, for values that may be missing (0 or infinite under a log scale, NaN) for the reason `lost`.

        Those seeds are left out and counted in the note, and the row has no interval, so that nothing is settled by
        the seeds that are left; with fewer than two of them it has no value.
        """
        kept = [v for v in found if math.isfinite(v) and (scale == "linear" or v > 0)]
        if len(kept) == len(found):
            return self.row(claim, found, condition=condition, budget=budget, note=note, scale=scale)
        value = stats.student(kept, scale).value if len(kept) > 1 else math.nan
        lost = f"{len(found) - len(kept)} of {len(found)} seeds left out: {lost}"
        return self.row(
            claim, Interval(value, math.nan, math.nan, len(kept), "no interval"), condition=condition,
            budget=budget, note="; ".join(part for part in (note, lost) if part),
        )  # fmt: skip

    def ratios(
        self, claim: str, found: Sequence[float], *, condition: str, budget: str, note: str = ""
    ) -> Row:
        """`values` on a log scale."""
        return self.values(claim, found, condition=condition, budget=budget, note=note, scale="log")

    def exact(self, claim: str, value: float, *, condition: str, budget: str, note: str = "") -> Row:
        """A row of a figure without sampling error (a worst case over stated inputs, an identity)."""
        return self.row(claim, exactly(value), condition=condition, budget=budget, note=note)

    def ledger(self, rows: Sequence[Row]) -> Ledger:
        """The study's ledger, its rows in the order of the claims."""
        order = {name: place for place, name in enumerate(self.claims)}
        return Ledger(
            self.study, self.scale, self.seeds, tuple(sorted(rows, key=lambda row: order[row.claim]))
        )


def over_seeds(claim: Claim, values: Sequence[float], scale: stats.Scale = "linear") -> Interval:
    """The mean of one value a seed, inside what is possible for the claim's unit; the range of three or fewer.

    On the log scale it is the geometric mean.
    """
    if scale != "linear" and len(values) > MOST_FOR_A_RANGE:
        return stats.student(list(values), scale)
    least, most = (-math.inf, math.inf) if claim.design is None else claim.bounds
    found = stats.over_seeds([_rounded(x, least, most) for x in values], least, most)
    return found if scale == "linear" else replace(found, value=stats.student(list(values), scale).value)


def _rounded(value: float, least: float, most: float) -> float:
    """A value that rounding took past a bound, on it."""
    slack = 1e-6
    return min(max(value, least), most) if least - slack <= value <= most + slack else value


def exactly(value: float, n: int = 1) -> Interval:
    """A figure without sampling error."""
    return Interval(value, value, value, n, "exact")


def nothing(n: int, why: str) -> Interval:
    """What a row holds that could not be measured."""
    return Interval(math.nan, math.nan, math.nan, n, why)


def quotient(top: Interval, bottom: Interval) -> Interval:
    """A quotient of two positive figures; its ends are quotients of the ends, so it is conservative."""
    if not (bottom.low > 0):
        return Interval(top.value / bottom.value, math.nan, math.nan, top.n, "none: the divisor may be 0")
    return Interval(
        top.value / bottom.value,
        top.low / bottom.high,
        top.high / bottom.low,
        top.n,
        "bounds of both",
    )
