"""Names that changed with version 0.2: one registry, old -> new, from which every refusal of an old name is made.

Owns `RENAMED` (kind of name -> old -> new) and what refuses or translates by it. Until 0.3 whoever uses an old Python
name, option, metric or column gets one line that names the new one; tables and circuits that older versions wrote are
read in the new words (`interp.io.former`). The changelog's table is this dictionary, which a test holds. Settings that
enter a run's hash and names of random streams did not change.
"""

from __future__ import annotations

import functools
import importlib.abc
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from tasks.errors import UserError

SINCE = "0.2"
P = ParamSpec("P")
R = TypeVar("R")

RENAMED: dict[str, dict[str, str]] = {
    "module": {
        "interp.heads.graft": "interp.heads.transplant",
        "interp.models.decoys": "interp.models.distractors",
        "interp.models.wired": "interp.models.constructed",
        "interp.models.wired_algorithms": "interp.models.constructed_algorithms",
        "interp.models.wired_weights": "interp.models.constructed_weights",
        "interp.models.wiring": "interp.models.construction",
        "interp.readouts.probe_swaps": "interp.readouts.probe_interventions",
        "interp.runs.donors": "interp.runs.source_models",
        "interp.studies.regression_law": "interp.studies.regression_distribution",
        "tasks.regression_floor": "tasks.regression_risk",
    },
    "name": {
        "interp.analysis.base.Reader": "interp.analysis.base.Accumulator",
        "interp.analysis.base.PairReader": "interp.analysis.base.PairAccumulator",
        "interp.calibration.planted.Law": "interp.calibration.planted.Distribution",
        "interp.calibration.planted.LAWS": "interp.calibration.planted.DISTRIBUTIONS",
        "interp.causal.directions.swap": "interp.causal.directions.interchange",
        "interp.heads.mechanism.named_circuit": "interp.heads.mechanism.identified_circuit",
        "interp.report.ledgers.kept_ledgers": "interp.report.ledgers.published_ledgers",
        "interp.studies.linear_nets.law_of": "interp.studies.linear_nets.distribution_of",
    },
    "member": {
        "Run.twin": "untrained_model",
        "Run.released": "without_interventions",
        "Run.clamped": "interventions_active",
        "Run.held": "with_interventions",
        "Run.probe_swaps": "probe_interventions",
        "Task.reads": "output_names",
        "Task.floor": "bayes_risk",
        "Interface.read_positions": "output_positions",
        "Analysis.twin": "with_untrained",
        "Analysis.law": "distribution",
        "Analysis.reader": "accumulator",
        "Accumulator.read": "add",
    },
    "setting": {
        "choose_chunks": "validation_chunks",
        "fitted_reads": "fitted_outputs",
        "read": "output",
        "released": "without_interventions",
    },
    "option": {"--read": "--output", "--released": "--without-interventions"},
    "metric": {"prediction_change": "squared_output_distance"},
    "control": {"floor": "bayes_risk"},
    "column": {
        "decoys": "distractors",
        "donor": "source_step",
        "fell": "first_loss",
        "held": "covered",
        "law": "distribution",
        "named": "identified",
        "ours": "project",
        "ours_mb": "project_mb",
        "ours_ms": "project_ms",
        "peer": "baseline",
        "peer_mb": "baseline_mb",
        "peer_ms": "baseline_ms",
        "rose": "first_rise",
        "without_peers": "with_peers_ablated",
    },
    "split": {"choose": "validation"},
    "claim": {
        "graft-before": "transplant-before",
        "graft-between": "transplant-between",
        "one-law": "equal-waits",
        "other-laws": "other-distributions",
    },
}


def line(old: str, new: str) -> str:
    """The one line that names the new name.

    >>> line("--read", "--output")
    '--read is --output since 0.2'
    """
    return f"{old} is {new} since {SINCE}"


def refuse_settings(names: Iterable[str]) -> None:
    """Raises UserError for a setting or a keyword argument that has another name now."""
    for name in names:
        if name in RENAMED["setting"]:
            raise UserError(line(name, RENAMED["setting"][name]))


def keywords(function: Callable[P, R]) -> Callable[P, R]:
    """A function that refuses old names of its keyword arguments in one line (UserError)."""

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        refuse_settings(kwargs)
        return function(*args, **kwargs)

    return checked


def refuse_value(kind: str, value: str) -> None:
    """Raises UserError for a value (of a metric, say) that has another name now."""
    if value in RENAMED[kind]:
        raise UserError(line(value, RENAMED[kind][value]))


def refuse_options(arguments: Iterable[str]) -> None:
    """Raises UserError for an old option, or an old value of one, on a command line."""
    for argument in arguments:
        option, equals, value = argument.partition("=")
        for kind, word in (("option", option), ("metric", value if equals else argument)):
            if word in RENAMED[kind]:
                raise UserError(line(word, RENAMED[kind][word]))


def refuse_members(owner: str, names: Iterable[str]) -> None:
    """Raises UserError where members of a class are given under old names."""
    for name in names:
        if new := RENAMED["member"].get(f"{owner}.{name}"):
            raise UserError(line(f"{owner}.{name}", new))


class Renaming:
    """A base of classes of which members have other names now: the old name of one is refused in one line, on use
    (AttributeError) and where a subclass still defines it, which nothing would call (UserError)."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        kinds = vars(cls).get("__annotations__", {})
        defined = [
            name for name, value in vars(cls).items() if callable(value) or isinstance(value, property)
        ]
        defined += [
            name for name, kind in kinds.items() if str(kind).startswith(("ClassVar", "typing.ClassVar"))
        ]
        for base in cls.__mro__[1:]:
            refuse_members(base.__name__, defined)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            for kind in type(self).__mro__:
                if new := RENAMED["member"].get(f"{kind.__name__}.{name}"):
                    raise AttributeError(line(f"{kind.__name__}.{name}", new))
            further = getattr(super(), "__getattr__", None)
            return further(name) if further else object.__getattribute__(self, name)


def names_of(module: str) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a module of which names are others now: the AttributeError of an old one is the line."""

    def missing(name: str) -> NoReturn:
        new = RENAMED["name"].get(f"{module}.{name}")
        if new:
            raise AttributeError(line(f"{module}.{name}", new.removeprefix(f"{module}.")))
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return missing


class _Moved(importlib.abc.MetaPathFinder):
    """Asked last, for modules that nothing else finds: those that have another name now are refused in one line."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname in RENAMED["module"]:
            raise ModuleNotFoundError(line(fullname, RENAMED["module"][fullname]), name=fullname)


def watch_imports() -> None:
    """Have imports of renamed modules refused by name; done once, by the packages."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
