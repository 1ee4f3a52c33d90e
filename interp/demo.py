"""The demos: two runs and their report (`make report`), or one run in about a minute (`make demo`), with progress.

The two runs train in parallel, each in its own process with one thread, and each process measures its run as soon as it
is trained: tables are kept in the run folders, and this process, which reads their progress from disk, finds them
there. The process that is through first measures the other run's checkpoints as they come. On Linux both are forked
from one that has imported everything. The quick demo trains in this process, which saves the start of another.
"""

from __future__ import annotations

import multiprocessing
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from interp.analysis.registry import build
from interp.config.run import configure
from interp.io.files import make_room
from interp.report.at_hand import everywhere
from interp.report.collect import collect
from interp.report.ledgers import published_ledgers
from interp.report.page import render, write
from interp.run import load
from interp.runs.metrics import reached
from tasks.errors import UserError

PRESETS = ("retrieval", "regression")
QUICK = ("markov",)
POLL_SECONDS = 1.0
REPORT_SECONDS = 15.0
Log = Callable[[str], None]


def demo(out: Path, log: Log, overrides: Sequence[str] = (), *, quick: bool = False) -> Path:
    """Train (or resume) the demo runs and write `out/report.html`. Raises what training raises."""
    began = time.monotonic()
    presets = QUICK if quick else PRESETS
    paths = [out / preset for preset in presets]
    if quick:
        log(f"1/3  training {presets[0]} (under a minute)")
        _train(presets[0], paths[0], tuple(overrides))
    else:
        make_room(out / "report.html")
        log(f"1/3  training and measuring {' and '.join(presets)}, one core each (two to five minutes)")
        _make_all(paths, log, overrides)
    make_room(out / "report.html")
    log(f"2/3  measuring what is missing ({time.monotonic() - began:.0f} s so far)")
    runs = [load(path) for path in paths]
    ledgers = published_ledgers(run.task.kind for run in runs)
    found = [collect(run, Reporter(log).report) for run in runs]
    page = write(render(found, ledgers), out / "report.html")
    for report in found:
        log(f"\n{report.title}: {report.verdict}")
        for question, answer in report.answers.items():
            log(f"\n{question}: {answer}")
    log(f"3/3  wrote {page} ({page.stat().st_size / 1e6:.1f} MB) after {time.monotonic() - began:.0f} s")
    for path in paths:
        log(f"run: {path}")
    log(f"next: interp heads {shlex.quote(str(paths[0]))}")
    return page


class Reporter:
    """Prints the progress of a stage, at most every `REPORT_SECONDS`, with the estimated remaining time.

    The rate is measured from the first item finished, so that loading libraries does not count; no time is given before
    a twentieth is done.
    """

    def __init__(self, log: Log, clock: Callable[[], float] = time.monotonic):
        self.log, self.clock = log, clock
        self.stage: tuple[str, int] | None = None
        self.first: tuple[int, float] | None = None
        self.began = self.said = clock()

    def report(self, label: str, done: int, total: int) -> None:
        """Note that `done` of `total` are finished."""
        now = self.clock()
        if (label, total) != self.stage:
            self.stage, self.began, self.first = (label, total), now, None
        if not done:
            return
        self.first = self.first or (done, now)
        if now - self.said < REPORT_SECONDS:
            return
        self.said = now
        known, since = self.first
        left = (
            f", about {(now - since) / (done - known) * (total - done):.0f} s to go"
            if done - known > total / 20
            else ""
        )
        self.log(f"     {label}: {done:,} of {total:,}, {now - self.began:.0f} s gone{left}")


_stop: Any = None  # in a worker: the event that says that nobody waits for it any more


def _processes() -> Any:
    """How workers are begun: forked from a server in which nothing has run that starts a thread of torch's; anew where
    libraries do not stand a fork.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # the last is what an optimiser loads
    context.set_forkserver_preload([__name__, "interp.train.loop", "torch._dynamo"])
    return context


def _make_all(paths: Sequence[Path], log: Log, overrides: Sequence[str]) -> None:
    context = _processes()
    stop = context.Event()
    with ProcessPoolExecutor(len(paths), context, _begin, (stop,)) as pool:
        futures = [pool.submit(_make, path, tuple(paths), tuple(overrides)) for path in paths]
        try:
            _wait_for(futures, paths, log, overrides)
        finally:
            stop.set()


def _begin(stop: Any) -> None:
    global _stop
    _stop = stop


def _wait_for(
    futures: Sequence[Future[None]], paths: Sequence[Path], log: Log, overrides: Sequence[str]
) -> None:
    """Report how far trainings are until all is done. Raises what a worker raised."""
    reporters = {path: Reporter(log) for path in paths}
    totals = {path: configure(path.name, overrides=overrides).train.steps for path in paths}
    waiting, training = set(futures), list(paths)
    while waiting:
        done, waiting = wait(waiting, timeout=POLL_SECONDS)
        for path in list(training):
            steps = reached(path)
            if steps < totals[path]:
                reporters[path].report(path.name, steps, totals[path])
            else:
                log(f"     {path.name}: trained ({steps:,} steps)")
                training.remove(path)
        for future in done:
            future.result()


def _make(path: Path, paths: Sequence[Path], overrides: tuple[str, ...]) -> None:
    """Train a run, measure it, and as long as another still trains the checkpoints of that one."""
    _train(path.name, path, overrides)
    run = load(path)
    with run.computing():
        collect(run)
    for other in paths:
        if other != path:
            measure_while_training(other, lambda: _stop.is_set())


def measure_while_training(path: Path, stopped: Callable[[], bool]) -> None:
    """What a page takes at every checkpoint, of those that there are, until a run's training has ended or nobody waits.

    What cannot be read is left: a file may just be written, and the process that trains reports what is wrong.
    """
    measured: tuple[int, ...] = ()
    while not stopped():
        with suppress(UserError):
            run = load(path)
            if run.folder.finished or run.folder.diverged is not None:
                return
            if run.steps != measured:
                measured = run.steps
                with run.computing():
                    run.tables(
                        [build(name) for names in everywhere(run).values() for name in names], measured
                    )
                continue
        time.sleep(POLL_SECONDS)


def _train(preset: str, path: Path, overrides: tuple[str, ...]) -> None:
    from interp.train import train

    train(configure(preset, overrides=overrides), path)
