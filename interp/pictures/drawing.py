"""The drawing script of pages that we write: curves with bands, points, heat maps, with readout, legend, zoom, files.

Owns which parts it has and their order. It draws into elements of a page that carries `style()` and colours of its own
(custom properties, listed on top of `figure.css`), and asks for nothing beyond the page. How it is called is written on
top of `figure.js`. Notebook figures are plotly's (`interp.pictures.bands`), not drawn by it.
"""

from __future__ import annotations

from importlib.resources import files

PARTS = ("elements", "axes", "marks", "cells", "figure", "legend", "readout", "zoom", "save")


def script() -> str:
    """The functions, to be put before those that call them, within one scope."""
    return "\n".join(_asset(f"{part}.js") for part in PARTS)


def style() -> str:
    """The style sheet of figures."""
    return _asset("figure.css")


def _asset(name: str) -> str:
    return files("interp.pictures").joinpath("assets", name).read_text("utf-8")
