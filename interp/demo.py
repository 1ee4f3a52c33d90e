"""The demos: two runs and their report (`make report`), or one run in under a minute (`make demo`), with progress.

The two runs train in parallel, each in its own process with one thread; this process reads their progress from disk.
The quick one trains in this process, which saves the start of another.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from pathlib import Path

from interp.config.run import configure
from interp.io.files import make_room
from interp.report.collect import collect
from interp.report.ledgers import published_ledgers
from interp.report.page import render, write
from interp.run import load
from interp.runs.folder import RunFolder
from interp.runs.metrics import reached

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
        log(f"1/3  training {presets[0]} (a few seconds)")
        _train(presets[0], paths[0], tuple(overrides))
    else:
        log(f"1/3  training {' and '.join(presets)}, one core each (three to five minutes)")
        _train_all(paths, log, overrides)
    make_room(out / "report.html")
    log(f"2/3  measuring every checkpoint ({time.monotonic() - began:.0f} s so far)")
    runs = [load(path) for path in paths]
    ledgers = published_ledgers(run.task.kind for run in runs)
    found = [collect(run, Reporter(log).report) for run in runs]
    page = write(render(found, ledgers), out / "report.html")
    for report in found:
        log(f"\n{report.title}: {report.verdict}")
        for question, answer in report.answers.items():
            log(f"\n{question}: {answer}")
    log(f"3/3  wrote {page} ({page.stat().st_size / 1e6:.1f} MB) after {time.monotonic() - began:.0f} s")
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


def _train_all(paths: Sequence[Path], log: Log, overrides: Sequence[str]) -> None:
    context = multiprocessing.get_context("spawn")
    done = [path for path in paths if (path / "config.json").exists() and RunFolder.open(path).finished]
    for path in done:  # needs no process: it returns at once, or refuses a run of other settings
        _train(path.name, path, tuple(overrides))
        log(f"     {path.name}: trained ({reached(path):,} steps)")
    paths = [path for path in paths if path not in done]
    with ProcessPoolExecutor(max(1, len(paths)), mp_context=context) as pool:
        futures = {pool.submit(_train, path.name, path, tuple(overrides)): path for path in paths}
        reporters = {path: Reporter(log) for path in paths}
        totals = {path: configure(path.name, overrides=overrides).train.steps for path in paths}
        waiting: set[Future[None]] = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=POLL_SECONDS)
            for future in done:
                future.result()
                log(f"     {futures[future].name}: trained ({reached(futures[future]):,} steps)")
            for future in waiting:
                path = futures[future]
                reporters[path].report(path.name, reached(path), totals[path])


def _train(preset: str, path: Path, overrides: tuple[str, ...]) -> None:
    from interp.train import train

    train(configure(preset, overrides=overrides), path)
