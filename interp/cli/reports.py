"""The command that writes the HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

STUDIES = Path("runs/studies")


def report(
    *runs: Annotated[Path, Parameter(name="RUN")],
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    ledger: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
) -> int:
    """Write one self-contained HTML page with all results of one or more runs; it needs no network.

    Parameters
    ----------
    runs
        Folders of the runs, in the order of the page.
    out
        File to write; RUN/report.html of the first run by default.
    ledger
        Ledgers of studies to append; by default those in runs/studies, and where there are none the published ones on
        the tasks of these runs.
    """
    from interp.cli import show
    from interp.report.collect import write_report
    from interp.report.ledgers import find_ledgers, published_ledgers, read_ledger
    from interp.run import load
    from tasks.errors import UserError

    if not runs:
        raise UserError("a report needs at least one run: name a run folder")
    opened = [load(run) for run in runs]
    own = find_ledgers(STUDIES) if ledger is None else [read_ledger(path) for path in ledger]
    ledgers = own if own or ledger is not None else published_ledgers(run.task.kind for run in opened)
    with show.progress("report") as advance:
        path = write_report(opened, out or runs[0] / "report.html", advance, ledgers)
    show.note(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0
