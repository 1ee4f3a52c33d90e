"""How results look in a terminal: tables of at most 100 columns, plain text in a pipe, progress on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from tasks.errors import plain

WIDTH, BETWEEN = 100, 2


def console() -> Console:
    """Standard output: as wide as the terminal but never over 100 columns; 100 and without colour in a pipe."""
    live = sys.stdout.isatty()
    width = min(WIDTH, Console().width) if live else WIDTH
    return Console(width=width, highlight=False, no_color=not live)


def table(frame: pd.DataFrame, title: str = "", spare: Sequence[str] = ()) -> None:
    """Print a frame, figures to four digits; missing values as a dash.

    Where it is wider than the line, columns in `spare` are left out, the first named first, rather than cells folded.
    """
    out = console()
    left_out = []
    for name in spare:
        if _width(frame) <= out.width:
            break
        frame = frame.drop(columns=name)
        left_out.append(name)
    if title:
        out.print(plain(title), style="bold", markup=False)
    shown = Table(box=box.SIMPLE if sys.stdout.isatty() else None, pad_edge=False)
    for name in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[name])
        shown.add_column(escape(str(name)), justify="right" if numeric else "left", overflow="fold")
    for row in frame.itertuples(index=False):
        shown.add_row(*(escape(cell(value)) for value in row))
    out.print(shown)
    if left_out:
        note(f"left out for room: {', '.join(left_out)}; --json has all")


def _width(frame: pd.DataFrame) -> int:
    """Columns of text that a frame needs when no cell is folded."""
    widths = [max(map(len, [str(name), *map(cell, frame[name])])) for name in frame.columns]
    return sum(widths) + BETWEEN * (len(widths) - 1)


def cell(value: Any) -> str:
    """One value as text."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else plain(str(value))


def note(text: str) -> None:
    """A sentence under a table."""
    console().print("\n".join(map(plain, text.split("\n"))), markup=False, soft_wrap=True)


def indented(text: str) -> None:
    """A sentence folded to the line, four columns in."""
    console().print(Padding(escape(plain(text)), (0, 0, 0, 4)))


def document(content: Any) -> None:
    """One JSON document on standard output and nothing else; what is not a number is null."""
    json.dump(content, sys.stdout, indent=1, allow_nan=False)
    sys.stdout.write("\n")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as JSON values."""
    return json.loads(frame.to_json(orient="records"))


@contextmanager
def progress(title: str) -> Iterator[Any]:
    """A bar on standard error; yields `advance(label, done, total)`. Nothing is drawn when it is not a terminal."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True,
    )  # fmt: skip
    with bar:
        tasks: dict[str, Any] = {}

        def advance(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(escape(f"{title}: {label}"), total=total)
            bar.update(tasks[label], completed=done, visible=done < total)  # what is through makes room

        yield advance
