"""The noise of a run's own gradient at each checkpoint: how long it is, and how heavy its tail.

|g_B - g_ref| over fresh batches B of the training's size, g_ref from `REFERENCE` such batches, which lengthens every
draw by the same 1 / (2 REFERENCE) in the mean and moves no ratio of quantiles by more. Units are the task's loss per
unit of weight; the ratio q99 / median has none. A larger batch lightens every tail: compare at equal batch only.
Source: Ahn et al. 2310.01082, section 3.1.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from pydantic import Field

from interp.analysis.base import Direct
from interp.landscape.curvature import Objective
from interp.landscape.tails import MIN_DRAWS, batch_noise, reference_gradient, tail
from interp.runs.checkpoints import Checkpoints
from tasks import Task, UserError

REFERENCE = 20


class GradientNoise(Direct):
    """Tail of the noise of batches of `prompts` prompts at every checkpoint, from `draws` of them.

    Rows: `noise q99 / median` (at least 1; near 1 for many normal weights, larger for heavier tails; 95%
    interval by order statistics over draws, which has no upper limit below about 450 draws), `noise median`,
    `noise tail index` (Hill, small: heavy).
    """

    name: ClassVar[str] = "noise"

    draws: int = Field(default=500, ge=MIN_DRAWS)
    prompts: int = Field(default=64, ge=1)

    def measure(self, model: Any, task: Task) -> pd.DataFrame:
        batch = task.sample(self.seed, "noise", 0, self.prompts)
        weights = Objective(model, task, batch).weights
        size = self.prompts
        reference = reference_gradient(
            model, task, weights, prompts=REFERENCE * size, seed=self.seed, chunk=size
        )
        found = tail(
            batch_noise(
                model, task, weights, batch=size, draws=self.draws, reference=reference, seed=self.seed
            )
        )
        ratio = found.q99_over_median
        rows = [
            {
                "metric": "noise q99 / median",
                "value": ratio.value,
                "ci_low": ratio.low,
                "ci_high": ratio.high,
            },
            {"metric": "noise median", "value": found.median},
            {"metric": "noise tail index", "value": found.index},
        ]
        return pd.DataFrame([{"control": "none", "n": self.draws, **row} for row in rows])


def noise_of(run: Checkpoints, draws: int) -> GradientNoise:
    """The analysis for batches of the run's own size. Raises UserError for fewer than 100 draws."""
    if draws < MIN_DRAWS:
        raise UserError(f"tail indices need at least {MIN_DRAWS} draws of the noise, got {draws}")
    return GradientNoise(draws=draws, prompts=run.config.train.batch)
