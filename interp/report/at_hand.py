"""What a page measures at every checkpoint of a run; of a copy without weights what its tables have of it, and why the
rest is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from interp.analysis.kept import opened
from interp.analysis.registry import build, entries
from interp.run import Run
from tasks.errors import UserError

EVERYWHERE = (
    "scores",
    "emergence",
    "heads",
    "probes",
    "strategies",
)  # sections whose analyses are taken at every checkpoint
NEEDED = ("scores", "draws")  # without these a page has nothing to say
T = TypeVar("T")


def everywhere(run: Run) -> dict[str, list[str]]:
    """The registered analyses that this run's page takes at every checkpoint, by section.

    Raises UserError for a copy that lacks what every page shows.
    """
    there = [entry for entry in entries() if entry.applies_to(run.config.model, run.task)]
    named = {section: [entry.name for entry in there if entry.section == section] for section in EVERYWHERE}
    return {section: at_hand(run, names) for section, names in named.items()}


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
