"""Commands on heads and on when things appear: one table a view, 100 columns, JSON and Parquet alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from cyclopts import Parameter

from interp.analysis.result import Result
from interp.cli import head_views, show, wide
from interp.cli.analyses import Json, Released, Steps, print_json
from interp.emergence.choices import Of
from interp.run import Run, load
from tasks.errors import UserError

View = Literal["relations", "chain", "patterns", "roles", "circuits", "composition"]
Out = Annotated[
    Path | None, Parameter(name=["--out", "-o"], help="Write the rows as a Parquet table as well.")
]


def heads(
    run: Path,
    /,
    *,
    steps: Steps = "all",
    view: View = "relations",
    layers: bool = False,
    released: Released = False,
    out: Out = None,
    json: Json = False,
) -> int:
    """What every head looks at, does, and is worth, at every checkpoint.

    Parameters
    ----------
    run
        Folder of the run.
    view
        relations: attention on positions that the task gives a meaning; chain: from link to link of a chain;
        patterns: scores of heads on regression prompts or repeated tokens; roles: by score and by ablation;
        circuits: which circuit answers each hop; composition: Q-, K- and V-composition of heads.
    layers
        Print every head of the last of the steps instead of the best head of each (relations).
    """
    if layers and view != "relations":
        raise UserError("--layers goes with --view relations only")
    _room(out)
    opened = load(run, released=released)
    with show.progress("heads") as advance:
        result = head_views.measured(opened, view, steps, advance)
    _keep(result, out)
    if json:
        return print_json(result)
    for title, table in head_views.shown(view, result.table, layers):
        show.table(table, title)
    show.note(result.caption)
    return 0


def emergence(
    *runs: Annotated[Path, Parameter(name="RUN")],
    of: Of = "skills",
    steps: Steps = "all",
    released: Released = False,
    out: Out = None,
    json: Json = False,
) -> int:
    """First sustained crossing of each output position's score and each head's attention; of several runs, their order.

    Intervals of one run are over prompts, of several over seeds; what never came is censored, not dropped.

    Parameters
    ----------
    runs
        Folders of runs that differ in their seeds.
    of
        skills: accuracies and heads; readouts: what each site's stream holds; landscape: curvature and learning
        coefficient (seconds a checkpoint); edges: those of the final circuit (one run).
    """
    if not runs or (of == "edges" and len(runs) > 1):
        raise UserError("emergence needs a run folder" + (": one alone for edges" if of == "edges" else ""))
    _room(out)
    opened = [load(run, released=released) for run in runs]
    for each in opened:
        each.resolve(steps)  # a step that one of them has not is told before the others are measured
    with show.progress("emergence") as advance:
        if len(opened) > 1:
            return _over_seeds(opened, of, steps, advance, out, json)
        result = opened[0].emergence(steps, advance, of=of)
    _keep(result, out)
    if json:
        return print_json(result)
    table = head_views.edge_onsets(result.table) if of == "edges" else wide.onsets(result.table)
    show.table(table, "onsets, in order")
    show.note(result.caption)
    return 0


def _over_seeds(runs: list[Run], of: Of, steps: str, advance: Any, out: Path | None, json: bool) -> int:
    """Onsets of several runs: medians over seeds, order, and which precedes which."""
    tables = head_views.seeds(runs, of, steps, advance)
    result = Result("emergence", tables.pop("events"), "Onsets by run; medians and shares are over runs.")
    _keep(result, out)
    if json:
        records = {name: show.records(table) for name, table in tables.items()}
        show.document(
            {
                "analysis": result.name,
                "caption": result.caption,
                "rows": show.records(result.table),
                **records,
            }
        )
        return 0
    for name, table in tables.items():
        show.table(table, name)
    show.note(result.caption)
    return 0


def _room(out: Path | None) -> None:
    """Raises UserError at once where the table could not be written later."""
    if out is not None:
        from interp.io.files import make_room

        make_room(out)


def _keep(result: Result, out: Path | None) -> None:
    """The rows as Parquet, written in one step."""
    if out is None:
        return
    import io

    from interp.io.files import write_atomically

    buffer = io.BytesIO()
    pd.DataFrame(result.table).to_parquet(buffer, index=False)
    write_atomically(out, buffer.getvalue())
