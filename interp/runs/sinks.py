"""The registry of sinks: what `--sink NAME` and `sinks=["NAME"]` mean. Their protocol: `interp.runs.handing`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from interp.runs.handing import Sink
from tasks.complaints import nearest
from tasks.errors import UserError
from tasks.plugins import load_plugins

MODULES = "ALGOSCOPE_SINKS"  # the variable of modules that register sinks
GROUP = "algoscope.sinks"  # the entry points that do
S = TypeVar("S", bound=Callable[[], Sink])


def _tensorboard() -> Sink:
    from interp.runs.sink_tensorboard import TensorBoard

    return TensorBoard()


def _trackio() -> Sink:
    from interp.runs.sink_trackio import Trackio

    return Trackio()


_SINKS: dict[str, Callable[[], Sink]] = {"tensorboard": _tensorboard, "trackio": _trackio}


def register(name: str) -> Callable[[S], S]:
    """Decorator of a class, or of a function without arguments, that makes a sink: known by `name` from then on.

    Raises UserError for a name that another one has.
    """

    def add(make: S) -> S:
        known = _SINKS.get(name)
        if known is not None and _home(known) != _home(make):
            raise UserError(f"sink {name!r} is taken by {'.'.join(_home(known))}")
        _SINKS[name] = make
        return make

    return add


def _home(make: Callable[[], Sink]) -> tuple[str, str]:
    return make.__module__, getattr(make, "__qualname__", type(make).__qualname__)


def sink_names() -> list[str]:
    """Names of the registered sinks.

    Included are those of installed plug-ins (entry points `algoscope.sinks`) and of the modules that the variable
    ALGOSCOPE_SINKS names, comma between them. Raises UserError for a module that is not there.
    """
    load_plugins(MODULES, GROUP, _SINKS)
    return sorted(_SINKS)


def sinks_of(asked: Iterable[Sink | str] | str) -> tuple[Sink, ...]:
    """The sinks asked for, by name or as they are, each name once.

    Raises UserError for an unknown name, for one whose package is not installed, and for what is no sink.
    """
    wanted = [asked] if isinstance(asked, str) else list(asked)
    return tuple(_sink_of(each) for i, each in enumerate(wanted) if each not in wanted[:i])


def _sink_of(asked: Sink | str) -> Sink:
    if isinstance(asked, str):
        if asked not in _SINKS and asked not in sink_names():
            raise UserError(f"unknown sink {asked!r}{nearest(asked, _SINKS)}")
        return _SINKS[asked]()
    if isinstance(asked, type) or not isinstance(asked, Sink):
        raise UserError(f"sink {asked!r}: needs the methods start, record and end (interp.runs.handing.Sink)")
    return asked
