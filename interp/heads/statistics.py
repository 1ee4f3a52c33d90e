"""Three statistics of every head on every relation of the task, each with its chance level.

Of the rows of a relation: "attention mass", the mass on a row's sources (as `interp.heads.heads`); "argmax share", the
share of rows whose largest weight lies on a source; "inner product", sum(A R) / (|A| |R|) of the whole attention matrix
A and that of the relation R (1 on a row's sources, 0 elsewhere), in [0, 1] for softmax attention and 1 only where A is
a multiple of R: rows without a source lower it (Sanford, Hsu & Telgarsky, arXiv 2402.09268). Chance ("uniform") is
attention spread evenly over the keys that the mask allows; for the argmax, a key drawn among them. They differ where
attention is spread: mass adds up over a row's sources, the inner product is lowered by uneven rows, the argmax sees the
largest alone. None says that a head is needed.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.analysis.base import Accumulator
from interp.heads.heads import HeadAccumulator, HeadScores, allowed_uniform
from interp.hooks.protocol import HookedModel
from probes import tables
from probes.stats import bootstrap
from tasks import Batch, Relation, Task, UserError

STATISTICS = ("attention mass", "argmax share", "inner product")


class HeadStatistics(HeadScores):
    """Attention mass, argmax share and normalised inner product of every head on every relation."""

    name: ClassVar[str] = "head-statistics"
    version: ClassVar[int] = 2

    def accumulator(
        self, model: HookedModel, task: Task, untrained: Accumulator | None
    ) -> StatisticsAccumulator:
        return StatisticsAccumulator(self.hooks(model), task)

    def constants(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> pd.DataFrame:
        """The untrained model's heads, and the chance level."""
        batch = task.sample(0, "labels", 0, 64)
        uniform = allowed_uniform(model, batch)
        rows = []
        for relation in task.relations(batch):
            found = statistics(uniform, relation)[:, :, 0].nanmean(0)
            rows += [
                {
                    "metric": relation.name,
                    "statistic": name,
                    "control": "uniform",
                    "value": value,
                    "unit": "share",
                }
                for name, value in zip(STATISTICS, found.tolist(), strict=True)
            ]
        chance = pd.DataFrame(rows)
        return (
            chance
            if untrained is None
            else pd.concat([untrained.table().assign(control="untrained"), chance])
        )


class StatisticsAccumulator(HeadAccumulator):
    """Accumulates the statistics of each head, prompt by prompt."""

    def __init__(self, hooks: list[str], task: Task):
        super().__init__(hooks, task, "share")
        self.found: dict[str, list[Float[Tensor, "batch layer statistic head"]]] = {}

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        relations = self.relations(batch)
        if not relations:
            raise UserError(f"task {self.task.kind!r} names no relations between positions")
        for relation in relations:
            each = [statistics(cache[hook], relation) for hook in self.hooks]
            self.found.setdefault(relation.name, []).append(torch.stack(each, dim=1))

    def table(self) -> pd.DataFrame:
        rows: list[dict[str, object]] = []
        for name, parts in self.found.items():
            values = torch.cat(parts)
            values = values[~values.isnan().flatten(1).any(1)]  # prompts without a pair of this relation
            if len(values):
                axes = {
                    "layer": list(range(values.shape[1])), "statistic": STATISTICS,
                    "head": list(range(values.shape[3])),
                }  # fmt: skip
                rows += tables.grid(bootstrap(values), axes, metric=name, control="none", unit="share")
        table = tables.frame(rows)
        return table.astype({"layer": "Int64", "head": "Int64"}) if len(table) else table


def relation_matrix(relation: Relation, rows: int, columns: int) -> Bool[Tensor, "batch row column"]:
    """Where a relation's rows should attend: True on the sources of a row."""
    dest, source = relation.dest, relation.source
    valid = torch.ones_like(dest, dtype=torch.bool) if relation.valid is None else relation.valid
    found = torch.zeros(len(dest), rows * columns, device=dest.device)
    found.scatter_reduce_(1, dest * columns + source, valid.to(found), "amax")
    return found.bool().unflatten(1, (rows, columns))


def statistics(
    pattern: Float[Tensor, "batch head row column"], relation: Relation
) -> Float[Tensor, "batch statistic head"]:
    """The three statistics of each prompt in the order of `STATISTICS`; NaN for a prompt without a pair.

    Keys that tie for the largest weight (to one part in 10^6) share the row: of a uniform row the argmax share is that
    of its sources among the allowed keys.
    """
    matrix = relation_matrix(relation, *pattern.shape[2:])[:, None].to(pattern)
    counts = matrix.amax(3)  # rows of the relation
    rows = counts.sum(2)
    inside = pattern * counts[..., None]
    product = (inside * matrix).sum((2, 3))
    largest = inside.amax(3, keepdim=True)
    top = (inside >= largest - 1e-6 * largest.abs()).to(pattern)
    hits = (top * matrix).sum(3) / top.sum(3)
    argmax = (hits * counts).sum(2) / rows
    norms = pattern.pow(2).sum((2, 3)).sqrt() * matrix.pow(2).sum((2, 3)).sqrt()
    return torch.stack([product / rows, argmax, product / norms], 1)
