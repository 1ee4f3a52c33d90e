"""Runs a sweep's cells on dask.distributed workers: a local cluster, or any scheduler that is already there.

Cells are idempotent: a finished run is skipped by its config hash, a broken-off one resumes, so a worker that dies
costs the time since its last saved state and nothing else; the scheduler hands its cell to another worker. Results are
read from the run folders, in the order of the plan, never from the order of arrival. One thread of BLAS and torch per
worker. With a scheduler elsewhere the folder must be on a disk that its workers share.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from interp import __version__
from interp.sweep.cell import about, analysis, run_cell
from interp.sweep.plan import Cell, SweepPlan, cells
from interp.sweep.results import PLAN, Sweep, gather
from interp.train.files import canonical, write_atomically
from interp.train.header import NAME
from interp.train.progress import reached
from interp.train.runs import RunFolder
from tasks.errors import UserError

ANSWER_SECONDS = 15
DEATHS_ALLOWED = 10
Progress = Callable[[int, dict[str, tuple[int, int]], dict[str, str]], None]


def run_sweep(
    plan: SweepPlan,
    out: Path,
    *,
    workers: int = 2,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Run every cell of a plan under `out` and gather the tables; failures are collected, the rest goes on.

    `scheduler` is an address ("tcp://host:8786") or a scheduler file (.json). `progress` is told how many cells are
    done, the step and last step of every run under way, and the failures so far. Raises UserError before anything is
    written for a plan, folder, scheduler or worker that will not do.
    """
    todo = cells(plan)
    for name in plan.analyses:
        analysis(name)
    _refuse_foreign(plan, out, todo)
    with _client(workers, scheduler) as client:
        _check_workers(client)
        _write_plan(plan, out)
        failures = _run_all(client, plan, out.resolve(), todo, progress)
    return gather(plan, out, todo, failures)


def _refuse_foreign(plan: SweepPlan, out: Path, todo: Sequence[Cell]) -> None:
    """A folder may hold this plan, begun or done, or nothing; and only runs of this version of the code."""
    if (out / PLAN).exists():
        there = json.loads((out / PLAN).read_text(encoding="utf-8"))
        if there["plan"] != json.loads(plan.model_dump_json()):
            raise UserError(f"{out}: holds another sweep; choose another --out")
    elif out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out}: holds other files and no sweep; choose another --out")
    for cell in todo:
        if (out / cell.name / NAME).exists():
            version = RunFolder.open(out / cell.name).head.version
            if version != __version__:
                raise UserError(
                    f"{out / cell.name}: was made by version {version}, this is {__version__}; choose another --out"
                )


def _write_plan(plan: SweepPlan, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    document = {"version": __version__, "plan": json.loads(plan.model_dump_json())}
    write_atomically(out / PLAN, canonical(document).encode() + b"\n")


ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
SETTINGS = {
    "distributed.scheduler.allowed-failures": DEATHS_ALLOWED,
    "distributed.worker.memory.terminate": False,
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(ONE_THREAD, 1),
}  # fmt: skip


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    """A client of the scheduler asked for, or of a cluster of this machine that ends with the block."""
    import dask.config
    from distributed import Client

    with dask.config.set(SETTINGS), contextlib.ExitStack() as stack:
        if scheduler is None:
            yield stack.enter_context(Client(stack.enter_context(_local_cluster(workers))))
            return
        where: dict[str, Any] = {"scheduler_file" if scheduler.endswith(".json") else "address": scheduler}
        try:
            client = Client(timeout=ANSWER_SECONDS, **where)
        except (OSError, TimeoutError, ValueError) as error:
            said = str(error).splitlines()[0][:100]
            raise UserError(f"scheduler {scheduler}: does not answer ({said})") from None
        yield stack.enter_context(client)


def _local_cluster(workers: int) -> Any:
    from distributed import LocalCluster

    if workers < 1:
        raise UserError(f"--workers {workers}: at least one")
    settings: dict[str, Any] = {"dashboard_address": None, "silence_logs": logging.CRITICAL}
    return LocalCluster(n_workers=workers, threads_per_worker=1, **settings)


def _check_workers(client: Any) -> None:
    """Every worker must answer with this very version of the package."""
    try:
        client.wait_for_workers(1, timeout=ANSWER_SECONDS)
    except TimeoutError:
        raise UserError(f"the scheduler has no worker after {ANSWER_SECONDS} s: start some") from None
    try:
        found = client.run(about)
    except Exception as error:  # a worker's exception is re-raised here as it was, whatever it was
        said = str(error).splitlines()[0][:100]
        raise UserError(f"a worker cannot import this package ({said}): install it there") from None
    for worker, facts in found.items():
        if facts["version"] != __version__:
            raise UserError(
                f"worker {worker} has version {facts['version']}, this is {__version__}: make them equal"
            )


def _run_all(
    client: Any, plan: SweepPlan, out: Path, todo: Sequence[Cell], progress: Progress | None
) -> dict[str, str]:
    """Submit every cell and wait; the reasons of those that failed."""

    jobs = {
        client.submit(
            run_cell, str(out / cell.name), cell.config.settings, plan.analyses, key=cell.name, pure=False
        ): cell
        for cell in todo
    }
    failures: dict[str, str] = {}
    left = dict(jobs)
    while left:
        for future in _finished(left):
            cell = left.pop(future)
            if reason := _reason(future):
                failures[cell.name] = reason
        if progress:
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
    if future.status == "cancelled":
        return "cancelled"
    return future.result()
