"""The command that runs any registered analysis, of this package or of a plug-in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from interp.cli.options import Count, Json, Out, Several, Steps, WithoutInterventions

ROWS = 40


def measure(
    run: Path,
    name: Annotated[str | None, Parameter(show_default=False)] = None,
    /,
    *,
    settings: Annotated[Several, Parameter(name="--set")] = None,
    steps: Steps = "all",
    rows: Count = ROWS,
    without_interventions: WithoutInterventions = False,
    out: Out = None,
    json: Json = False,
) -> int:
    """Run any registered analysis; without a name, list those that apply to the run.

    Parameters
    ----------
    run
        Folder of the run.
    name
        Name of the analysis, and of its table under RUN/analysis.
    settings
        Settings of the analysis, as key=value.
    rows
        Rows to print, from the last checkpoint backwards; --json and --out have all.
    """
    from interp.analysis.registry import build
    from interp.cli import results, show
    from interp.config.run import parse_override
    from interp.run import load

    results.room(out)
    opened = load(run, without_interventions=without_interventions)
    if name is None:
        return results.listed(opened.analyses(), json)
    analysis = build(name, **dict(parse_override(text, "--set", "prompts=64") for text in settings or ()))
    with show.progress(name) as advance:
        result = opened.measure(analysis, steps, advance)
    results.keep(result, out)
    if json:
        return results.print_json(result)
    found = result.table.drop(columns=["run", "seed"]).dropna(axis="columns", how="all")
    last = found.sort_values("step", kind="stable", na_position="first").tail(rows)
    more = f", the last {rows} of {len(found)} rows" if len(found) > rows else ""
    results.concluded(result)
    show.table(last, f"{name}{more}")
    show.note(result.caption)
    return 0
