"""Options of every command that measures: --all, --fresh, --tables DIR, --threads N, --device NAME; loads no torch.

They say how runs are asked (`interp.runs.asking`) and how much is printed, not what, so that a command, whoever
registered it, need not know of them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from interp.cli.terminal import columns

HELP = (
    "Also: --all prints tables in full (a terminal shows part of long ones, a pipe has everything); --fresh measures "
    "again what is cached; --tables DIR caches tables there (for a folder that cannot be written); --threads N and "
    "--device NAME set what the models run on."
)
_VALUED = ("--tables", "--threads", "--device")


def folded() -> str:
    """The options in words, as wide as the output."""
    return "\n" + textwrap.fill(HELP, columns(), break_on_hyphens=False)


def taken(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """A command's words without these options, and the options as settings of `Asking` ("all" is no setting of it).

    Raises UserError for one without its value, and for threads that are no number.

    >>> taken(["scores", "r", "--fresh", "--threads=2"])
    (['scores', 'r'], {'fresh': True, 'threads': 2})
    """
    left: list[str] = []
    found: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--":
            return [*left, word, *words], found
        if word in ("--fresh", "--all"):
            found[word.removeprefix("--")] = True
        elif name in _VALUED:
            given = value if equals else next(words, "")
            found[name.removeprefix("--")] = _read(name, given)
        else:
            left.append(word)
    return left, found


def _read(name: str, given: str) -> Any:
    from tasks.errors import UserError

    if not given or given.startswith("--"):
        raise UserError(f"{name} needs a value, such as {name} {'2' if name == '--threads' else 'NAME'}")
    if name == "--threads":
        if not given.isdecimal():
            raise UserError(f"--threads {given!r}: give a number, such as --threads 4")
        return int(given)
    return Path(given) if name == "--tables" else given


_GIVEN: ContextVar[bool] = ContextVar("given", default=False)


def given() -> bool:
    """Whether the command that runs has one of these options."""
    return _GIVEN.get()


@contextmanager
def asked_so(settings: dict[str, Any]) -> Iterator[None]:
    """Within it runs are asked as the options say; nothing is loaded where none was given."""
    if not settings:
        yield
        return
    from interp.runs.asking import Asking, asked

    token = _GIVEN.set(True)
    try:
        with asked(Asking(**settings)):
            yield
    finally:
        _GIVEN.reset(token)
