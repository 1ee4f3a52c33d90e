"""Bootstrap replicates of every curve of a run: what an onset's interval is made of.

Owns the table "draws": one row a checkpoint and curve, columns "draw 0", "draw 1", ... (float32). A draw
resamples whole prompts; the prompts and the resamples are the same at every checkpoint and for every curve,
so draw j of all rows together is one replicate of the whole run. Reads have `position` and no head (layer =
head = -1); heads have position "".
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp.analysis.base import Accumulator
from interp.analysis.prompted import Prompted
from interp.emergence.emergence import NO_HEAD
from interp.emergence.scores import ScoreAccumulator
from interp.heads.heads import HeadAccumulator, HeadScores, scorable, unit_of
from probes.stats import resamples
from tasks import Batch, Task


class CurveDraws(Prompted):
    """`draws` replicates of every output position's score (loss where there is no accuracy) and every head's mass on
    every relation.
    """

    name: ClassVar[str] = "draws"
    draws: int = Field(default=100, ge=40, le=1000)

    def hooks(self, model: Any) -> list[str]:
        return HeadScores().hooks(model) if hasattr(model.config, "n_heads") else []

    def accumulator(self, model: Any, task: Task, untrained: Accumulator | None) -> DrawAccumulator:
        scored = scorable(model.config, task)
        heads = HeadAccumulator(self.hooks(model), task, unit_of(model.config)) if scored else None
        return DrawAccumulator(ScoreAccumulator(task), heads, self.draws)


class DrawAccumulator:
    """Collects what the accumulators of scores and heads collect, and resamples it."""

    def __init__(self, scores: ScoreAccumulator, heads: HeadAccumulator | None, draws: int):
        self.scores, self.heads, self.draws = scores, heads, draws

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        self.scores.add(chunk, batch, outputs, cache)
        if self.heads is not None:
            self.heads.add(chunk, batch, outputs, cache)

    def table(self) -> pd.DataFrame:
        task = self.scores.task
        metric = "accuracy" if task.score_name == "accuracy" else "loss"
        values = torch.cat(self.scores.scores if metric == "accuracy" else self.scores.losses)
        names = [(metric, output, NO_HEAD, NO_HEAD) for output in task.output_names]
        parts = [values]
        for relation, masses in ({} if self.heads is None else self.heads.masses).items():
            mass = torch.cat(masses)
            names += [
                (relation, "", layer, head) for layer in range(mass.shape[1]) for head in range(mass.shape[2])
            ]
            parts.append(mass.flatten(1))
        return replicated(names, torch.cat(parts, dim=1), self.draws)


def replicated(names: list[tuple], values: Float[Tensor, "prompt curve"], draws: int) -> pd.DataFrame:
    """The rows of some curves: metric, position, layer and head, and a column a replicate."""
    replicates = torch.cat([_means(w, values.double()) for w in resamples(len(values), draws)]).float()
    labels = pd.DataFrame(names, columns=["metric", "position", "layer", "head"])
    drawn = pd.DataFrame(replicates.T.numpy(), columns=[f"draw {j}" for j in range(draws)])
    return pd.concat([labels, drawn], axis=1)


def _means(weight: Float[Tensor, "draw prompt"], values: Float[Tensor, "prompt curve"]) -> Tensor:
    """Weighted means over prompts; those in which a curve is undefined (NaN: no pair of a relation) left out of it."""
    undefined = values.isnan()
    if not undefined.any():
        return weight @ values
    return weight @ values.masked_fill(undefined, 0.0) / (weight @ (~undefined).to(weight))
