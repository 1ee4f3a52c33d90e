"""Kinds of pictures: curves with bands, annotated heat maps, spans of training steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from interp.pictures.bands import outlines
from interp.pictures.svg import COLOURS, GRID, INK, Canvas, Length, Picture, Scale, shade

TOP, GAP, PLOT, HEIGHT, LEGEND = 46, 64, 300, 190, 16
CELL, ROW, TURNED = 46, 20, 7  # column names of more than TURNED characters are written at a slant


@dataclass(frozen=True)
class CurveLine:
    """One line; NaN bounds draw no band."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Heat:
    """One heat map; rows and columns are the frame's own."""

    name: str
    grid: pd.DataFrame


@dataclass(frozen=True)
class LevelLine:
    """A dashed reference line, of one curve (by its index in the panel) or of all of them."""

    name: str
    value: float
    curve: int | None = None


Panels = Mapping[str, tuple[Sequence[CurveLine], Sequence[LevelLine]]]


def curves(title: str, panels: Panels, x_name: str, x_labels: Sequence[str] = ()) -> Picture | None:
    """Panels side by side: lines with bands, and dashed levels with their names; None where no line has a point."""
    drawn = {name: panel for name, panel in panels.items() if any(line.x for line in panel[0])}
    if not drawn:
        return None
    names = max(len(lines) for lines, _ in drawn.values())
    canvas = Canvas(len(drawn) * (PLOT + GAP) + 20, TOP + HEIGHT + 44 + LEGEND * math.ceil(names / 3), title)
    canvas.text(10, 16, title, size=13)
    for index, (name, (lines, levels)) in enumerate(drawn.items()):
        _panel(canvas, GAP + index * (PLOT + GAP) - 10, name, lines, levels, x_name, x_labels)
    return canvas.picture()


