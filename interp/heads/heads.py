"""Scores of attention heads at one checkpoint: attention mass on the positions that matter for the task.

A task defines relations between positions (`Task.relations`); a head's score on a relation is its attention mass from
a row of the relation to that row's sources, summed over the sources and averaged over rows and prompts. Sign: higher is
more attention. Range: [0, 1] for softmax attention, where the chance level is uniform attention over the keys the mask
allows (rows with `control` "uniform"); for linear and ReLU attention it is an unbounded signed sum, and a score
gives the strength, not the share, of attention. A score is a correlation with a role, not proof that the head
is needed. Source: retrieval score of Musat (arXiv 2411.12118); attention-pattern scores of Olsson et al. (2209.11895).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.analysis.base import Accumulator
from interp.analysis.prompted import Prompted
from interp.hooks.protocol import HookedModel
from interp.models.components import allowed
from probes.stats import bootstrap
from tasks import Batch, Relation, Task, UserError

HEAD_SHARE = 0.5  # of the way from uniform attention to all of it
Asked = Callable[[Batch], tuple[Relation, ...]]
SIGNED = "signed attention"  # unit of a score of linear or ReLU attention: it has no bound


class HeadScores(Prompted):
    """Attention mass of every head on every relation of the task."""

    name: ClassVar[str] = "heads"
    version: ClassVar[int] = 2
    with_untrained: ClassVar[bool] = True

    def hooks(self, model: HookedModel) -> list[str]:
        if not hasattr(model.config, "n_heads"):
            raise UserError(f"a {model.config.kind} model has no attention heads to score")
        return [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.config.n_layers)]

    def accumulator(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> HeadAccumulator:
        return HeadAccumulator(self.hooks(model), task, unit_of(model.config))

    def constants(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> pd.DataFrame:
        """Scores of the untrained model, and of a head that attends uniformly to the keys its mask allows."""
        uniform = uniform_scores(model, task)
        return (
            uniform
            if untrained is None
            else pd.concat([untrained.table().assign(control="untrained"), uniform])
        )


def scorable(config: Any, task: Task) -> bool:
    """Whether a model of these settings has heads and the task defines relations to score them on."""
    return hasattr(config, "n_heads") and bool(task.relations(task.sample(0, "labels", 0, 1)))


def unit_of(config: Any) -> str:
    """Unit of an attention score: a share of the row for softmax, a signed sum otherwise."""
    return "attention" if getattr(config, "attention", "softmax") == "softmax" else SIGNED


def uniform_scores(model: HookedModel, task: Task, relations: Asked | None = None) -> pd.DataFrame:
    """The chance level of every relation under a softmax: attention spread evenly over the keys the mask allows."""
    batch = task.sample(0, "labels", 0, 64)
    uniform = allowed_uniform(model, batch)
    rows = []
    for relation in (relations or task.relations)(batch):
        value = relation_mass(uniform, relation.dest, relation.source, relation.valid).nanmean().item()
        rows.append({"metric": relation.name, "control": "uniform", "value": value, "unit": "attention"})
    return pd.DataFrame(rows)


def allowed_uniform(model: HookedModel, batch: Batch) -> Float[Tensor, "batch head row column"]:
    """Attention spread evenly over the keys that the mask allows, as the pattern of one head."""
    length = batch.inputs.shape[1]
    seen = allowed(length, model.config, batch.inputs.device).float()
    return (seen / seen.sum(1, keepdim=True)).expand(len(batch), 1, -1, -1)


class HeadAccumulator:
    """Accumulates the mass of each head on each relation, prompt by prompt."""

    def __init__(self, hooks: list[str], task: Task, unit: str, relations: Asked | None = None):
        self.hooks = hooks
        self.relations = relations or task.relations
        self.task = task
        self.unit = unit
        self.masses: dict[str, list[Float[Tensor, "batch layer head"]]] = {}

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        relations = self.relations(batch)
        if not relations:
            raise UserError(
                f"task {self.task.kind!r} names no relations between positions; heads cannot be scored"
            )
        for relation in relations:
            pairs = (relation.dest, relation.source, relation.valid)
            mass = [relation_mass(cache[hook], *pairs) for hook in self.hooks]
            self.masses.setdefault(relation.name, []).append(torch.stack(mass, dim=1))

    def table(self) -> pd.DataFrame:
        return pd.concat([self._rows(name, torch.cat(parts)) for name, parts in self.masses.items()])

    def _rows(self, name: str, mass: Float[Tensor, "batch layer head"]) -> pd.DataFrame:
        mass = mass[~mass[:, 0, 0].isnan()]  # prompts that have no pair of this relation
        n, layers, heads = mass.shape
        if not n:
            return pd.DataFrame()
        means = bootstrap(mass.reshape(n, -1))
        index = torch.cartesian_prod(torch.arange(layers), torch.arange(heads))
        return pd.DataFrame(
            {
                "layer": index[:, 0].numpy(),
                "head": index[:, 1].numpy(),
                "metric": name,
                "control": "none",
                "value": means.value.numpy(),
                "unit": self.unit,
                "ci_low": means.low.numpy(),
                "ci_high": means.high.numpy(),
                "n": n,
            }
        )


def relation_mass(
    pattern: Float[Tensor, "batch head dest source"],
    dest: Int[Tensor, "batch pair"],
    source: Int[Tensor, "batch pair"],
    valid: Bool[Tensor, "batch pair"] | None = None,
) -> Float[Tensor, "batch head"]:
    """Attention mass on a relation for each prompt: summed over a row's sources, averaged over the distinct rows.

    Pairs that are not `valid` do not count, nor pairs that stand twice, nor rows without a valid pair; NaN for a prompt
    without any.
    """
    size, _, rows, columns = pattern.shape
    counted = torch.ones_like(dest, dtype=torch.bool) if valid is None else valid
    marked = torch.zeros(size, rows * columns, dtype=pattern.dtype, device=pattern.device)
    marked.scatter_reduce_(1, dest * columns + source, counted.to(marked), "amax")
    some = marked.unflatten(1, (rows, columns)).amax(2).sum(1)
    return torch.einsum("bhp,bp->bh", pattern.flatten(2), marked) / some[:, None]


def has_roles(config: Any, task: Task) -> bool:
    """Whether heads of such a model can have roles: softmax attention, and a task that defines relations."""
    return scorable(config, task) and unit_of(config) == "attention"
