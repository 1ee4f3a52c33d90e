"""Drawing primitives: a few shapes on an SVG element, every text escaped because it is built as a tree.

Coordinates are pixels from the top left corner. The background is white whatever the notebook's theme, so that colours
keep their contrast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from interp.io.files import write_atomically
from interp.pictures.bands import OPACITY

INK, GRID = "#222222", "#dddddd"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#000000", "#e69f00")
Length = int | float
Point = tuple[Length, Length]


@dataclass(frozen=True)
class Picture:
    """An SVG that shows itself in a notebook.

    >>> Picture("<svg/>")
    Picture(6 characters of SVG; .save(path) writes it)
    """

    svg: str

    def __repr__(self) -> str:
        return f"Picture({len(self.svg)} characters of SVG; .save(path) writes it)"

    def _repr_html_(self) -> str:
        return self.svg

    def save(self, path: str | Path) -> Path:
        """Write the picture as an .svg file. Raises UserError when the path cannot be written."""
        write_atomically(Path(path), self.svg.encode())
        return Path(path)


@dataclass(frozen=True)
class Scale:
    """Maps values in [low, high] to pixels in [start, end]; a span of nothing maps to the middle."""

    low: Length
    high: Length
    start: Length
    end: Length

    def __call__(self, value: Length) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[Length]:
        """Round values within the span."""
        if not self.high > self.low:
            return [self.low]
        rough = (self.high - self.low) / about
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


class Canvas:
    """An SVG under way."""

    def __init__(self, width: Length, height: Length, says: str):
        self.width, self.height = width, height
        size = {
            "width": f"{width:.0f}",
            "height": f"{height:.0f}",
            "viewBox": f"0 0 {width:.0f} {height:.0f}",
        }
        style = {"style": "max-width:100%;height:auto;background:#fff", "font-family": "sans-serif"}
        self.root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **size, **style})
        ET.SubElement(self.root, "title").text = says
        self.box(0, 0, width, height, "#ffffff")

    def text(
        self,
        x: Length,
        y: Length,
        words: str,
        *,
        anchor: str = "start",
        size: Length = 11,
        fill: str = INK,
        turn: int = 0,
    ) -> None:
        place = {
            "x": _short(x),
            "y": _short(y),
            "text-anchor": anchor,
            "font-size": _short(size),
            "fill": fill,
        }
        if turn:
            place["transform"] = f"rotate({turn} {_short(x)} {_short(y)})"
        ET.SubElement(self.root, "text", place).text = words

    def box(self, x: Length, y: Length, width: Length, height: Length, fill: str, says: str = "") -> None:
        place = {
            "x": _short(x),
            "y": _short(y),
            "width": _short(width),
            "height": _short(height),
            "fill": fill,
        }
        self._hover(ET.SubElement(self.root, "rect", place), says)

    def line(
        self, points: Sequence[Point], colour: str, *, width: Length = 1.5, dash: str = "", says: str = ""
    ) -> None:
        path = " ".join(f"{_short(x)},{_short(y)}" for x, y in points)
        look = {"points": path, "fill": "none", "stroke": colour, "stroke-width": _short(width)}
        self._hover(
            ET.SubElement(self.root, "polyline", {**look, **({"stroke-dasharray": dash} if dash else {})}),
            says,
        )

    def area(self, points: Sequence[Point], fill: str) -> None:
        path = " ".join(f"{_short(x)},{_short(y)}" for x, y in points)
        ET.SubElement(self.root, "polygon", {"points": path, "fill": fill, "fill-opacity": str(OPACITY)})

    def dot(self, x: Length, y: Length, colour: str, radius: Length = 2.5, says: str = "") -> None:
        place = {"cx": _short(x), "cy": _short(y), "r": _short(radius), "fill": colour}
        self._hover(ET.SubElement(self.root, "circle", place), says)

    def picture(self) -> Picture:
        return Picture(ET.tostring(self.root, encoding="unicode"))

    @staticmethod
    def _hover(element: ET.Element, says: str) -> None:
        if says:
            ET.SubElement(element, "title").text = says


def shade(value: Length, most: Length) -> tuple[str, str]:
    """Fill and text colour of a cell: white at 0, blue towards `most`, red towards -`most`; grey where unknown."""
    if math.isnan(value):
        return "#eeeeee", INK
    share = min(abs(value) / most, 1.0) if most > 0 else 0.0
    end = (8, 81, 156) if value >= 0 else (165, 15, 21)
    mixed = [round(255 + (channel - 255) * share) for channel in end]
    return "#" + "".join(f"{channel:02x}" for channel in mixed), "#ffffff" if share > 0.55 else INK


def _short(value: Length) -> str:
    return f"{value:.1f}".removesuffix(".0")