def _panel(
    canvas: Canvas, left: Length, name: str, lines: Sequence[CurveLine], levels: Sequence[LevelLine], x_name: str,
    x_labels: Sequence[str],
) -> None:  # fmt: skip
    seen = [v for line in lines for v in (*line.y, *line.low, *line.high) if math.isfinite(v)] + [
        v.value for v in levels
    ]
    span = max(seen) - min(seen) or 1.0
    y = Scale(min(seen) - 0.03 * span, max(seen) + 0.03 * span, TOP + HEIGHT, TOP)
    across = [v for line in lines for v in line.x]
    x = Scale(min(across), max(across), left + 4, left + PLOT - 4)
    for tick in y.ticks():
        canvas.line([(left, y(tick)), (left + PLOT, y(tick))], GRID, width=0.7)
        canvas.text(left - 4, y(tick) + 4, f"{tick:g}", anchor="end", size=10)
    ticks = dict(enumerate(x_labels)) if x_labels else {tick: f"{tick:g}" for tick in x.ticks()}
    for tick, label in ticks.items():
        canvas.text(x(tick), TOP + HEIGHT + 14, label, anchor="middle", size=10)
    canvas.text(left + PLOT / 2, TOP + HEIGHT + 28, x_name, anchor="middle")
    canvas.text(left, TOP - 6, name)
    for level in levels:
        colour, at = INK if level.curve is None else COLOURS[level.curve % len(COLOURS)], y(level.value)
        canvas.line([(left, at), (left + PLOT, at)], colour, width=1, dash="4 3", says=level.name)
        canvas.text(left + PLOT - 2, at - 3, level.name, anchor="end", size=9, fill=colour)
    for number, line in enumerate(lines):
        _curve(canvas, line, COLOURS[number % len(COLOURS)], x, y)
        place = (left + number % 3 * PLOT / 3, TOP + HEIGHT + 44 + number // 3 * LEGEND)
        canvas.box(place[0], place[1] - 7, 12, 4, COLOURS[number % len(COLOURS)])
        canvas.text(place[0] + 16, place[1], line.name, size=10)


def _curve(canvas: Canvas, line: CurveLine, colour: str, x: Scale, y: Scale) -> None:
    for outline in outlines(line.x, line.low, line.high):
        around = [(x(at), y(bound)) for at, bound in outline]
        if len(around) > 2:
            canvas.area(around, colour)
        else:
            canvas.line(around, colour, width=1)
    points = [(at, value) for at, value in zip(line.x, line.y, strict=True) if math.isfinite(value)]
    if len(points) > 1:
        canvas.line([(x(at), y(value)) for at, value in points], colour, says=line.name)
    if len(points) <= 50:
        for at, value in points:
            canvas.dot(x(at), y(value), colour, says=f"{line.name}: {value:.4g} at {at:g}")


def heats(title: str, maps: Sequence[Heat]) -> Picture | None:
    """Heat maps below each other on one scale, the numbers in the cells; None where there is no cell."""
    maps = [heat for heat in maps if heat.grid.size]
    known = [abs(v) for heat in maps for v in heat.grid.to_numpy(float).ravel() if math.isfinite(v)]
    if not known:
        return None
    side = 12 + 6.2 * max(len(str(name)) for heat in maps for name in heat.grid.index)
    longest = max(len(str(name)) for heat in maps for name in heat.grid.columns)
    slant = 3.3 * longest if longest > TURNED else 0.0
    tall = [26 + (16 if heat.name else 0) + slant + ROW * len(heat.grid) for heat in maps]
    wide = side + CELL * max(heat.grid.shape[1] for heat in maps) + slant * 1.6 + 10
    canvas = Canvas(max(wide, 7 * len(title)), 22 + sum(tall) + 8, title)
    canvas.text(10, 16, title, size=13)
    top = 22.0
    for heat, height in zip(maps, tall, strict=True):
        _heat(canvas, heat, side, top + height - ROW * len(heat.grid), max(known), -30 if slant else 0)
        canvas.text(10, top + 14, heat.name)
        top += height
    return canvas.picture()


def _heat(canvas: Canvas, heat: Heat, left: Length, top: Length, most: Length, turn: int) -> None:
    for column, name in enumerate(heat.grid.columns):
        middle = left + column * CELL + CELL / 2
        canvas.text(middle, top - 6, str(name), size=10, anchor="start" if turn else "middle", turn=turn)
    for row, (name, values) in enumerate(heat.grid.iterrows()):
        y = top + row * ROW
        canvas.text(left - 5, y + 14, str(name), anchor="end", size=10)
        for column, value in enumerate(values):
            x, (fill, ink) = left + column * CELL, shade(float(value), most)
            canvas.box(
                x, y, CELL - 1, ROW - 1, fill, says=f"{name}, {heat.grid.columns[column]}: {value:.4g}"
            )
            canvas.text(x + CELL / 2, y + 14, _number(float(value), most), anchor="middle", size=10, fill=ink)


def _number(value: Length, most: Length) -> str:
    """A number that fits a cell; two decimals where the largest of the map is of order one."""
    if math.isnan(value):
        return "–"
    return f"{round(value, 2) + 0.0:.2f}" if 0.05 < most < 100 else f"{value:.2g}"


def spans(title: str, bars: Sequence[tuple[str, float, float, float]], last: Length, x_name: str) -> Picture:
    """One line a subject: a dot at its value, a bar from low to high, dashed to the end where high is unknown."""
    side = 12 + 6.2 * max(len(name) for name, *_ in bars)
    canvas = Canvas(side + 420, TOP + ROW * len(bars) + 40, title)
    canvas.text(10, 16, title, size=13)
    x = Scale(0, last, side, side + 400)
    bottom = TOP + ROW * len(bars)
    for tick in x.ticks():
        canvas.line([(x(tick), TOP - 6), (x(tick), bottom)], GRID, width=0.7)
        canvas.text(x(tick), bottom + 14, f"{tick:g}", anchor="middle", size=10)
    canvas.text(side + 200, bottom + 30, x_name, anchor="middle")
    for row, (name, value, low, high) in enumerate(bars):
        y, colour = TOP + row * ROW + 8, COLOURS[0]
        canvas.text(side - 6, y + 4, name, anchor="end", size=10)
        if math.isfinite(low):
            end = high if math.isfinite(high) else last
            canvas.line(
                [(x(low), y), (x(end), y)], colour, width=4, dash="" if math.isfinite(high) else "3 3"
            )
        canvas.dot(x(value), y, INK, 3.5, says=f"{name}: step {value:g} [{low:g}, {high:g}]")
    return canvas.picture()
