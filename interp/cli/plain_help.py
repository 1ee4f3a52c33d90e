"""Help without a terminal: plain text of its pipe's width, an entry's further lines indented under its first.

cyclopts hands over descriptions folded to the console's width and folds them again behind the option's name, which
breaks lines twice; so the console is endlessly wide and the folding is done here, once.
"""

from __future__ import annotations

import textwrap

from cyclopts.help import PlainFormatter
from rich.console import Console

from interp.cli.terminal import columns

HANG = 4
UNFOLDED = 100_000


class PlainHelp(PlainFormatter):
    """cyclopts' plain formatter, folding each entry once."""

    def _print_plain(self, console: Console, text: str) -> None:
        for line in text.splitlines() or [""]:
            start = line[: len(line) - len(line.lstrip())]
            further = start + " " * HANG if start else ""
            folded = textwrap.wrap(
                line, columns(), initial_indent="", subsequent_indent=further, break_on_hyphens=False
            )
            console.print("\n".join(folded or [""]), highlight=False, markup=False, soft_wrap=True)
