"""The command that trains and measures many runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from interp.cli.options import Count
from interp.cli.training import PresetOrFile

Json = Annotated[bool, Parameter(name="--json", help="Print one JSON document and nothing else.")]
Lists = Annotated[list[str] | None, Parameter(consume_multiple=True)]


def sweep(
    config: PresetOrFile,
    /,
    *,
    seeds: str | None = None,
    grid: Lists = None,
    zip: Lists = None,
    settings: Annotated[list[str] | None, Parameter(name="--set", consume_multiple=True)] = None,
    analyses: Lists = None,
    out: Path | None = None,
    workers: Count = 2,
    scheduler: str | None = None,
    json: Json = False,
) -> int:
    """Train and measure many runs on parallel workers; finished ones are skipped, interrupted ones resumed.

    Parameters
    ----------
    config
        A preset, a run's TOML file, or a sweep's with config, set, grid, zip, seeds and analyses.
    seeds
        0:8 for 0 to 7, or comma-separated numbers.
    grid
        key=[values]: every combination is run; train.lr=[1e-3,2e-3] searches learning rates.
    zip
        key=[values], several of equal length, varied together.
    settings
        key=value for all runs.
    analyses
        What to measure at every checkpoint, by name: scores, heads, probe, ... (interp measure RUN lists them).
    out
        Folder of the sweep; runs/sweeps/NAME by default.
    workers
        Processes on this machine, one thread each.
    scheduler
        Address of a dask scheduler, or its scheduler file, instead of local processes.
    """
    from interp.cli import show, sweep_notes
    from interp.config.run import parse_override
    from interp.sweep.engine import run_sweep
    from interp.sweep.plan import parse_seeds, read_plan

    changes = {
        "seeds": parse_seeds(seeds) if seeds else None,
        "grid": _lists("--grid", grid),
        "zip": _lists("--zip", zip),
        "set": dict(map(parse_override, settings or [])),
        "analyses": tuple(analyses or ()),
    }
    plan = read_plan(config, changes)
    folder = out or Path("runs/sweeps") / Path(config).stem
    try:
        with show.progress("sweep") as advance:
            found = run_sweep(
                plan,
                folder,
                workers=workers,
                scheduler=scheduler,
                progress=sweep_notes.report_all(advance, plan.size),
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; resume with the same command ({folder})") from None
    return sweep_notes.summary(found, json)


def _lists(option: str, given: list[str] | None) -> dict[str, Any]:
    from interp.config.run import parse_override
    from tasks.errors import UserError

    found: dict[str, Any] = {}
    for text in given or []:
        key, values = parse_override(text, option, "train.lr=[1e-3,2e-3]")
        if not isinstance(values, list | dict):
            raise UserError(
                f"{option} {text}: must be a list: write {key}=[{text.partition('=')[2].strip()}]"
            )
        found[key] = values
    return found
