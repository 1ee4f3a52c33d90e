"""Whole commands as a user types them: the first page of a run, and the full demo, each in a child of its own.

Nothing is kept before: the run's folder is new. The environment is warm, for a command that needs the same packages
goes before and is not counted. Row "first page" is in CPU seconds of its two commands; row "demo" in seconds of the
clock, since its runs train side by side on two cores, so that other work on the machine is in it. The limit is the
matrix products of the trainings alone, at the rate measured here (over two cores for the demo): measuring and drawing
are not in it. Neither has a peer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from interp.config.run import configure
from tasks.errors import UserError
from tests.bench.cost import cost, matmul_rate
from tests.bench.rows import Row

CORES = 2  # that the demo takes
SHORT = ("--set", "train.steps=40", "--set", "train.schedule.every=20", "--set", "train.schedule.log=0")


def page_rows(quick: bool) -> list[Row]:
    """`interp train retrieval` and `interp report`."""
    with tempfile.TemporaryDirectory() as folder:
        spent("train", "retrieval", "--out", f"{folder}/warm", *SHORT)
        run, few = f"{folder}/run", SHORT if quick else ()
        train = spent("train", "retrieval", "--out", run, *few)
        report = spent("report", run, "-o", f"{folder}/page.html")
        size = Path(f"{folder}/page.html").stat().st_size / 1e6
    limit = _training("retrieval", 40 / 1200 if quick else 1)
    cpu, wall = train[0] + report[0], train[1] + report[1]
    note = (
        f"training {train[0]:.3g}, report {report[0]:.3g}; {wall:.3g} s by the clock; page of {size:.2g} MB"
    )
    return [
        Row(
            "first page of a retrieval run", cpu, limit=limit, over_limit=cpu / limit, pairs=1,
            project_mb=max(train[2], report[2]), note=note,
        )
    ]  # fmt: skip


def demo_rows(quick: bool) -> list[Row]:
    """`interp demo`, all of it (`make report`); quick: the one small run of `make demo`."""
    with tempfile.TemporaryDirectory() as folder:
        spent("--help")
        cpu, wall, memory = spent("demo", "--out", f"{folder}/demo", *(("--quick",) if quick else ()))
    presets, cores = (("markov",), 1) if quick else (("retrieval", "regression"), CORES)
    limit = sum(_training(name) for name in presets) / cores
    return [
        Row(
            "full demo, by the clock", wall, limit=limit, over_limit=wall / limit, pairs=1, project_mb=memory,
            unit="s", note=f"{cpu:.4g} CPU s on {os.cpu_count()} cores",
        )
    ]  # fmt: skip


def _training(preset: str, share: float = 1.0) -> float:
    """Seconds of the matrix products of a preset's training on one core."""
    rate = matmul_rate(seconds=0.5)
    return cost(configure(preset), rate)["run_flop"] * share / rate


def spent(*words: str) -> tuple[float, float, float]:
    """CPU seconds, clock seconds and largest resident memory (MB; of one process of the tree) of one `interp` command.

    Raises UserError, with the command's last line, where it fails.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        child = subprocess.Popen(
            _command(words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
        if child.returncode:
            said.seek(0)
            last = (said.read().strip().splitlines() or ["no word"])[-1]
            raise UserError(f"interp {' '.join(words)}: ended with {child.returncode}: {last}")
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-c", f"import sys; from interp.cli import run; sys.exit(run({list(words)!r}))"]
