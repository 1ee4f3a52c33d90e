"""What single edges are worth, exactly: path patching of every edge alone.

Sign: the change of the metric when the edge alone carries another value while everything else runs on.
`edge_effects` puts it on the scale where the whole model is 1 and the run on other prompts 0. Attribution estimates
of the same are in `estimate`. Source: path patching (arXiv 2304.14997).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.attribution import EdgeScores, replaced
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge, Written, check_edges, edges, receivers, written
from interp.causal.metrics import Metric
from interp.causal.patching import ENGINES, engine_of
from interp.causal.pruning import ablation_effects
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site
from probes.stats import DRAWS, Intervals, ratio


def exact_edges(
    model: HookedModel,
    inputs: Num[Tensor, "batch pos *token"],
    other: Num[Tensor, "batch pos *token"],
    metric: Metric,
    *,
    replacement: str = "resample",
    only: Collection[Edge] | None = None,
) -> EdgeScores:
    """Change of the metric when each edge alone carries another value, by the model's own engine.

    `replacement`: "resample" takes what the sender writes on `other`; zero, mean and mean per position an
    ablation of what it writes on `inputs`. `only` some edges (None: all). Raises UserError for edges that the
    model does not have, or another replacement.
    """
    check_edges(model, only or ())
    if replacement == "resample":
        runs = EdgeRuns(model, inputs, other)
        rises = ablation_effects(runs, runs.known, [metric], only)[0]
        return EdgeScores(tuple(rises), torch.stack(list(rises.values())), "exact", replacement)
    clean, elsewhere = written(model, inputs), written(model, other)
    change = {s: replaced(clean, elsewhere, s, replacement) - clean.out[s] for s in clean.out}
    engine = ENGINES[engine_of(model)](model, inputs, metric)
    known = {site.label: site for site in receivers(model)}
    found = [edge for edge in edges(model) if only is None or edge in only]
    values = []
    for sender, name in found:
        stream = _stream(clean, known[name]) + change[sender]
        values.append(_through(model, engine, known[name], stream) - engine.base_value)
    return EdgeScores(tuple(found), torch.stack(values), "exact", replacement)


def _stream(clean: Written, receiver: Site) -> Float[Tensor, "batch pos d_model"]:
    if receiver.component == "output":
        return clean.final
    assert receiver.layer is not None
    return (clean.mid if receiver.component == "mlp_pre" else clean.pre)[receiver.layer]


@torch.no_grad()
def _through(model: HookedModel, engine: Any, receiver: Site, stream: Tensor) -> Float[Tensor, "batch"]:
    """The metric when one receiver reads `stream`."""
    hook = receiver.hook(model.config.n_layers)
    if receiver.component == "output":
        return engine.values([receiver], {hook: stream})[0]
    block = model.blocks[receiver.layer]
    if receiver.component == "mlp_pre":
        site, value = ar.mlp_entry(model, receiver.layer or 0, stream)
        return engine.values([site], {site.hook(model.config.n_layers): value})[0]
    value = engine.cache_of(receiver).clone()
    value[:, :, receiver.head] = ar.head_inputs(block, receiver.component, receiver.head or 0, stream)
    return engine.values([receiver], {hook: value})[0]


def edge_effects(scores: EdgeScores, full: Tensor, empty: Tensor, draws: int = DRAWS) -> Intervals:
    """Scores on the scale where the full circuit is 1 and the empty one 0, with intervals over prompts."""
    gap = (empty - full).detach()[:, None].expand(-1, len(scores.edges))
    return ratio(scores.values.T, gap, draws=draws)
