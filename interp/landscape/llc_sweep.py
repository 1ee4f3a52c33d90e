"""The learning coefficient over a grid of gammas and steps: how far the figure is one of its settings.

Owns the table "llc sweep": a row a checkpoint, gamma and step size, in the columns of `LearningCoefficient`. Figures
that agree over a region of both are a property of the weights; where none do, only comparisons at equal settings are
left.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from interp.analysis.base import Progress
from interp.analysis.stream import analyse
from interp.landscape.llc import LearningCoefficient
from interp.runs.checkpoints import Checkpoints
from interp.runs.steps import Steps
from probes.tables import frame
from tasks import UserError

NAME = "llc sweep"
CAPTION = (
    "Effective parameters at each gamma and step size; blank where the chains were refused. A figure that changes "
    "along an axis is one of these settings. Intervals are Monte Carlo error alone."
)


def llc_sweep(
    run: Checkpoints,
    gammas: Sequence[float],
    step_sizes: Sequence[float],
    steps: Steps = "last",
    settings: LearningCoefficient | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The coefficient at every combination; `settings` are the others'. Every combination is cached as an analysis of
    its own, so that a grid can be made finer. Raises UserError for an empty axis.
    """
    if not len(gammas) or not len(step_sizes):
        raise UserError("a sweep of the learning coefficient needs at least one gamma and one step size")
    base = settings or LearningCoefficient()
    grid = [(gamma, size) for gamma in gammas for size in step_sizes]
    parts = []
    for done, (gamma, size) in enumerate(grid, start=1):
        asked = base.model_validate({**base.model_dump(), "gamma": gamma, "step": size})
        parts.append(analyse(run, [asked], run.resolve(steps))[asked.name])
        if progress:
            progress("settings", done, len(grid))
    return frame(pd.concat(parts, ignore_index=True).to_dict("records"))


def by_setting(table: pd.DataFrame) -> pd.DataFrame:
    """One line a gamma, one column a step size, of the last checkpoint of a sweep."""
    rows = table[table["step"] == table["step"].max()]
    wide = rows.pivot(index="gamma", columns="step_size", values="value").sort_index()
    wide.columns = [f"step {size:g}" for size in wide.columns]
    return wide.reset_index()
