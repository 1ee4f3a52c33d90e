"""Handing the metrics of a training to sinks, besides metrics.jsonl. Owns the protocol of a sink.

A sink (by name: `interp.runs.sinks`) is handed what is logged, as it is logged. It begins anew whenever training begins
or is resumed: it is handed the lines that metrics.jsonl has up to there first, so that a resumed run has neither
doubled points nor gaps, and a sink that was not there before has all of it. Sinks are no part of a run: neither its
settings nor its bytes depend on them, and one that fails is left out for the rest of the training, with a warning.
Names of values: "train/loss", "train/lr", "eval/loss/hop 1", "eval/accuracy/hop 1"; what is missing or not finite is
left out.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from interp.runs.folder import RunFolder
from tasks.errors import UserError

Record = dict[str, Any]  # a line of metrics.jsonl (`interp.runs.metrics`)


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
