"""What a long search will take, announced before it starts, and how far it is, a line at a time on standard error.

The unit is one run of the prompts through the whole model's edges, timed once; an edge taken away alone costs
`SHARE` of it. Nothing is printed for what takes less than `PATIENCE`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from interp.causal.edge_runs import EdgeRuns

PATIENCE = 10.0  # seconds
SHARE = 0.5  # of a run: an edge taken away alone, as the runs behind the edge in the middle of the model
PASSES = 6  # edges of exact pruning run again, over all passes, as a multiple of those it starts from


@contextmanager
def announced(what: str, runs: EdgeRuns, count: int) -> Iterator[None]:
    """Within it, `count` runs less an edge each: says how long that should take, and afterwards how long it took."""
    expected = SHARE * count * runs.seconds
    if expected < PATIENCE:
        yield
        return
    began = time.monotonic()
    log(f"{what}: about {expected:,.0f} s expected")
    yield
    log(f"{what}: took {time.monotonic() - began:,.0f} s")


class Pulse:
    """How far a long step is: a line at most every `PATIENCE` seconds."""

    def __init__(self, what: str):
        self.what, self.began = what, time.monotonic()
        self.last = self.began

    def beat(self, done: int, total: int) -> None:
        """Say it, if there was no word for long enough."""
        now = time.monotonic()
        if now - self.last >= PATIENCE:
            self.last = now
            log(f"{self.what}: {done:,} of {total:,}, {now - self.began:,.0f} s")


def log(text: str) -> None:
    """One line on standard error, terminal or not."""
    print(text, file=sys.stderr, flush=True)
