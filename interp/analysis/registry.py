"""The registry of analyses: one entry each, which `Run`, the command line, sweeps, the report and the reference read.

Those that come with the package are listed in `interp.analysis.shipped`; another package adds its own with `register`,
in a module that the entry points `algoscope.analyses` or the variable ALGOSCOPE_ANALYSES name. Reading the registry
imports no shipped analysis: a class is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from interp.analysis.entry import Applies, Entry, found
from interp.analysis.shipped import DERIVED, PLOTTED, SERIES, SHIPPED
from tasks.errors import UserError
from tasks.plugins import load_plugins

if TYPE_CHECKING:
    import pandas as pd

    from interp.analysis.base import Analysis
    from interp.analysis.conclusion import Conclude, Sentence

MODULES = "ALGOSCOPE_ANALYSES"  # the variable of modules that register analyses
GROUP = "algoscope.analyses"  # the entry points that do
A = TypeVar("A", bound=type)

_ENTRIES: dict[str, Entry] = {entry.name: entry for entry in SHIPPED}


def register(
    *,
    caption: str,
    columns: tuple[str, ...],
    applies: Applies | str = "",
    command: str = "",
    section: str = "",
    conclude: Conclude | str = "",
    plot: Callable[[Any, Any], Any] | str = "",
) -> Callable[[A], A]:
    """Class decorator: make an analysis known under its `name`; arguments are those of `Entry`.

    Raises UserError for a name that another analysis has, and for a class without one.
    """

    def add(cls: A) -> A:
        name = getattr(cls, "name", "")
        if not name:
            raise UserError(f"analysis {cls.__qualname__}: give it a name (`name: ClassVar[str]`)")
        known = _ENTRIES.get(name)
        if known is not None and _where(known.home) != _where(cls):
            raise UserError(f"analysis {name!r} is taken by {_where(known.home)}")
        _ENTRIES[name] = Entry(name, cls, caption, columns, applies, command, section, conclude, plot)
        return cls

    return add


def _where(home: type[Analysis] | str) -> str:
    return home if isinstance(home, str) else f"{home.__module__}:{home.__qualname__}"


def entries() -> tuple[Entry, ...]:
    """Every registered analysis, the shipped ones first.

    Included are those of installed plug-ins (entry points `algoscope.analyses`) and of the modules that the variable
    ALGOSCOPE_ANALYSES names, comma between them. Raises UserError for a module that is not there.
    """
    load_plugins(MODULES, GROUP, _ENTRIES)
    return tuple(_ENTRIES.values())


def entry(name: str) -> Entry:
    """The entry of a name. Raises UserError for an unknown one, naming the nearest."""
    if name not in _ENTRIES:
        known = [each.name for each in entries()]
        if name not in known:
            from tasks.complaints import nearest

            raise UserError(f"unknown analysis {name!r}{nearest(name, known)}")
    return _ENTRIES[name]


def build(name: str, /, **settings: object) -> Analysis:
    """The analysis of a name with these settings.

    Raises UserError for an unknown name, and for settings that are unknown, missing or out of range.
    """
    from interp.analysis.base import validated

    return validated(entry(name).load(), **settings)


def conclusion_of(name: str, table: pd.DataFrame | None) -> tuple[Sentence, ...]:
    """What a table of this name says: of an analysis, or of a result made of several. Empty where nothing concludes
    from it, and for a table without measured checkpoints.
    """
    named = _ENTRIES[name].conclude if name in _ENTRIES else DERIVED.get(name, "")
    if not named or table is None or "step" not in table:
        return ()
    onsets = "last" in table  # of which none may have come, and that is said
    if not onsets and not table["step"].notna().any():
        return ()
    return tuple((found(named) if isinstance(named, str) else named)(table))


def plot_of(name: str) -> Callable[[Any, Any], Any]:
    """How a table of this name is plotted: as its entry says, else as a series of values."""
    named = _ENTRIES[name].plot if name in _ENTRIES else PLOTTED.get(name, "")
    return found(named or SERIES) if isinstance(named, str) else named
