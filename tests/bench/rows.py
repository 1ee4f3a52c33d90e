"""What a row of the benchmark table is, and how two arms are timed and weighed against each other.

CPU seconds of one thread; the arms take turns, and `ratio` is project / baseline (below 1: the project is
faster), the median of the pairs with the smallest and largest of them. `limit` is the time that the work's own matrix
products would take at the rate measured here, `over_limit` project / limit. Memory is the peak of a forked child that
does an arm once: the whole process, what was imported before included.
"""

from __future__ import annotations

import dataclasses
import math
import os
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.bench.cost import matmul_rate

Work = Callable[[], Any]
NONE = math.nan


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison. `project` and `baseline` are in `unit` (baseline nan: none, or never there; see `note`)."""

    name: str
    project: float
    baseline: float = NONE
    baseline_name: str = "none"
    ratio: float = NONE
    low: float = NONE
    high: float = NONE
    pairs: int = 0
    limit: float = NONE
    over_limit: float = NONE
    project_mb: float = NONE
    baseline_mb: float = NONE
    unit: str = "CPU s"
    note: str = ""


def compare(
    name: str,
    project: Work,
    baseline: Work,
    *,
    baseline_name: str,
    repeats: int,
    flop: float = NONE,
    per: int = 1,
    note: str = "",
) -> Row:
    """Time two arms in turns, `repeats` pairs after one that does not count; `per` divides seconds and `flop` alike."""
    memory = [peak_mb(work) for work in (project, baseline)]
    times: list[tuple[float, float]] = []
    for turn in range(repeats + 1):
        pair = {
            work: cpu_seconds(work) / per
            for work in ((project, baseline) if turn % 2 else (baseline, project))
        }
        times += [(pair[project], pair[baseline])] if turn else []
    limit = flop / per / matmul_rate(seconds=0.5)
    return weighed(
        Row(
            name,
            0.0,
            baseline_name=baseline_name,
            limit=limit,
            project_mb=memory[0],
            baseline_mb=memory[1],
            note=note,
        ),
        times,
    )


def weighed(row: Row, times: list[tuple[float, float]]) -> Row:
    """The row with the medians of both arms, and of their ratio with its ends."""
    project, baseline = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = [a / b for a, b in times]
    found = {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios), "pairs": len(times)}
    return dataclasses.replace(
        row, project=project, baseline=baseline, over_limit=project / row.limit, **found
    )


def cpu_seconds(work: Work) -> float:
    """CPU time of this process, and of children it waits for, during one call."""
    start = _spent()
    work()
    return _spent() - start


def _spent() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def flop_of(work: Work) -> float:
    """Floating-point operations of the matrix products in one call (a multiply-add counts 2)."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def peak_mb(work: Work) -> float:
    """Largest resident memory, in MB, of a forked child that does the work once; nan if it failed."""
    _, found, failed = spent_apart(work)
    return NONE if failed else found


def spent_apart(work: Work) -> tuple[float, float, bool]:
    """CPU seconds and largest resident memory (MB) of a forked child that does the work once, and whether it failed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, code, usage = os.wait4(pid, 0)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, code != 0


def one_thread() -> None:
    """What every row is measured on."""
    torch.set_num_threads(1)
