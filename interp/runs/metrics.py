"""The metrics of a run: one canonical JSON object a line, each with a hash over itself and all before it.

A line holds `step`, the training `loss` of the batch that the weights of that step see next, the learning rate
`lr`, where due `eval` (`loss` and `score` at each output position on the held-out prompts), at checkpoints
`weights` (the hash), and `chain`. An `event` gives the reason why a run stopped. No line holds a clock time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from interp.io.files import cannot_write, canonical, remedied, sha256
from tasks.errors import UserError


def sealed(record: dict[str, Any], chain: str) -> dict[str, Any]:
    """The record with its link of the chain, which begins with the config hash."""
    return {**record, "chain": sha256(chain + canonical(record))}


@remedied()
def read_metrics(path: Path, start: str, size: int | None = None) -> list[dict[str, Any]]:
    """The records of a metrics file (of its first `size` bytes), checked against the chain begun at `start`.

    A last line without its newline is a write that was cut off: it is left out. Raises UserError at the first
    line that does not follow from those before it.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if size is not None:
        if len(data) < size:
            raise UserError(f"{path}: {len(data)} bytes long, {size} were written")
        data = data[:size]
    records, chain = [], start
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        record = _checked(path, number, line, chain, records[-1]["step"] if records else -1)
        records.append(record)
        chain = record["chain"]
    return records


def _checked(path: Path, number: int, line: bytes, chain: str, last: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
        bare = {name: value for name, value in record.items() if name != "chain"}
        whole = canonical(sealed(bare, chain)).encode() == line
    except (ValueError, AttributeError, TypeError, RecursionError):
        whole, record = False, {}
    step = record.get("step")
    if not whole or type(step) is not int or step <= last:
        raise UserError(f"{path}: line {number} is not what was written (its hash does not follow)")
    return record


class MetricsLog:
    """Appends to a metrics file; `size` and `chain` are its current state."""

    def __init__(self, path: Path, size: int, chain: str):
        self.path, self.size, self.chain = path, size, chain

    @classmethod
    def after(cls, path: Path, records: list[dict[str, Any]], start: str) -> MetricsLog:
        """A log that continues after these records, the first ones of the file."""
        size = sum(len(canonical(record)) + 1 for record in records)
        return cls(path, size, records[-1]["chain"] if records else start)

    def append(self, record: dict[str, Any]) -> None:
        """Add one record, on disk when this returns."""
        line = sealed(record, self.chain)
        data = canonical(line).encode() + b"\n"
        self._change(lambda file: file.write(data))
        self.size += len(data)
        self.chain = line["chain"]

    def cut(self) -> None:
        """Drop everything behind `size`."""
        self._change(lambda file: file.truncate(self.size))

    def _change(self, change: Callable[[BinaryIO], object]) -> None:
        try:
            with open(self.path, "ab") as file:
                change(file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from None


def as_table(records: list[dict[str, Any]], outputs: tuple[str, ...], score: str) -> pd.DataFrame:
    """Long format: step, split (train or eval), metric, position ("all" or an output position's name), value."""
    rows: list[tuple[int, str, str, str, float | None]] = []
    for record in records:
        step = record["step"]
        rows += [(step, "train", name, "all", record[name]) for name in ("loss", "lr") if name in record]
        rows += [(step, "train", name, "all", value) for name, value in record.get("other", {}).items()]
        for kind, name in (("loss", "loss"), ("score", score)):
            values = record.get("eval", {}).get(kind, [])
            if values and (kind == "loss" or name != "loss"):
                rows += [(step, "eval", name, read, v) for read, v in zip(outputs, values, strict=True)]
    table = pd.DataFrame(rows, columns=["step", "split", "metric", "position", "value"])
    return table.astype(
        {"step": "float64", "value": "float64"}
    )  # as in every table (interp.analysis.columns)


def reached(run: Path) -> int:
    """The last step in a run's timings; 0 before the first. Not a checked number: for display only."""
    try:
        lines = (run / "timing.jsonl").read_text(encoding="utf-8").splitlines()
        return int(json.loads(lines[-1])["step"])
    except (OSError, IndexError, ValueError, KeyError, TypeError):
        return 0
