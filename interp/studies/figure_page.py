"""The page of a study's pictures: plotly figures and tables under headings, in one file that works offline.

Text is escaped here; plotly escapes what it draws.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio

from interp.io.files import write_atomically

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
h2{margin-top:2.5rem}table{border-collapse:collapse}
td,th{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:right}
section{overflow-x:auto}"""


@dataclass(frozen=True)
class Part:
    """A picture or a table, with its heading and what there is to see in it (both may be empty)."""

    body: go.Figure | pd.DataFrame
    title: str = ""
    words: str = ""


def write_page(path: Path, title: str, parts: Sequence[Part]) -> Path:
    """All parts on one page; plotly's script is in it once. Raises UserError when it cannot be written."""
    name = html.escape(title)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title><style>{STYLE}</style>'
    drawn = [part for part in parts if isinstance(part.body, go.Figure)]
    told = [_part(part, scripted=bool(drawn) and part is drawn[0]) for part in parts]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{head}<h1>{name}</h1>{''.join(told)}</html>\n".encode())
    return path


def _part(part: Part, scripted: bool) -> str:
    words = f"<h2>{html.escape(part.title)}</h2>" if part.title else ""
    words += f"<p>{html.escape(part.words)}</p>" if part.words else ""
    if isinstance(part.body, pd.DataFrame):
        return f"<section>{words}{part.body.to_html(border=0, escape=True, float_format='{:.3g}'.format)}</section>"
    picture = pio.to_html(part.body, include_plotlyjs="inline" if scripted else False, full_html=False)
    return f"<section>{words}{picture}</section>"
