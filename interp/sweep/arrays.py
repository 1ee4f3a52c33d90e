"""Runs of a sweep, or any others, joined to one xarray Dataset with the axes run, seed, step, layer, head, position."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interp.run import Run, load
from interp.run.arrays import dataset
from tasks.errors import UserError

if TYPE_CHECKING:
    from xarray import Dataset


def to_xarray(runs: Sequence[Run | str | Path] | Run | str | Path) -> Dataset:
    """One Dataset of the tables that runs have: `scores_accuracy`, `scores_accuracy_ci_low`, `heads_query_link_1` ...

    `runs`: runs or their folders, such as `interp.load_sweep(folder).runs`. Axes are run, seed, step, layer, head,
    position, and further ones where rows need them (site, target, pair ...); missing values are NaN, and nothing is
    measured (`interp.run.arrays`). Raises UserError where xarray is not installed (the extra `xarray`), for no run at
    all, and where no run has a table.
    """
    given = [runs] if isinstance(runs, Run | str | Path) else list(runs)
    if not given:
        raise UserError("to_xarray needs at least one run")
    return dataset([run if isinstance(run, Run) else load(run) for run in given])
