"""What a path carries into attention: heads' mass on a relation when they read senders as other prompts have them.

Path patching (`interp.causal.paths`) shows what a path does to an output, through all that comes after; here the effect
is on the attention of the heads that read it, which only the path and the layers in between can change. Effects are
normalised as in `interp.causal.patching`: 1 is the clean run's attention, 0 the corrupt one's. A path that moves
attention need not move an output. Source: composition of heads in Elhage et al. 2021 (A Mathematical Framework for
Transformer Circuits); path patching of Goldowsky-Dill et al. (arXiv 2304.05969).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.interventions import cache_of
from interp.causal.metrics import check_eval, check_pair, normalised
from interp.causal.paths import expand_receivers, path_hooks, sender_changes
from interp.causal.suffix import CLOSE, entered, padded
from interp.heads.heads import relation_mass, unit_of
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, check
from probes.stats import DRAWS
from tasks import Pair, Relation, Task, UserError
from tasks.renamed import keywords


@keywords
def path_attention(
    model: HookedModel,
    task: Task,
    pair: Pair,
    paths: Sequence[tuple[Sequence[str], Sequence[str]]],
    relation: str,
    heads: Sequence[str],
    *,
    direction: str = "denoise",
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Effect of each path (senders, receivers) on the attention mass of each head on a relation of the clean prompts.

    `raw` is the mean mass with the path patched. Raises UserError for a model without softmax attention, names that are
    no head, sender or receiver, a relation that the task does not define, and heads that attend alike in both runs.
    """
    check_pair(pair)
    check_eval(model)
    if direction not in ("denoise", "noise"):
        raise UserError(f"unknown direction {direction!r}: use 'denoise' or 'noise'")
    seen = _Seen(model, _relation(task, pair, relation), tuple(_head(model, name) for name in heads))
    base, source = (pair.corrupt, pair.clean) if direction == "denoise" else (pair.clean, pair.corrupt)
    changes = sender_changes(model, base.inputs, source.inputs, [s for path in paths for s in path[0]])
    first = min(site.layer or 0 for _, receivers in paths for site in expand_receivers(model, receivers))
    ends = [seen.mass(batch.inputs) for batch in (pair.clean, pair.corrupt)]
    start, stream = seen.entry(base.inputs, first, ends[direction == "denoise"])
    tables = []
    for sends, receivers in paths:
        change = {label: changes[label] for label in (Site.parse(name).label for name in sends)}
        found = seen.mass(stream, path_hooks(model, change, receivers), start)
        for place, head in enumerate(heads):
            values, clean, corrupt = (mass[:, place] for mass in (found, *ends))
            effect = normalised(values, clean, corrupt, draws).one()
            where = {"sender": "+".join(sends), "receiver": "+".join(receivers), "target": head}
            tables.append({**where, **effect.row(), "raw": float(found[:, place].mean())})
    return pd.DataFrame(tables).assign(metric=relation, unit="normalised effect", direction=direction)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """The attention of some heads on a relation."""

    model: HookedModel
    relation: Relation
    heads: tuple[Site, ...]

    def entry(
        self, inputs: Tensor, layer: int, wanted: Float[Tensor, "batch head"]
    ) -> tuple[int | None, Tensor]:
        """Where runs can begin, and with what: at a layer with its stream, or (None) with the prompts."""
        if padded(self.model.config, inputs):
            return None, inputs
        site = Site("resid_pre", layer)
        stream = cache_of(self.model, inputs, [site])[site.hook(self.model.config.n_layers)]
        close = bool(((self.mass(stream, (), layer) - wanted).abs() <= CLOSE).all())
        return (layer, stream) if close else (None, inputs)

    @torch.no_grad()
    def mass(
        self, inputs: Tensor, hooks: Sequence[tuple[str, Any]] = (), start: int | None = None
    ) -> Float[Tensor, "batch head"]:
        """Mass of each head on the relation in a run, from a layer on if asked, under hooks."""
        kept: dict[str, Tensor] = {}

        def keep(pattern: Tensor, hook: Any) -> None:
            kept[hook.name] = pattern.clone()

        names = [head.hook(self.model.config.n_layers) for head in self.heads]
        last = 1 + max(head.layer or 0 for head in self.heads)
        watched = [(name, keep) for name in dict.fromkeys(names)]
        layers = {"start_at_layer": start, "stop_at_layer": last}
        with entered(self.model):
            self.model.run_with_hooks(inputs, fwd_hooks=[*hooks, *watched], **layers)
        relation = (self.relation.dest, self.relation.source, self.relation.valid)
        each = [
            relation_mass(kept[name], *relation)[:, head.head]
            for name, head in zip(names, self.heads, strict=True)
        ]
        return torch.stack(each, 1)


def _head(model: HookedModel, name: str) -> Site:
    site = Site.parse(name)
    if site.component != "z" or site.head is None:
        raise UserError(f"{name!r} is no head: write it like L1H3")
    if unit_of(model.config) != "attention":
        raise UserError("attention that is no share of a row (linear or ReLU) has no mass to compare")
    return check(Site("pattern", site.layer, site.head), model, 1)


def _relation(task: Task, pair: Pair, name: str) -> Relation:
    known = {relation.name: relation for relation in task.relations(pair.clean)}
    if name not in known:
        raise UserError(f"task {task.kind!r} defines no relation {name!r}: it has {list(known)}")
    return known[name]
