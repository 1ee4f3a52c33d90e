"""Commands that ask something of a run: one line a checkpoint, the whole table under RUN/analysis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from interp.cli import matches, show, wide
from interp.results import Result
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


def probe(
    run: Path,
    /,
    *,
    steps: Steps = "all",
    algorithms: bool = False,
    causal: bool = False,
    released: Released = False,
    json: Json = False,
) -> int:
    """Held-out error (or accuracy) of a linear readout of the target at every layer, beside an untrained twin.

    Parameters
    ----------
    run
        Folder of the run.
    algorithms
        Match each layer of a regression run to rival algorithms: best steps, slopes, contrast, filter verdict.
        With --steps all, one line a checkpoint for the last layer.
    causal
        Move what a probe reads of an iterate from clean to corrupt prompts at each layer of a regression run, and
        compare the change of the prediction with the iterate's.
    """
    with show.progress("probe") as advance:
        result = load(run, released=released).probe(steps, advance, algorithms=algorithms, causal=causal)
    if json:
        return print_json(result)
    if algorithms:
        print_algorithms(result, steps)
    elif causal:
        show.table(matches.swaps(result.table), "probe directions moved, 95% intervals over prompts")
    else:
        print_readouts(result)
    show.note(result.caption)
    return 0


def print_readouts(result: Result) -> None:
    """Readout errors, one line a checkpoint and one column a site."""
    table = result.table
    for metric in table["metric"].unique():
        reads = table[table["metric"] == metric]
        if "readout" in reads:
            reads = reads[(reads["readout"] == "all") & (reads["position"] == "all")]
        for read, rows in reads.groupby("position", sort=False):
            show.table(wide.by_site(rows), f"{metric} of a linear readout, {read}, by checkpoint and site")


def print_algorithms(result: Result, steps: str) -> None:
    """Tables of each checkpoint; of all checkpoints one line each."""
    if steps == "all":
        show.table(matches.by_step(result.table), "the last layer, by checkpoint")
    else:
        for step in result.table["step"].dropna().unique():
            rows = result.table[result.table["step"] == step]
            show.table(matches.by_site(rows), f"step {step}: readout error, best step [band], filter verdict")
            below = {
                "best step against layer, 95% intervals over prompts": matches.slopes(rows),
                "partial R2 beyond label, OLS and each other": matches.contrasts(rows),
                "partial R2 of the nearest beside its controls, and both ceilings": matches.contrast_controls(
                    rows
                ),
                "filters, 95% intervals over prompts": matches.filters(rows),
            }
            for title, frame in below.items():
                if len(frame):
                    show.table(frame, f"step {step}: {title}")
    show.table(matches.untrained(result.table), "the untrained twin")
    show.note(matches.LEGEND)


def print_json(result: Result, besides: Mapping[str, Any] | None = None) -> int:
    """The rows of a result as one JSON document, with what else is to stand in it."""
    rows = show.records(result.table)
    show.document({"analysis": result.name, "caption": result.caption, "rows": rows, **(besides or {})})
    return 0
