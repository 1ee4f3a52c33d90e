"""Ablating heads, alone and in groups: losses without them, and their effect as a share of all heads' effect.

The *ablation effect* of a group is (loss without it - loss) / (loss without any head - loss): 0 where nothing changes,
1 as bad as no attention at all, no bound above. It is significant when it is at least `LEAST` and its interval lies
above 0. Mean ablation (per position, over prompts) keeps a head's mean output and removes its dependence on the prompt.
Ablating also changes later heads' attention; nothing here separates direct from indirect effects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.base import Accumulator, Analysis
from interp.causal.interventions import ablation_values, intervene
from interp.heads.heads import HeadScores
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site
from probes.stats import Interval, bootstrap, ratio
from tasks import Batch, Task

LEAST = 0.05
HeadName = tuple[int, int]


def ablated(
    model: HookedModel, inputs: Tensor, heads: Iterable[HeadName], kind: str, cache: Any,
    positions: Sequence[int | None] = (None,),
) -> Float[Tensor, "batch pos d_out"]:  # fmt: skip
    """Outputs with the outputs of some heads ablated all at once, at all `positions` (None) or at some;
    `cache` holds hook_z of the intact run.
    """
    values = []
    for layer, head in heads:
        whole = Site("z", layer, head)
        ablation = ablation_values(kind, whole, cache[whole.hook(model.config.n_layers)])
        sites = [Site("z", layer, head, position) for position in positions]
        values += [(site, site.read(ablation)) for site in sites]
    with torch.no_grad():
        return intervene(model, inputs, values)[0] if values else model(inputs)


class Ablations(Analysis):
    """Effect of ablating each head alone on every output position, at every checkpoint (metric "ablation effect")."""

    name: ClassVar[str] = "ablation"
    runs_model: ClassVar[bool] = True
    chunks: int = 2
    kind: str = "mean per position"

    def hooks(self, model: HookedModel) -> list[str]:
        HeadScores().hooks(model)
        return [f"blocks.{layer}.attn.hook_z" for layer in range(model.config.n_layers)]

    def accumulator(
        self, model: HookedModel, task: Task, untrained: Accumulator | None
    ) -> AblationAccumulator:
        return AblationAccumulator(model, task, self.kind)


class AblationAccumulator:
    """Losses of the intact model, without each head, and without any."""

    def __init__(self, model: HookedModel, task: Task, kind: str):
        self.model, self.task, self.kind = model, task, kind
        self.heads = all_heads(model)
        self.losses: list[Float[Tensor, "batch variant output"]] = []

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        groups = [[], *([head] for head in self.heads), self.heads]
        self.losses.append(group_losses(self.model, self.task, batch, groups, self.kind, cache))

    def table(self) -> pd.DataFrame:
        losses = torch.cat(self.losses).double()
        intact, none = losses[:, :1], losses[:, -1:]
        found = bootstrap(
            torch.cat([losses[:, 1:-1] - intact, none - intact], 1), lambda mean: mean[:, :-1] / mean[:, -1:]
        )
        rows = [
            {"layer": layer, "head": head, "position": read, **found[i, r].row()}
            for i, (layer, head) in enumerate(self.heads)
            for r, read in enumerate(self.task.output_names)
        ]
        return pd.DataFrame(rows).assign(
            metric="ablation effect", control="none", unit="share of all heads' effect"
        )


def all_heads(model: HookedModel) -> list[HeadName]:
    """Every (layer, head)."""
    return [(layer, head) for layer in range(model.config.n_layers) for head in range(model.config.n_heads)]


def group_losses(
    model: HookedModel, task: Task, batch: Batch, groups: Sequence[Iterable[HeadName]], kind: str, cache: Any
) -> Float[Tensor, "batch group output"]:
    """Loss at every output position with each group of heads ablated."""
    outputs = [ablated(model, batch.inputs, group, kind, cache) for group in groups]
    return torch.stack([task.loss(out, batch) for out in outputs], dim=1)


@dataclass(frozen=True)
class GroupEffects:
    """Effects of ablating groups, from the losses of each; `everything` is the group of all heads."""

    losses: Mapping[frozenset, Float[Tensor, " prompt"]]
    everything: frozenset
    level: float

    def of(self, group: Iterable[HeadName], beyond: Iterable[HeadName] = ()) -> Interval:
        """Ablation effect of `group` in addition to `beyond`, as a share of ablating everything."""
        intact = self.losses[frozenset()]
        gap = self.losses[frozenset(group)] - self.losses[frozenset(beyond)]
        return ratio(gap, self.losses[self.everything] - intact, level=self.level).one()

    def with_losses(
        self,
        groups: Sequence[Sequence[HeadName]],
        losses: Float[Tensor, "prompt group"],
        level: float | None = None,
    ) -> GroupEffects:
        """The same with some groups more, at the same level or another."""
        more = {frozenset(group): losses[:, i] for i, group in enumerate(groups)}
        return GroupEffects({**self.losses, **more}, self.everything, level or self.level)


def counts(effect: Interval) -> bool:
    """Whether an ablation effect is significant: at least `LEAST`, and its lower confidence limit above 0."""
    return effect.value >= LEAST and effect.low > 0
