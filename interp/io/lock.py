"""The sole right to a folder, for as long as a block or the process lasts."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interp.io.files import cannot_write, sweep
from tasks.errors import UserError


@contextmanager
def locked(folder: Path, taken: str) -> Iterator[None]:
    """Hold the folder's lock; what dead writers left in it is swept. Raises UserError, saying `taken`, if another
    process or thread holds it, and where the folder cannot be written.
    """
    try:
        file = open(folder / ".lock", "ab")  # noqa: SIM115
    except OSError as error:
        raise cannot_write(folder, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{folder}: {taken}") from None
        sweep(folder)
        yield
