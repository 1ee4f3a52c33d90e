"""Circuits of whole nodes: what heads and MLPs give when every other one writes what it does on other prompts.

A coarse circuit, for models whose edges are too many to be run one by one: nodes are heads and MLPs, ordered by what
replacing each alone costs (`interp.causal.patching`, direction "noise"), and the first few of them are kept. Kept nodes
compute from what reaches them, all others write their values of the corrupt prompts, the embedding stays clean. Values
are normalised as in `patching`: 1 is the whole model, 0 the corrupt run. Controls keep other heads of the same layers,
as many of each, and the same MLPs. A single node's effect misses nodes that stand in for each other, so a curve that
rises late may be the order's fault. Source: resample ablation of Chan et al. 2022 (causal scrubbing).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.interventions import cache_of
from interp.causal.metrics import Metric, check_eval, check_pair, metric_of, normalised
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, grid
from probes.stats import DRAWS
from tasks.base import Pair, Task
from tasks.errors import UserError
from tasks.renamed import keywords
from tasks.streams import generator


def nodes(model: HookedModel, n_pos: int = 1) -> list[Site]:
    """Every head, and every MLP that the model has."""
    heads = grid(model, "z", n_pos, by=("layer", "head"))
    inside = [Site("mlp_out", layer) for layer in range(model.config.n_layers)]
    return [*heads, *(site for site in inside if site.hook(model.config.n_layers) in model.hook_dict)]


@keywords
def node_curve(
    model: HookedModel,
    task: Task,
    pair: Pair,
    order: Sequence[str],
    *,
    sizes: Sequence[int],
    controls: int = 0,
    metric: str | Metric = "loss",
    output: str | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """What the first `sizes` nodes of an order carry, a row a size, and `controls` matched random sets of each size.

    Nodes are named L3H1 and L3.mlp_out. Raises UserError for a name that is no node, a size that the order does not
    have, and a pair on whose runs the metric is the same.
    """
    check_pair(pair)
    check_eval(model)
    known = {site.label: site for site in nodes(model)}
    _check(known, order, sizes)
    with torch.no_grad():
        clean = model(pair.clean.inputs)
        measure = (
            metric
            if isinstance(metric, Metric)
            else metric_of(task, pair, metric, output=output, clean_outputs=clean)
        )
        ends = measure(clean), measure(model(pair.corrupt.inputs))
    other = cache_of(model, pair.corrupt.inputs, list(known.values()))
    source = generator(seed, "random nodes", 0)
    rows = []
    for size in sizes:
        kept = set(order[:size])
        sets = [("none", kept), *(("random", _matched(known, kept, source)) for _ in range(controls))]
        for control, some in sets:
            values = measure(_kept(model, pair.clean.inputs, other, known, some))
            rows.append({"size": size, "control": control, **normalised(values, *ends, draws).one().row()})
    return pd.DataFrame(rows).assign(metric=measure.name, target=measure.target, unit="normalised effect")


def _check(known: Collection[str], order: Sequence[str], sizes: Sequence[int]) -> None:
    for name in order:
        if name not in known:
            raise UserError(
                f"{name!r} is no node of this model: write a head like L3H1, an MLP like L3.mlp_out"
            )
    if len(set(order)) < len(order):
        raise UserError("a node stands twice in the order")
    for size in sizes:
        if not 0 <= size <= len(order):
            raise UserError(f"cannot keep {size} nodes of an order of {len(order)}")


@torch.no_grad()
def _kept(
    model: HookedModel,
    inputs: Tensor,
    other: Mapping[str, Tensor],
    known: Mapping[str, Site],
    kept: Collection[str],
) -> Float[Tensor, "batch pos d_out"]:
    """Outputs where every node that is not kept writes what it does on the other prompts."""
    replaced: dict[str, list[Site]] = {}
    for name, site in known.items():
        if name not in kept:
            replaced.setdefault(site.hook(model.config.n_layers), []).append(site)

    def write(value: Tensor, hook: Any) -> Tensor:
        value = value.clone()
        for site in replaced[hook.name]:
            value[site.index] = site.read(other[hook.name])
        return value

    return model.run_with_hooks(inputs, fwd_hooks=[(name, write) for name in replaced])


def _matched(known: Mapping[str, Site], kept: Collection[str], source: torch.Generator) -> set[str]:
    """As many heads of every layer, drawn at random, and the same MLPs."""
    found = {name for name in kept if known[name].head is None}
    wanted = Counter(known[name].layer for name in kept if known[name].head is not None)
    for layer, count in wanted.items():
        heads = [name for name, site in known.items() if site.layer == layer and site.head is not None]
        found |= {heads[i] for i in torch.randperm(len(heads), generator=source)[:count].tolist()}
    return found
