"""The band of a curve: the outline of its interval, for every picture that draws one (SVG and plotly).

Owns the shape: a closed outline for every stretch of points whose limits are both known, so that a band never bridges
a point without an interval. What the interval is (over prompts, over seeds) is the caller's to say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go

Number = int | float
Outline = list[tuple[Number, Number]]  # (x, y), closed
OPACITY = 0.18


def outlines(
    x: Sequence[Number], low: Sequence[Number], high: Sequence[Number], *, steps: bool = False
) -> list[Outline]:
    """The bands between two curves, each as one closed outline: along the upper limits, back along the lower ones.

    `steps`: each limit holds from its point until the next (survival curves). A stretch of one point is a line.
    """
    points = list(zip(x, low, high, strict=True))
    found = []
    for known, stretch in groupby(points, key=lambda point: all(map(math.isfinite, point))):
        if known:
            part = list(stretch)
            upper, lower = [(at, top) for at, _, top in part], [(at, bottom) for at, bottom, _ in part]
            if steps:
                upper, lower = _stairs(upper), _stairs(lower)
            found.append(upper + lower[::-1])
    return found


def _stairs(points: Outline) -> Outline:
    corners = [(after[0], before[1]) for before, after in pairwise(points)]
    return [point for pair in zip(points, [*corners, points[-1]], strict=True) for point in pair]


def banded(
    figure: go.Figure, name: str, x: Sequence[Number], value: Sequence[Number],
    limits: tuple[Sequence[Number], Sequence[Number]], colour: str, *, steps: bool = False, legend: bool = True,
    row: int | None = None, col: int | None = None,
) -> None:  # fmt: skip
    """Add a curve and its band to a plotly figure, as one entry of its legend; `colour` is #rrggbb."""
    cell = {} if row is None else {"row": row, "col": col}
    for outline in outlines(x, *limits, steps=steps):
        across, up = zip(*outline, strict=True)
        figure.add_scatter(
            x=across, y=up, fill="toself", fillcolor=_faint(colour), mode="none", hoverinfo="skip",
            showlegend=False, legendgroup=name, **cell,
        )  # fmt: skip
    figure.add_scatter(
        x=list(x), y=list(value), mode="lines", name=name, showlegend=legend, legendgroup=name,
        line={"color": colour, "shape": "hv" if steps else "linear"}, **cell,
    )  # fmt: skip


def _faint(colour: str) -> str:
    return f"rgba{(*(int(colour[i : i + 2], 16) for i in (1, 3, 5)), OPACITY)}"
