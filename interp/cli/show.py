"""How results look in a terminal: tables of at most 100 columns, plain text in a pipe, progress on standard error."""

from __future__ import annotations

import itertools
import json
import math
import sys
import textwrap
from collections.abc import Collection, Iterator, Sequence
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

from interp.cli.terminal import Output, columns, screen
from tasks.errors import plain

KEYS = {  # columns that say which row it is
    "run", "group", "step", "layer", "head", "position", "component", "site", "distribution", "relation", "sender",
    "receiver", "metric", "control",
}  # fmt: skip
BETWEEN, RULED = 2, 3  # columns of text between two of a table: in a pipe, in a terminal


def console() -> Output:
    """Standard output, without colour in a pipe."""
    return Output(width=columns(), highlight=False, no_color=not sys.stdout.isatty())


def table(
    frame: pd.DataFrame, title: str = "", spare: Sequence[str] = (), keep: Collection[int] = ()
) -> None:
    """Print a frame, figures to four digits; missing values as a dash. A terminal shows a screen of it unless --all,
    the steps in `keep` among it.

    Where it is wider than the line, columns in `spare` are left out, the first named first; then the others go into
    tables beneath each other. Cells are folded only where a column alone is too wide.
    """
    out, room = console(), screen().room()
    if room == 0:
        screen().hidden.append(title)
        return
    frame, cut = shortened(frame, room, keep)
    left_out = []
    for name in spare:
        if _width(frame) <= out.width:
            break
        frame = frame.drop(columns=name)
        left_out.append(name)
    if title:
        out.print(plain(title), style="bold", markup=False)
    pieces = fitted(frame)
    for piece in pieces:
        out.print(piece)
    screen().fill(len(pieces) * (len(frame) + 1) + 1)
    if cut:
        note(f"… {cut:,} more {'checkpoints' if 'step' in frame.columns[:1] else 'rows'}: --all")
    if left_out:
        note(f"columns not shown: {', '.join(left_out)}; --json has all")


def shortened(frame: pd.DataFrame, most: int | None, keep: Collection[int] = ()) -> tuple[pd.DataFrame, int]:
    """At most so many rows, and how many are left out: of checkpoints an even spread from first to last, with the
    controls and whatever steps are to be kept, else the first ones.
    """
    if most is None or len(frame) <= most:
        return frame, 0
    if frame.columns[0] != "step":
        return frame.head(most), len(frame) - most
    numbers = pd.to_numeric(frame["step"], errors="coerce")
    steps = numbers.notna().to_numpy()
    named = numbers.isin(list(keep)).to_numpy().nonzero()[0]
    places, levels = steps.nonzero()[0], (~steps).nonzero()[0]
    kept = max(2, most - len(levels) - len(named))
    spread = (
        {int(places[round(i * (len(places) - 1) / (kept - 1))]) for i in range(kept)}
        if len(places)
        else set()
    )
    chosen = sorted({*spread, *map(int, levels), *map(int, named)})
    return frame.iloc[chosen], len(frame) - len(chosen)


def fitted(frame: pd.DataFrame) -> list[Table]:
    """A frame as tables beneath each other that fit the line."""
    return [_ruled(piece) for piece in _pieces(frame, columns())]


def _ruled(frame: pd.DataFrame) -> Table:
    shown = Table(box=box.SIMPLE if sys.stdout.isatty() else None, pad_edge=False)
    for name in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[name])
        shown.add_column(escape(str(name)), justify="right" if numeric else "left", overflow="fold")
    for row in frame.itertuples(index=False):
        shown.add_row(*(escape(cell(value)) for value in row))
    return shown


def _pieces(frame: pd.DataFrame, width: int) -> list[pd.DataFrame]:
    """The columns in groups that fit the line, what names a row in front of each; all in one if a column never fits."""
    names = list(frame.columns)
    leading = sum(1 for _ in itertools.takewhile(KEYS.__contains__, names))
    for first in (*range(leading, 1, -1), 1):
        if first < len(names) and (pieces := _grouped(frame, width, first)):
            return pieces
    return [frame]


def _grouped(frame: pd.DataFrame, width: int, first: int) -> list[pd.DataFrame]:
    """Groups of columns with the first ones before each; none where a column does not fit beside these."""
    names = list(frame.columns)
    keys, groups = names[:first], [names[:first]]
    for name in names[first:]:
        if _width(frame[[*groups[-1], name]]) <= width:
            groups[-1].append(name)
        elif _width(frame[[*keys, name]]) <= width:
            groups.append([*keys, name])
        else:
            return []
    return [frame[group] for group in groups if group != keys or len(groups) == 1]


def _width(frame: pd.DataFrame) -> int:
    """Columns of text that a frame needs when no cell is folded."""
    widths = [max(map(len, [str(name), *map(cell, frame[name])])) for name in frame.columns]
    ruled = sys.stdout.isatty()
    return sum(widths) + (RULED if ruled else BETWEEN) * (len(widths) - 1) + 2 * ruled


def cell(value: Any) -> str:
    """One value as text."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if (
        isinstance(value, float) and value.is_integer() and abs(value) < 1e9
    ):  # counts, steps among them, are floats
        return str(int(value))
    return f"{value + 0.0:.4g}" if isinstance(value, float) else plain(str(value))


def note(text: str) -> None:
    """Sentences above or under a table, folded between words."""
    out = console()
    for line in map(plain, text.split("\n")):
        folded = textwrap.wrap(line, out.width, break_long_words=False, break_on_hyphens=False)
        out.print("\n".join(folded), markup=False, soft_wrap=True)


def indented(text: str) -> None:
    """A sentence folded to the line, four columns in."""
    console().print(Padding(escape(plain(text)), (0, 0, 0, 4)))


def document(content: Any) -> None:
    """One JSON document on standard output and nothing else; what is not a number is null."""
    json.dump(content, sys.stdout, indent=1, allow_nan=False)
    sys.stdout.write("\n")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as JSON values."""
    from interp.analysis.schema import whole

    return json.loads(whole(frame).to_json(orient="records"))


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
