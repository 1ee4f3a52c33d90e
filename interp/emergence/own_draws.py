"""Bootstrap replicates of a score and of a relation of a user's own: what the intervals of their onsets are made of.

As `interp.emergence.draws`: one row a checkpoint and curve, the same prompts and resamples at every checkpoint and for
every curve. A score is dated as it rises: one that is better the lower it is has to be given with its sign turned.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp.analysis.base import Accumulator
from interp.analysis.own import Own, short_name
from interp.analysis.prompted import Prompted
from interp.emergence.draws import replicated
from interp.emergence.emergence import NO_HEAD
from interp.emergence.own_score import OwnScoreAccumulator
from interp.heads.heads import HeadAccumulator, HeadScores, unit_of
from interp.heads.own_relation import relation_from
from tasks import Batch, Task, UserError


class OwnDraws(Prompted):
    """`draws` replicates of a score at every output position, and of every head's mass on a relation."""

    name: ClassVar[str] = "own-draws"

    draws: int = Field(default=100, ge=40, le=1000)
    score: Own = None
    relation: Own = None

    def hooks(self, model: Any) -> list[str]:
        return [] if self.relation is None else HeadScores().hooks(model)

    def accumulator(self, model: Any, task: Task, untrained: Accumulator | None) -> Accumulator:
        if self.score is None and self.relation is None:
            raise UserError("replicates of one's own need a score or a relation")
        heads = None
        if self.relation is not None:
            heads = HeadAccumulator(
                self.hooks(model), task, unit_of(model.config), lambda b: (relation_from(self.relation, b),)
            )
        score = None if self.score is None else OwnScoreAccumulator(self.score, task)
        return _OwnDrawAccumulator(score, heads, self.draws)


class _OwnDrawAccumulator:
    """Collects what the accumulators of the score and of the relation collect, and resamples it."""

    def __init__(self, score: OwnScoreAccumulator | None, heads: HeadAccumulator | None, draws: int):
        self.score, self.heads, self.draws = score, heads, draws

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        for part in (self.score, self.heads):
            if part is not None:
                part.add(chunk, batch, outputs, cache)

    def table(self) -> pd.DataFrame:
        names: list[tuple[str, str, int, int]] = []
        parts: list[Tensor] = []
        if self.score is not None:
            values = torch.cat(self.score.values)
            names += [
                (short_name(self.score.score), output, NO_HEAD, NO_HEAD)
                for output in self.score.outputs(values.shape[1])
            ]
            parts.append(values)
        for relation, masses in ({} if self.heads is None else self.heads.masses).items():
            mass = torch.cat(masses)
            cells = torch.cartesian_prod(torch.arange(mass.shape[1]), torch.arange(mass.shape[2]))
            names += [(relation, "", layer, head) for layer, head in cells.tolist()]
            parts.append(mass.flatten(1).double())
        return replicated(names, torch.cat(parts, dim=1), self.draws)
