"""Runs as one xarray Dataset: the tables that they have, on the axes run, seed, step, layer, head, position.

Nothing is measured here: only tables that are kept under RUN/analysis and hold for today's weights count, whatever
their settings. Attributes say what is not there (`not_measured`) and what does not fit on axes (`left_out`). Several
runs share a place on `run` where they differ in their seeds only, and are told apart on `seed`; `name` holds the
folders' names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp._version import __version__
from interp.analysis.base import Analysis
from interp.analysis.columns import column
from interp.analysis.kept import opened
from interp.analysis.registry import build, entries, entry
from interp.io.tables import read_table
from interp.run.grids import Grid, Labels, cells, grids, labels
from interp.runs.checkpoints import Checkpoints
from interp.runs.conditions import condition_names, without_seeds
from interp.runs.names import distinguished
from tasks.errors import UserError

if TYPE_CHECKING:
    from xarray import Dataset

LIMIT_NAMES = {"value": "", "ci_low": "_ci_low", "ci_high": "_ci_high"}
ABOUT = {"prompt_position": "Position of a prompt, from 0.", "name": "Folder of the run, its last parts."}
Places = list[tuple[str, int]]


def dataset(runs: Sequence[Checkpoints]) -> Dataset:
    """One Dataset of the tables that runs have (`interp.sweep.arrays.to_xarray`); each run under a name of its own.

    Raises UserError where xarray is not installed (the extra `xarray`), and where no run has a table.
    """
    try:
        import xarray
    except ImportError:
        raise UserError("to_xarray needs xarray: pip install 'algoscope[xarray]'") from None

    together = distinguished(runs) if len(runs) > 1 else list(runs)
    kept = [_kept(run) for run in together]
    if not any(kept):
        where = ", ".join(str(run.path) for run in together[:3])
        raise UserError(f"{where}: nothing has been measured yet; try interp scores {together[0].path}")
    places = _places(together)
    found, left = _grids(kept, places)
    axes = labels(found)
    held: dict[str, Any] = {}
    for grid in found:
        if not (values := cells(grid, axes)):
            left.append(f"{grid.name}: more cells than fit")
        for which, array in values.items():
            attributes = {k: v for k, v in grid.attributes.items() if v}
            held[grid.name + LIMIT_NAMES[which]] = (grid.axes, array, attributes)
    held["name"] = (("run", "seed"), _names(together, places, axes), {"long_name": ABOUT["name"]})
    about = {
        "title": "Measurements of training runs by Algoscope", "source": "algoscope", "version": __version__,
        "config_hashes": ", ".join(run.folder.config_hash for run in together),
        "not_measured": _missing(together, kept), "left_out": "; ".join(dict.fromkeys(left)) or "nothing",
    }  # fmt: skip
    return xarray.Dataset(held, {axis: _coordinate(axis, axes) for axis in axes}, about)


def _kept(run: Checkpoints) -> dict[str, tuple[Analysis, pd.DataFrame]]:
    """The tables of a run that hold, by the name of their files."""
    found = {}
    for folder in dict.fromkeys(path.parent for path in run.tables_at("any")):
        for path in sorted(folder.glob("*.parquet")):
            analysis = _analysis(path)
            if analysis is None or analysis.table_name in found:
                continue
            job = opened(run, analysis)
            if job.known is None:
                continue
            sound = [step for step in run.steps if job.hashes.get(step) == run.weights_hash(step)]
            rows = job.known[job.known["step"].isna() | job.known["step"].isin(sound)]
            if len(rows) and sound:
                found[analysis.table_name] = (analysis, rows.drop(columns=["seed"]))
    return found


def _analysis(path: Path) -> Analysis | None:
    """The analysis that a table is of; None where its settings are not known here."""
    read = read_table(path)
    try:
        return None if read is None else build(read[1].analysis, **read[1].settings)
    except UserError:
        return None


def _places(runs: Sequence[Checkpoints]) -> Places:
    """Where each run stands on the axes run and seed: those of one condition together, unless a seed is there twice."""
    conditions = [str(without_seeds(run.config.settings)) for run in runs]
    first = {condition: i for i, condition in reversed(list(enumerate(conditions)))}
    heads = [without_seeds(runs[i].config.settings) for i in first.values()]
    own = [runs[i].name for i in first.values()]
    alone = [runs[0].task.kind] if len(runs) > 1 and len(own) == 1 else own
    called = dict(zip(first, condition_names(heads, alone), strict=True))
    found = [(called[condition], run.config.seed) for condition, run in zip(conditions, runs, strict=True)]
    return found if len(set(found)) == len(found) else [(run.name, run.config.seed) for run in runs]


def _grids(
    kept: Sequence[dict[str, tuple[Analysis, pd.DataFrame]]], places: Places
) -> tuple[list[Grid], list[str]]:
    """The variables of every analysis over all runs, and what does not fit."""
    found, left = [], []
    for name in dict.fromkeys(name for tables in kept for name in tables):
        parts = [
            tables[name][1].assign(run=run, seed=seed)
            for tables, (run, seed) in zip(kept, places, strict=True)
            if name in tables
        ]
        analysis = next(tables[name][0] for tables in kept if name in tables)
        registered = entry(analysis.name)
        about = {"caption": registered.caption, "analysis": analysis.name, "source": registered.words()}
        some, odd = grids(name, pd.concat(parts, ignore_index=True), about)
        found, left = [*found, *some], [*left, *odd]
    return found, left


def _missing(runs: Sequence[Checkpoints], kept: Sequence[dict[str, tuple[Analysis, pd.DataFrame]]]) -> str:
    """In words, which analyses a run could have and has not, and of which some checkpoints are not measured."""
    said = []
    for run, tables in zip(runs, kept, strict=True):
        there = {analysis.name: table for analysis, table in tables.values()}
        none = [e.name for e in entries() if e.applies_to(run.config.model, run.task) and e.name not in there]
        parts = [
            f"{name} at {len(run.steps) - count} of {len(run.steps)} checkpoints"
            for name, table in there.items()
            if (count := table["step"].nunique()) < len(run.steps)
        ]
        if none or parts:
            said.append(f"{run.name}: {', '.join([*none, *parts])}")
    return "; ".join(said) or "nothing"


def _names(runs: Sequence[Checkpoints], places: Places, axes: Labels) -> np.ndarray:
    names = np.full((len(axes["run"]), len(axes["seed"])), "", dtype=f"U{max(len(r.name) for r in runs)}")
    for run, (condition, seed) in zip(runs, places, strict=True):
        if condition in axes["run"]:
            names[axes["run"].index(condition), axes["seed"].index(seed)] = run.name
    return names


def _coordinate(axis: str, axes: Labels) -> tuple[str, np.ndarray, dict[str, str]]:
    """The places along an axis with its meaning and unit from the dictionary of columns."""
    known = column(axis)
    words = ABOUT.get(axis, known.meaning if known else "")
    if axis == "run":
        words = "The run's folder; of several runs their condition, the settings in which they differ."
    about = {"long_name": words, "units": known.unit if known else ""}
    return axis, np.array(axes[axis]), {name: text for name, text in about.items() if text}
