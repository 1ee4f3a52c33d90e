"""The command that writes the HTML report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from interp.run import Run

STUDIES = Path("runs/studies")


def report(
    *runs: Annotated[Path, Parameter(name="RUN")],
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    ledger: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    serve: bool = False,
    port: int = 0,
) -> int:
    """Write one self-contained HTML page with all results of one or more runs; it needs no network.

    Parameters
    ----------
    runs
        Folders of the runs, in the order of the page; a sweep's folder stands for all of its runs.
    out
        File to write; RUN/report.html of the first folder by default.
    ledger
        Ledgers of studies to append; by default those in runs/studies, and where there are none the published ones on
        the tasks of these runs.
    serve
        Serve the page to this machine alone, and rewrite it at every checkpoint until the runs are finished.
    port
        Port of 127.0.0.1 to serve on; a free one by default.
    """
    from interp.cli import results, show
    from interp.report.collect import write_report
    from interp.report.ledgers import find_ledgers, published_ledgers, read_ledger
    from tasks.errors import UserError

    if not runs:
        raise UserError("a report needs at least one run: name a run folder")
    if port and not serve:
        raise UserError("--port is of --serve: give both")
    results.room(out)
    opened = [run for path in runs for run in _opened(path)]
    own = find_ledgers(STUDIES) if ledger is None else [read_ledger(path) for path in ledger]
    ledgers = own if own or ledger is not None else published_ledgers(run.task.kind for run in opened)
    page = out or runs[0] / "report.html"

    def write() -> None:
        with show.progress("report") as advance:
            write_report(opened, page, advance, ledgers)

    write()
    show.note(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")
    if serve:
        from interp.cli import serving

        serving.follow(opened, page, write, port)
    return 0


def _opened(path: Path) -> list[Run]:
    """The run in a folder, or those of a sweep that are there; the others are named on standard error."""
    from interp.run import load
    from interp.sweep.results import PLAN, load_sweep
    from tasks.errors import UserError

    if not (path / PLAN).exists():
        return [load(path)]
    sweep = load_sweep(path)
    if not (found := [run for run in sweep.runs if run.steps]):
        raise UserError(f"{path}: none of this sweep's {sweep.plan.size} runs has a checkpoint yet")
    if gone := sorted({cell.name for cell in sweep.cells} - {run.name for run in found}):
        print(
            f"interp: {path}: {len(gone)} of {sweep.plan.size} runs are not there: {', '.join(gone)}",
            file=sys.stderr,
        )
    return found
