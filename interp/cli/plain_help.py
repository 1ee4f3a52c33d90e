"""Help without a terminal: plain text of at most 100 columns, an entry's further lines indented under its first.

cyclopts hands over descriptions folded to the console's width and folds them again behind the option's name, which
breaks lines twice; so the console is endlessly wide and the folding is done here, once.
"""

from __future__ import annotations

import textwrap

from cyclopts.help import PlainFormatter
from rich.console import Console

WIDTH, HANG = 100, 4
UNFOLDED = 100_000


class PlainHelp(PlainFormatter):
    """cyclopts' plain formatter, folding each entry once."""

    def _print_plain(self, console: Console, text: str) -> None:
        for line in text.splitlines() or [""]:
            start = line[: len(line) - len(line.lstrip())]
            further = start + " " * HANG if start else ""
            folded = textwrap.wrap(
                line, WIDTH, initial_indent="", subsequent_indent=further, break_on_hyphens=False
            )
            console.print("\n".join(folded or [""]), highlight=False, markup=False, soft_wrap=True)
