"""Runs a sweep's cells on dask.distributed workers: a local cluster, or any scheduler that is already there.

Cells are idempotent: a finished run is skipped by its config hash, an interrupted one resumed, so that a worker that
dies costs only the time since its last saved state; the scheduler passes its cell to another worker. Results are read
from the run folders, in the order of the plan, not of arrival. One thread of BLAS and torch per worker. With a
scheduler elsewhere the folder must be on a disk that its workers share.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from interp._version import __version__
from interp.io.files import cannot_write, canonical, write_atomically
from interp.runs.folder import RunFolder
from interp.runs.header import NAME
from interp.runs.metrics import reached
from interp.sweep import guard
from interp.sweep.cell import analysis, is_done, run_cell
from interp.sweep.cluster import check_folder, client_of, ctrl_c
from interp.sweep.plan import Cell, SweepPlan, cells
from interp.sweep.results import PLAN, Sweep, gather, read_sweep_file
from tasks.errors import UserError

SweepProgress = Callable[[int, dict[str, tuple[int, int]], dict[str, str]], None]


def run_sweep(
    plan: SweepPlan,
    out: Path,
    *,
    workers: int = 2,
    scheduler: str | None = None,
    progress: SweepProgress | None = None,
) -> Sweep:
    """Run every cell of a plan under `out` and gather the tables; failures are collected, the other cells continue.

    A folder that already holds a part of this plan (for example fewer seeds) is extended; when nothing is left to do,
    no worker is started. `scheduler` is an address ("tcp://host:8786") or a scheduler file (.json). `progress` receives
    the number of finished cells, the step and last step of every running one, and the failures so far. Raises UserError
    before any run is touched for an unsuitable plan, folder, scheduler or worker.
    """
    todo = cells(plan)
    for name in plan.analyses:
        analysis(name)
    _refuse_foreign(plan, out, todo)
    left = [cell for cell in todo if not is_done(out / cell.name, cell.config.hash, plan.analyses)]
    failures: dict[str, str] = {}
    if left:
        counted = _counted(progress, len(todo) - len(left))
        failures = run_cells(
            left, out, workers=workers, scheduler=scheduler, analyses=plan.analyses, progress=counted,
            ready=lambda: _write_plan(plan, out),
        )  # fmt: skip
    else:
        _write_plan(plan, out)
    return gather(plan, out, todo, failures)


def run_cells(
    todo: Sequence[Cell],
    out: Path,
    *,
    workers: int = 2,
    scheduler: str | None = None,
    analyses: tuple[str, ...] = (),
    progress: SweepProgress | None = None,
    ready: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Train and measure cells under `out`, which need be no sweep; the reasons of those that failed, by name.

    `ready` is called when there are workers, before the folder is touched. Raises UserError as `run_sweep`.
    """
    if scheduler is None:
        guard.require()
    with client_of(workers, scheduler) as client:
        ready()
        out.mkdir(parents=True, exist_ok=True)
        check_folder(client, out.resolve())
        return _run_all(client, analyses, out.resolve(), todo, progress or _silent)


def _silent(done: int, steps: dict[str, tuple[int, int]], failures: dict[str, str]) -> None:
    """For those who do not ask."""


def _counted(progress: SweepProgress | None, before: int) -> SweepProgress:
    """SweepProgress that counts the cells that were done before this call, too."""
    return lambda done, steps, failures: progress(before + done, steps, failures) if progress else None


def _refuse_foreign(plan: SweepPlan, out: Path, todo: Sequence[Cell]) -> None:
    """A folder may hold this plan or a part of it, begun or done, or nothing; and only runs of this version."""
    if (out / PLAN).exists():
        version, there = read_sweep_file(out)
        _refuse_version(version, out)
        ours = {(cell.name, cell.config.hash) for cell in todo}
        kept = {(cell.name, cell.config.hash) for cell in cells(there)} <= ours
        if not kept or not set(there.analyses) <= set(plan.analyses):
            raise UserError(f"{out}: holds another sweep; choose another --out")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: holds other files and no sweep; choose another --out")
    for cell in todo:
        if (out / cell.name / NAME).exists():
            try:
                head = RunFolder.open(out / cell.name).head
            except UserError:
                continue  # a damaged run is that cell's failure, said when it runs
            _refuse_version(head.version, out / cell.name)


def _refuse_version(version: str, where: Path) -> None:
    if version != __version__:
        raise UserError(
            f"{where}: was made by version {version}, this is {__version__}; choose another --out"
        )


def _write_plan(plan: SweepPlan, out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(out, error) from None
    document = {"version": __version__, "plan": json.loads(plan.model_dump_json())}
    write_atomically(out / PLAN, canonical(document).encode() + b"\n")


def _run_all(
    client: Any, analyses: tuple[str, ...], out: Path, todo: Sequence[Cell], progress: SweepProgress
) -> dict[str, str]:
    """Submit every cell and wait; the reasons of those that failed."""
    call = uuid.uuid4().hex  # a shared scheduler remembers keys: another sweep's "seed=0" is not ours
    left = {
        client.submit(
            run_cell, str(out / cell.name), cell.config.settings, analyses, key=f"{cell.name}-{call}"
        ): cell
        for cell in todo
    }
    failures: dict[str, str] = {}
    with ctrl_c() as ask:
        while left:
            ask()
            for future in _finished(left):
                cell = left.pop(future)
                if reason := _reason(future):
                    failures[cell.name] = reason
            steps = {
                c.name: (step, c.config.train.steps) for c in left.values() if (step := reached(out / c.name))
            }
            progress(len(todo) - len(left), steps, failures)
    return dict(sorted(failures.items()))


def _finished(futures: Iterable[Any]) -> list[Any]:
    """Futures that have ended, one way or another, within a second."""
    from distributed import wait

    with contextlib.suppress(TimeoutError):
        wait(list(futures), timeout=1, return_when="FIRST_COMPLETED")
    return [future for future in futures if future.done()]


def _reason(future: Any) -> str | None:
    if future.status == "error":
        return " ".join(str(future.exception()).split())[:300]
    if future.status in ("cancelled", "lost"):
        return "the scheduler dropped it; run the sweep again"
    return future.result()
