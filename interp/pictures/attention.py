"""Attention of one layer in a notebook: CircuitsVis' view in a sandboxed frame that loads nothing.

The bundle (1.3 MB) is part of every such output; the frame may run its scripts and reach nothing else.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from pathlib import Path

import jinja2
from jaxtyping import Float
from markupsafe import Markup
from torch import Tensor

from interp.io.files import write_atomically
from interp.pictures.inline import as_json, library, policy

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<title>{{ title }}</title><style>body { font: 14px sans-serif; margin: 8px; background: #fff; color: #222 }
#heads { max-width: 560px }</style>
{% for script in scripts %}<script>{{ script }}</script>
{% endfor %}</head><body><p>{{ title }}</p><div id="heads"></div>
<script>{{ start }}</script></body></html>
"""


# pixels of a frame, which cannot ask its sandboxed page how tall it is: words and large map, and a row of small maps
LARGE, ROW, IN_ROW = 690, 100, 6


@dataclass(frozen=True)
class AttentionView:
    """Attention of every head of a layer on one prompt; rows are destination tokens (queries)."""

    title: str
    tokens: tuple[str, ...]
    pattern: Float[Tensor, "head dest source"]
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{self.title} (a picture in a notebook; .save(path) writes it as a page)"

    def page(self) -> str:
        """A complete HTML page that needs no network."""
        most = max(1.0, float(self.pattern.abs().max()))
        values = {
            "tokens": list(self.tokens),
            "attention": [[[round(v, 3) for v in row] for row in head] for head in self.pattern.tolist()],
            "attentionHeadNames": list(self.names),
            "maxValue": most,
            "minValue": -most,
            "maskUpperTri": False,
        }
        start = f'CircuitsVis.render("heads", CircuitsVis.AttentionHeads, {as_json(values)})'
        scripts = [library("circuitsvis", "dist/cdn/iife.js")]
        return (
            jinja2.Environment(autoescape=True)
            .from_string(PAGE)
            .render(
                title=self.title,
                policy=policy([*scripts, start]),
                scripts=[Markup(script) for script in scripts],
                start=Markup(start),
            )
        )

    def save(self, path: str | Path) -> Path:
        """Write the page. Raises UserError when the path cannot be written."""
        write_atomically(Path(path), self.page().encode())
        return Path(path)

    def _repr_html_(self) -> str:
        inside = html.escape(self.page(), quote=True)
        height = LARGE + ROW * math.ceil(len(self.names) / IN_ROW)
        return (
            f'<iframe title="{html.escape(self.title, quote=True)}" sandbox="allow-scripts"'
            f' style="width:100%;height:{height}px;border:0" srcdoc="{inside}"></iframe>'
        )
