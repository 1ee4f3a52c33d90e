"""What a page can show of a copy without weights: the tables that came along, and why the rest is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from interp.analysis.kept import opened
from interp.analysis.registry import build
from interp.run import Run
from tasks.errors import UserError

NEEDED = ("scores", "draws")  # without these a page has nothing to say
T = TypeVar("T")


def at_hand(run: Run, names: Iterable[str]) -> list[str]:
    """Of some analyses those that can be shown: of a copy without weights, those whose tables hold every checkpoint.

    Raises UserError for a copy that lacks what every page shows.
    """
    asked = list(names)
    if not run.folder.weightless:
        return asked
    found = [name for name in asked if set(run.steps) <= set(opened(run, build(name).of(run.config)).hashes)]
    lacking = [name for name in NEEDED if name in asked and name not in found]
    if lacking:
        run.refuse_weightless(
            f"its table of {lacking[0]} is not whole: a page needs what interp report keeps under analysis/"
        )
    return found


def optional(run: Run, make: Callable[[], T], missing: dict[str, str], section: str) -> T | None:
    """What `make` makes; of a copy without weights None where its tables do not have it, with the reason in `missing`.

    Of a run with weights errors are errors.
    """
    try:
        return make()
    except UserError as why:
        if not run.folder.weightless:
            raise
        missing[section] = str(why)
        return None
