"""The work on one cell: train (or resume, or skip) the run, then measure it. Runs in another process.

Every failure is returned as text: a failing worker must not end the sweep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interp._version import __version__

LOCK_SECONDS = 5.0
LOOK_SECONDS = 1.0


class Dropped(Exception):
    """This cell is no longer needed (the sweep was stopped)."""


def run_cell(path: str, settings: dict[str, Any], analyses: tuple[str, ...]) -> str | None:
    """Finish one run and measure it; None on success, else the reason in one line."""
    from interp.config.run import parse_config
    from interp.run import load
    from interp.train import Diverged, train
    from tasks.errors import UserError

    look = _looker()
    try:
        _await_lock(Path(path))
        train(parse_config(settings), path, progress=lambda step, loss: look())
        load(path).tables([analysis(name) for name in analyses], progress=lambda *state: look())
    except (UserError, Diverged) as error:
        return str(error)
    except Dropped:
        return "stopped"
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return None


def is_done(path: Path, config_hash: str, analyses: tuple[str, ...]) -> bool:
    """Whether a run is there, finished, and measured at every checkpoint by every analysis; False for a damaged one."""
    from interp.analysis.kept import opened
    from interp.run import load
    from interp.runs.header import NAME
    from tasks.errors import UserError

    if not (path / NAME).exists():
        return False
    try:
        run = load(path)
        if run.folder.config_hash != config_hash or not run.folder.finished:
            return False
        hashes = {step: run.weights_hash(step) for step in run.steps}
        return all(opened(run, analysis(name).of(run.config)).hashes == hashes for name in analyses)
    except UserError:
        return False


def analysis(name: str) -> Any:
    """The registered analysis of a name. Raises UserError for an unknown one, and for one that needs settings."""
    from interp.analysis.registry import build

    return build(name)


def about() -> dict[str, str]:
    """What a worker is: the version of this package there."""
    return {"version": __version__}


def _await_lock(path: Path) -> None:
    """A worker killed a moment ago may hold its run's lock until the kernel is through with it: wait for that."""
    from interp.runs.folder import RunFolder
    from interp.runs.header import NAME
    from tasks.errors import UserError

    until = time.monotonic() + LOCK_SECONDS
    while (path / NAME).exists() and time.monotonic() < until:
        try:
            with RunFolder.open(path).lock():
                return
        except UserError:
            time.sleep(0.1)


def _looker() -> Callable[[], None]:
    """A function that raises Dropped, within a second or so, once this worker's task has been given up.

    Dask cannot stop a task that runs; without this a cancelled training would go on, and hold its run's lock.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    last = time.monotonic()

    def look() -> None:
        nonlocal last
        if time.monotonic() - last < LOOK_SECONDS:
            return
        last = time.monotonic()
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise Dropped

    return look
