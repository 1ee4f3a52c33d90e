"""Standard output: its size, and what happens when its pipe is closed. Loads nothing but rich.

A terminal has its own width; a pipe that of COLUMNS, else 100. Nothing is wider than 100 columns. A terminal shows a
screen of a command's tables, all of them with --all; a pipe has everything.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console

WIDTH, LEAST = 100, 20
LINES, LEAST_ROWS = 24, 8
UNREAD = 141  # what a shell reports of a program that a broken pipe has ended (128 + SIGPIPE)


def columns() -> int:
    """Columns to write in."""
    told = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return max(LEAST, min(WIDTH, Console().width)) if told else WIDTH


@dataclass
class Screen:
    """How many lines a command may still fill with tables (None: any number), and the tables that had no room."""

    lines: int | None = None
    hidden: list[str] = field(default_factory=list)

    def room(self) -> int | None:
        """Rows that the next table may have, at least `LEAST_ROWS`; 0 where the screen is full, None for any number."""
        if self.lines is None:
            return None
        return max(LEAST_ROWS, self.lines) if self.lines > 0 else 0

    def fill(self, lines: int) -> None:
        """Count lines that were printed."""
        if self.lines is not None:
            self.lines -= lines


_SCREENS: list[Screen] = []


def screen() -> Screen:
    """That of the command in progress."""
    return _SCREENS[-1] if _SCREENS else Screen()


@contextmanager
def screenful(everything: bool) -> Iterator[None]:
    """Within it tables are cut to a screen, where there is one and unless `everything` is asked for; in the end those
    that had no room are named.
    """
    limited = sys.stdout.isatty() and not everything
    _SCREENS.append(Screen(max(LINES, Console().height) if limited else None))
    try:
        yield
        if hidden := screen().hidden:
            named = f": {'; '.join(title for title in hidden if title)}" if any(hidden) else ""
            print(f"… {len(hidden)} more table{'s' if len(hidden) > 1 else ''} with --all{named}")
    finally:
        _SCREENS.pop()


class Output(Console):
    """A console that raises on a broken pipe, as any other writing does; rich's own would exit with 1."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def unread() -> int:
    """The exit code of a closed pipe; remaining output is discarded, or Python would complain."""
    with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    return UNREAD
