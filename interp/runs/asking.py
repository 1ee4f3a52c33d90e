"""How a run is asked: whether kept rows serve, where new ones are kept, on how many threads and which device.

`interp.load` takes these; the command line sets them for all that a command asks (`asked`). None of them changes a
figure but the device, which rows are stamped with.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tasks.errors import UserError


@dataclass(frozen=True)
class Asking:
    """`fresh`: rows that are kept do not serve (those measured by this very asking do, `measured`). `tables`: a folder
    that tables are kept in, by the run's identity, in place of the run's own. `threads`: of torch, while something is
    measured (None: the run's setting; for a language model as many as there are). `device`: where models run.
    """

    fresh: bool = False
    tables: Path | None = None
    threads: int | None = None
    device: str = "cpu"
    measured: set[tuple[Path, int]] = field(default_factory=set, compare=False)

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise UserError(f"threads must be a number from 1 to 1024, not {self.threads!r}")
        if self.tables is not None and self.tables.is_file():
            raise UserError(f"{self.tables}: is a file; tables are kept in a folder")
        check_device(self.device)


_NOW: ContextVar[Asking | None] = ContextVar("asking", default=None)


def now() -> Asking:
    """What holds for runs that are opened without a word of it."""
    return _NOW.get() or Asking()


@contextmanager
def asked(asking: Asking) -> Iterator[None]:
    """Within it, runs are opened to be asked so."""
    token = _NOW.set(asking)
    try:
        yield
    finally:
        _NOW.reset(token)


def check_device(device: str) -> None:
    """Raises UserError for a device that is not here, or that models do not run on."""
    try:
        kind = torch.device(device).type
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        raise UserError(f"device {device!r} is not available here; try cpu") from None
    if kind not in ("cpu", "cuda"):
        raise UserError(f"device {device!r}: models run on cpu and cuda alone; try cpu")


_LOCK = threading.Lock()
_BEFORE: list[int] = []  # the counts that each of those who set one found, the first one's first


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Within it torch computes on `count` threads (None: as many as before); afterwards on as many as before.

    The count is the process's: of several at once the last one's holds, and when all are through, the count that the
    first one found comes back.
    """
    if count is None:
        yield
        return
    with _LOCK:
        _BEFORE.append(torch.get_num_threads())
        torch.set_num_threads(count)
    try:
        yield
    finally:
        with _LOCK:
            found = _BEFORE[0]
            _BEFORE.pop()
            if not _BEFORE:
                torch.set_num_threads(found)
