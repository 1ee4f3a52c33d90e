"""Commands that ask something of a run: one line a checkpoint, the whole table under RUN/analysis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from interp.analysis.result import Result
from interp.cli import show, wide
from interp.run import load

Json = Annotated[bool, Parameter(name="--json", help="Print the rows as one JSON document instead.")]
Released = Annotated[
    bool,
    Parameter(help="Let go of the clamps that the run was trained with; they hold otherwise."),
]
Steps = Annotated[str, Parameter(help="'all', 'last', or steps with commas between.")]


def scores(run: Path, /, *, steps: Steps = "all", released: Released = False, json: Json = False) -> int:
    """Loss and score of every read at every checkpoint, with the closed-form floor and the chance level.

    Parameters
    ----------
    run
        Folder of the run.
    """
    with show.progress("scores") as advance:
        result = load(run, released=released).scores(steps, advance)
    if json:
        return print_json(result)
    for metric in result.table["metric"].unique():
        show.table(wide.by_read(result.table, metric), f"{metric} by checkpoint")
    return 0


def print_json(result: Result, besides: Mapping[str, Any] | None = None) -> int:
    """The rows of a result as one JSON document, with what else is to stand in it."""
    rows = show.records(result.table)
    show.document({"analysis": result.name, "caption": result.caption, "rows": rows, **(besides or {})})
    return 0
