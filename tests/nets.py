"""Runs that several tests look at, trained and measured once a test run whatever worker asks first.

They lie under the folder that all workers of the test run share, by name, and none is kept for the next test run. A
test that writes takes a copy of its own (`shutil.copytree`): a run is what its settings are, not where it lies, so the
tables that lie in the copy are found.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest


def shared(factory: pytest.TempPathFactory) -> Path:
    """The folder of all workers of this test run; with several each has one of its own in it."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


class Nets:
    """Makes what it is asked for, or finds it made."""

    def __init__(self, place: Path):
        self.place = place
        place.mkdir(exist_ok=True)

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder that `make` fills, once: whoever comes second waits for the first."""
        found = self.place / name
        with open(self.place / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not found.exists():
                making = self.place / f"{name}.making"
                make(making)
                making.rename(found)
        return found

    def trained(self, name: str, preset: str, changes: Mapping[str, Any], seed: int = 0) -> Path:
        """A run of a preset."""
        from interp.run import Run

        return self.made(name, lambda path: Run.train(preset, path, seed=seed, changes=dict(changes)))

    def reported(self, name: str, preset: str, changes: Mapping[str, Any], seed: int = 0) -> Path:
        """A run of a preset with every table of its page."""
        from interp.report.collect import collect
        from interp.run import Run

        return self.made(
            name, lambda path: collect(Run.train(preset, path, seed=seed, changes=dict(changes)))
        )
