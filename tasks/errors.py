"""The class of errors that a user can fix.

A `UserError` is one line that names the cause and the remedy; the command line prints it and exits with 2. What it
quotes may be untrusted, so it is escaped and shortened here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

LONGEST = 1000
_UNSEEN = {
    "Cc",
    "Cf",
    "Cs",
    "Zl",
    "Zp",
}  # control, format (direction of writing among them), halves, line ends


class UserError(ValueError):
    """Bad input: a setting, a file or a request that cannot be served. Its text is one line."""

    def __init__(self, text: object = ""):
        line = plain(str(text))
        cut = len(line) - LONGEST
        super().__init__(line if cut <= 0 else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}")


class UnknownTask(UserError):
    """A task that no imported module registers. The file that names it may be valid: it cannot be checked here."""


class Faults(UserError):
    """Several errors at once: `faults` are their messages, the text counts and lists them all."""

    def __init__(self, faults: Sequence[str]):
        self.faults = tuple(faults)
        several = f"{len(self.faults)} faults: " if len(self.faults) > 1 else ""
        super().__init__(several + "; ".join(self.faults))


def listed(names: Sequence[str], most: int = 3) -> str:
    """Some names in quotes, the rest of a long list counted.

    >>> listed(["a", "b"]), listed("abcdef")
    ("'a', 'b'", "'a', 'b', 'c' and 3 more")
    """
    text = ", ".join(repr(name) for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def plain(text: str) -> str:
    """Text that a terminal shows as it stands: line ends, escapes and the like as their codes.

    >>> plain("red \\x1b[31m")
    'red \\\\x1b[31m'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in _UNSEEN else c for c in text)
