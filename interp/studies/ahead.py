"""Trains the runs that a study plans before its rows ask for them: side by side, on a sweep's worker processes.

A room says its runs by the names of their folders (`configs` in its `runs`). Rows then find them finished; what they
ask for beyond (searched rates, fits without a run) they train themselves, as they do everything where there is one
worker. A run is the same whoever trains it. A run that failed or diverged here is left to the row that asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from interp.config.run import RunConfig
from interp.studies.catalogue import STUDIES
from interp.studies.ledger import Scale

if TYPE_CHECKING:
    from interp.sweep.plan import Cell


def configs(study: str, scale: Scale) -> dict[str, RunConfig]:
    """The runs of a study by the names of their folders; none where its room trains by itself."""
    module = import_module(f"{STUDIES[study].rpartition('.')[0]}.runs")
    return module.configs(scale) if hasattr(module, "configs") else {}


def train_ahead(
    study: str, scale: Scale, out: Path, workers: int, log: Callable[[str], None], device: str = "cpu"
) -> None:
    """Train what is planned and not finished on so many processes; nothing with one of them or with one run left.

    On another device than the CPU runs are trained one after the other in this process. Raises UserError for fewer than
    one worker, a device that is not here, and a study that plans no runs by name where another device is asked for.
    """
    from interp.sweep.cell import is_done
    from interp.sweep.engine import run_cells
    from interp.sweep.plan import Cell
    from tasks.errors import UserError

    if workers < 1:
        raise UserError(f"--workers {workers}: at least one")
    planned = configs(study, scale) if workers > 1 or device != "cpu" else {}
    if device != "cpu" and not planned:
        raise UserError(f"--device {device}: {study} plans no runs by name; train them with interp train")
    left = [Cell(name, one, {}) for name, one in planned.items() if not is_done(out / name, one.hash, ())]
    if device != "cpu":
        log(f"{study}: {len(left)} of {len(planned)} runs to train, on {device}")
        for cell in left:
            _train(cell, out, device)
        return
    if len(left) < 2:
        return
    log(f"{study}: {len(left)} of {len(planned)} runs to train, on {workers} processes")
    run_cells(left, out, workers=workers)


def _train(cell: Cell, out: Path, device: str) -> None:
    from interp.train import Diverged, train

    with suppress(Diverged):
        train(cell.config, out / cell.name, device=device)
