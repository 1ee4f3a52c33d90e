"""Comparisons over runs as lines: a value with its limits over runs, and a point for every single run.

Owns how the tables of `interp.sweep` are read for drawing: `lines` serves matplotlib (`forest`), a notebook's picture
and the report's page. Rows of single runs are those whose metric ends in `EACH`. An infinite step is an onset that did
not come by the last checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.pictures.labels import natural, relation_label
from interp.pictures.panels import spans
from interp.pictures.plots import new_axes
from interp.pictures.svg import Picture
from tasks.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EACH = " of the run"
STRONGEST, NEEDED, ONSET, OVERLAP = "strongest head", "needed heads", "onset", "edge overlap"
NAMED_BY = {STRONGEST: "role", NEEDED: "role", ONSET: "event", OVERLAP: "control"}
OVERLAPS = {"none": "two circuits found", "matched random": "two matched random circuits"}
AXES_LABELS = {
    STRONGEST: "attention of the strongest head",
    NEEDED: "needed heads",
    ONSET: "onset (training step)",
    OVERLAP: "edges shared, of all edges of either (Jaccard)",
}


@dataclass(frozen=True)
class RunValue:
    """One run's value; `head` where it is a head's."""

    run: str
    value: float
    head: str = ""


@dataclass(frozen=True)
class Compared:
    """What one row of a comparison draws: name, value over runs with limits (NaN: none; infinite: not by the last
    checkpoint), whether these are a range, and the runs' own values.
    """

    name: str
    value: float
    low: float
    high: float
    is_range: bool
    points: tuple[RunValue, ...] = ()


def lines(table: pd.DataFrame, metric: str) -> list[Compared]:
    """The lines of one metric; onsets in their order, all else as in the table. Empty where there is none."""
    key = NAMED_BY[metric]
    own = table[table["metric"] == metric]
    if own.empty:
        return []
    each = table[table["metric"] == metric + EACH]
    found = [_line(row, key, each[each[key] == row[key]]) for _, row in own.iterrows()]
    return sorted(found, key=lambda line: (line.value, natural(line.name))) if metric == ONSET else found


def _line(row: pd.Series, key: str, each: pd.DataFrame) -> Compared:
    name = OVERLAPS.get(str(row[key]), relation_label(str(row[key])))
    points = tuple(
        RunValue(str(one["run"]), math.inf if pd.isna(one["value"]) else float(one["value"]), _head(one))
        for _, one in each.iterrows()
    )
    value, low, high = (_number(row.get(column)) for column in ("value", "ci_low", "ci_high"))
    return Compared(name, value, low, high, "range" in str(row.get("method", "")), points)


def _number(value: Any) -> float:
    return math.nan if value is None or pd.isna(value) else float(value)


def _head(row: pd.Series) -> str:
    return f"L{int(row['layer'])}H{int(row['head'])}" if "head" in row and row["head"] >= 0 else ""


def side_by_side(count: int) -> np.ndarray:
    """Axes of a new figure, two a row. Raises UserError where matplotlib is not installed."""
    first = new_axes()
    figure: Any = first.get_figure()
    figure.clear()
    rows, columns = math.ceil(count / 2), min(count, 2)
    figure.set_size_inches(6.4 * columns, 4.2 * rows)
    every = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for spare in every[count:]:
        spare.remove()
    return every[:count]


def forest(ax: Axes, found: list[Compared], metric: str) -> Axes:
    """Lines from top to bottom: bars for the limits, dots for values over runs, small marks for single runs."""
    found = [line for line in found if math.isfinite(line.value)]
    if not found:
        raise UserError("nothing to plot: no value over runs")
    places = np.arange(len(found))[::-1]
    for y, line in zip(places, found, strict=True):
        runs = [point.value for point in line.points if math.isfinite(point.value)]
        ax.plot(runs, [y] * len(runs), "|", color="grey", ms=9)
        ends = [line.value if math.isnan(end) else end for end in (line.low, line.high)]
        apart = [[line.value - ends[0]], [ends[1] - line.value if math.isfinite(ends[1]) else 0.0]]
        ax.errorbar([line.value], [y], xerr=apart, fmt="o", color="C0", ms=4, capsize=2)
    what = "range" if any(line.is_range for line in found) else "95% interval"
    ax.set_yticks(places, [line.name for line in found])
    ax.set(xlabel=f"{AXES_LABELS[metric]} (bar: {what} over runs)", xlim=(0, None))
    return ax


def emergence(table: pd.DataFrame, ax: Axes) -> Axes:
    """Median onset of every event."""
    return forest(ax, lines(table, ONSET), ONSET)


def roles(table: pd.DataFrame, ax: Axes) -> Axes:
    """The strongest head on every relation."""
    return forest(ax, lines(table, STRONGEST), STRONGEST)


def circuits(table: pd.DataFrame, ax: Axes) -> Axes:
    """Overlap of every two circuits, beside that of matched random ones."""
    return forest(ax, lines(table, OVERLAP), OVERLAP)


def picture(metric: str, title: str) -> Any:
    """The notebook's picture of a table over runs, of one of its metrics."""

    def drawn(table: pd.DataFrame) -> Picture | None:
        found = [line for line in lines(table, metric) if math.isfinite(line.value)]
        if not found:
            return None
        end = float(table["step"].max()) if metric == ONSET else 1.0
        return spans(title, [(x.name, x.value, x.low, x.high) for x in found], end, AXES_LABELS[metric])

    return drawn


CHARTS: Mapping[str, Any] = {
    "emergence over runs": picture(ONSET, "median onset over runs"),
    "roles over runs": picture(STRONGEST, "strongest head on each relation, mean over runs"),
    "circuits over runs": picture(OVERLAP, "overlap of two runs' circuits"),
}
