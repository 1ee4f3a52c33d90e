"""Sinks: where else the metrics of a training go, besides metrics.jsonl. Owns the protocol, the registry, the handing over.

A sink is handed what is logged, as it is logged. It begins anew whenever training begins or is resumed: it is handed the
lines that metrics.jsonl has up to there first, so that a resumed run has neither doubled points nor gaps, and a
sink that was not there before has all of it. Sinks are no part of a run: neither its settings nor its bytes depend on
them, and one that fails is left out for the rest of the training, with a warning. Names of values: "train/loss",
"train/lr", "eval/loss/hop 1", "eval/accuracy/hop 1"; what is missing or not finite is left out.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from interp.runs.folder import RunFolder
from tasks.complaints import nearest
from tasks.errors import UserError
from tasks.plugins import load_plugins

MODULES = "ALGOSCOPE_SINKS"  # the variable of modules that register sinks
GROUP = "algoscope.sinks"  # the entry points that do
Record = dict[str, Any]  # a line of metrics.jsonl (`interp.runs.metrics`)
S = TypeVar("S", bound=Callable[[], "Sink"])


class SinkFailed(UserWarning):
    """A sink raised an error and is left out; the training and its own files are as they would be without it."""


@dataclass(frozen=True)
class Training:
    """What a sink is told at the start: the run's name and folder, the hash of its settings, these, and `since`, the
    step from which on values are new (0 but for a resumed run; values before it are handed over again).
    """

    name: str
    path: Path
    hash: str
    settings: Mapping[str, Any]
    since: int = 0


@runtime_checkable
class Sink(Protocol):
    """Takes the metrics of one training after another; any object with these three methods will do.

    `start` begins the record of a run, in place of what the sink has of it. `record` is called once a logged step, in
    order, with the values by name. `end` states "finished", "interrupted", "diverged" or "failed".
    """

    def start(self, training: Training) -> None: ...

    def record(self, step: int, values: Mapping[str, float]) -> None: ...

    def end(self, state: str) -> None: ...


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
        raise UserError(f"sink {asked!r}: needs the methods start, record and end (interp.runs.sinks.Sink)")
    return asked


def values_of(record: Record, outputs: tuple[str, ...] = (), score: str = "score") -> dict[str, float]:
    """The numbers of a line of metrics by name; `outputs` and `score` are the task's."""
    found = {f"train/{name}": record[name] for name in ("loss", "lr") if name in record}
    found |= {f"train/{name}": value for name, value in record.get("other", {}).items()}
    for kind, name in (("loss", "loss"), ("score", score)):
        values = record.get("eval", {}).get(kind, [])
        if values and (kind == "loss" or name != "loss"):
            found |= {f"eval/{name}/{output}": v for output, v in zip(outputs, values, strict=True)}
    return {name: float(v) for name, v in found.items() if v is not None and math.isfinite(v)}


class HandingOver:
    """The sinks of one training, begun with the lines that there are already; one that raises is dropped, with a
    warning of one line.
    """

    def __init__(self, folder: RunFolder, sinks: Iterable[Sink], records: Sequence[Record]):
        self.path, self.live = folder.path, list(sinks)
        if not self.live:
            return
        self._outputs, self._score = _names(folder)
        name, settings = folder.path.resolve().name, folder.head.settings
        since = records[-1]["step"] + 1 if records else 0
        self._each("start", Training(name, folder.path, folder.config_hash, settings, since))
        for record in records:
            self.record(record)

    def record(self, record: Record) -> None:
        """Hand over one line, where it holds a number."""
        if self.live and (values := values_of(record, self._outputs, self._score)):
            self._each("record", record["step"], values)

    def end(self, state: str) -> None:
        """Say how it ended, once."""
        self._each("end", state)
        self.live = []

    def _each(self, method: str, *told: Any) -> None:
        for sink in tuple(self.live):
            try:
                getattr(sink, method)(*told)
            except Exception as why:
                self.live.remove(sink)
                said = " ".join(str(why).split())[:200]
                warnings.warn(
                    f"{self.path}: sink {type(sink).__name__} failed in {method} ({type(why).__name__}: {said}) and is "
                    "left out; the training goes on, its own files are whole",
                    SinkFailed,
                    stacklevel=2,
                )


@contextlib.contextmanager
def handed_over(
    folder: RunFolder, sinks: Iterable[Sink], records: Sequence[Record]
) -> Iterator[Callable[[Record], None]]:
    """Within it each new line is given to what this yields; `records` are those before. The end is told in any case."""
    handing, state = HandingOver(folder, sinks, records), "failed"
    try:
        yield handing.record
        state = "finished"
    except KeyboardInterrupt:
        state = "interrupted"
        raise
    except ArithmeticError:  # `Diverged`
        state = "diverged"
        raise
    finally:
        handing.end(state)


def _names(folder: RunFolder) -> tuple[tuple[str, ...], str]:
    """Output positions and score of the task; none for a recording of something else."""
    try:
        task = folder.config.task
    except UserError:
        return (), "score"
    return task.output_names, task.score_name
