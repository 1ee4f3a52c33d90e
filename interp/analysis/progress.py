"""Progress of a long analysis called from Python, on one line that is removed at the end.

Shown in an interactive interpreter or a notebook only, not in scripts, workers or at the command line (which has its
own bars).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from interp.analysis.base import Progress

PATIENCE = 2.0  # seconds without a word, and between two of them


@contextmanager
def reported(progress: Progress | None, what: str) -> Iterator[Progress | None]:
    """`progress` itself where one is given; else one that prints in an interactive session, or nothing."""
    line = None if progress else _line()
    if line is None:
        yield progress
        return
    began = said = time.monotonic()

    def report(label: str, done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= PATIENCE:
            said = now
            line(f"{what}: {label}, {done:,} of {total:,}, {now - began:.0f} s gone")

    try:
        yield report
    finally:
        if said > began:
            line("")


def _line() -> Callable[[str], None] | None:
    """Overwrites the previous text: in a cell's output or a terminal's line; None where nothing is interactive."""
    shell = _notebook()
    if shell is not None:
        return _cell()
    return _overwrite if hasattr(sys, "ps1") and sys.stderr.isatty() else None


def _notebook() -> Any:
    """The shell of the notebook that this process runs, if it runs one."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if hasattr(shell, "kernel") else None


def _cell() -> Callable[[str], None]:
    from IPython.display import DisplayHandle, Pretty

    handle = DisplayHandle()
    shown = False

    def line(text: str) -> None:
        nonlocal shown
        handle.update(Pretty(text)) if shown else handle.display(Pretty(text))
        shown = True

    return line


def _overwrite(text: str) -> None:
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()
