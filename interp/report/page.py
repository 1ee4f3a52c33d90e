"""One self-contained HTML file from plain data: no request leaves it, and no label can become markup.

Scripts are allowed by their hash alone, so a script that got in by a label would not run even if the escaping failed.
What enters the page unescaped is listed here and nowhere else: the page's own assets, and base64. Data and CircuitsVis
lie in it compressed, and a browser unpacks them when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from interp.io.files import make_room, write_atomically
from interp.pictures import drawing
from interp.pictures.inline import as_json, compressed, library, policy
from interp.report.cells import given, rows_of
from interp.report.compare import groups
from interp.report.glossary import terms
from interp.report.ledgers import shown
from interp.report.model import DrawnAttention, Fact, RunReport
from interp.report.payload import payload
from interp.report.quantise import Packed, pack
from interp.report.together import Together
from interp.studies.ledger import Ledger, Measured
from tasks.errors import UserError

SCRIPTS = (
    "words",
    "core",
    "steps",
    "track",
    "learning",
    "head_card",
    "circuit",
    "faithfulness",
    "patching",
    "heads",
    "probes",
    "emergence",
    "algorithms",
    "maps",
    "attention",
    "compare",
    "main",
)
TABLES = ("scores", "heads", "probes", "emergence", "patching", "faithfulness")
MOST_ROWS = 48
COLUMNS = (
    *("layer", "head", "position", "site", "subject", "target", "algorithm", "k", "metric", "control"),
    *("grid", "pair", "column", "edges", "before", "step", "value", "ci_low", "ci_high", "unit"),
)


def render(
    pages: Sequence[RunReport],
    ledgers: Sequence[Ledger | Measured] = (),
    together: Sequence[Together] = (),
) -> str:
    """The page of one or several runs, followed by the ledgers of studies; `together`: what is drawn of the runs of
    each of `groups(pages)`, in their order.

    Raises UserError when there is no run, or when a run's data cannot be drawn as it is.
    """
    if not pages:
        raise UserError("a report needs at least one run; name a run folder")
    libraries = {"circuitsvis": _circuitsvis()} if any(page.attention for page in pages) else {}
    own = _own()
    return (
        _templates()
        .get_template("page.html.j2")
        .render(
            libraries={name: packed for name, (_, packed) in libraries.items()},
            own=Markup(own),
            policy=policy([*(text for text, _ in libraries.values()), own]),
            style=Markup(f"{_asset('style.css')}\n{drawing.style()}"),
            title=" · ".join(p.title for p in pages),
            runs=[_run(index, page) for index, page in enumerate(pages)],
            titles=[page.title for page in pages],
            groups=(compared := groups(pages)),
            together=[*together, *[Together()] * (len(compared) - len(together))],
            compared=compressed(as_json(compared)),
            ledgers=[shown(ledger) for ledger in ledgers],
        )
    )


def write(html: str, path: str | Path) -> Path:
    """Write the page atomically, into a folder that is created if missing.

    Raises UserError when the path cannot be written.
    """
    path = Path(path)
    make_room(path)
    write_atomically(path, html.encode())
    return path


def _run(index: int, run: RunReport) -> dict[str, Any]:
    pairs = [(a, pack(a)) for a in run.attention]
    groups: dict[str, list[Fact]] = {}
    for fact in run.facts:
        groups.setdefault(fact.group, []).append(fact)
    return {
        "index": index,
        "report": run,
        "facts": groups,
        "terms": terms(run),
        "data": compressed(as_json({**payload(run), "attention": [_pattern(a, p) for a, p in pairs]})),
        "bytes": [Markup(p.data) for _, p in pairs],
        "tables": {name: _last(run.table(name)) for name in TABLES},
    }


def _pattern(attention: DrawnAttention, packed: Packed) -> dict[str, Any]:
    return {
        "name": attention.name,
        "tokens": attention.tokens,
        "steps": attention.steps,
        "shape": attention.pattern.shape,
        "signed": attention.signed,
        "causal": attention.causal,
        "note": attention.note,
        "links": [[link.relation, link.dest, link.source] for link in attention.links],
        "zero": packed.zero,
        "scale": packed.scale,
        "error": packed.error,
    }


def _last(table: pd.DataFrame | None) -> dict[str, Any] | None:
    """The last checkpoint's rows of a table, for readers without scripts and for copying."""
    if table is None:
        return None
    rows = rows_of(table)
    if {"value", "step"} <= set(table.columns):
        last = max(row["step"] for row in rows)
        rows = [row for row in rows if row["step"] == last]
    names = [c for c in COLUMNS if any(given(row.get(c)) for row in rows)]
    cells = [[_cell(row[c]) for c in names] for row in rows[:MOST_ROWS]]
    return {"columns": names, "rows": cells, "left_out": max(0, len(rows) - MOST_ROWS)}


def _cell(value: Any) -> str:
    if not given(value):
        return "–"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@cache
def _circuitsvis() -> tuple[str, Markup]:
    """The bundle as it will run, and as it lies in the page."""
    text = library("circuitsvis", "dist/cdn/iife.js")
    return text, compressed(text)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("interp.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return files("interp.report").joinpath("assets", name).read_text("utf-8")


def _own() -> str:
    parts = "\n".join([drawing.script(), *(_asset(f"{name}.js") for name in SCRIPTS)])
    return f'(() => {{\n"use strict";\n{parts}\n}})();'
