"""Standard output: its width, and what happens when its pipe is closed. Loads nothing but rich.

A terminal has its own width; a pipe that of COLUMNS, else 100. Nothing is wider than 100 columns.
"""

from __future__ import annotations

import contextlib
import os
import sys

from rich.console import Console

WIDTH, LEAST = 100, 20
UNREAD = 141  # what a shell reports of a program that a broken pipe has ended (128 + SIGPIPE)


def columns() -> int:
    """Columns to write in."""
    told = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return max(LEAST, min(WIDTH, Console().width)) if told else WIDTH


class Output(Console):
    """A console that raises on a broken pipe, as any other writing does; rich's own would exit with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def unread() -> int:
    """The exit code of a closed pipe; remaining output is discarded, or Python would complain."""
    with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return UNREAD
