"""What single edges are worth: exact effects by path patching, gradient screens, and the one beside the other.

Sign: the change of the metric when the edge alone carries another value while everything else runs on.
`edge_effects` puts it on the scale where the whole model is 1 and the run on other prompts 0. A screen is
never a result: `beside_exact` shows it with the exact effects of a sample of edges and their correlation. On
nets whose softmax is saturated gradients vanish and a screen sees nothing, whatever the edges are worth.
Source: path patching (arXiv 2304.14997); the screens are those of `attribution`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.attribution import EdgeScores, attribute_edges, correlation, replaced
from interp.causal.graph import Edge, Written, check_edges, edges, receivers, written
from interp.causal.metrics import Metric
from interp.causal.patching import ENGINES, engine_of
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site
from probes.stats import DRAWS, Intervals, ratio
from tasks.base import generator
from tasks.errors import UserError

SAMPLE = 32  # edges whose exact effect is shown beside a screen


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
    value[:, :, receiver.head] = ar.head_reads(block, receiver.component, receiver.head or 0, stream)
    return engine.values([receiver], {hook: value})[0]


def edge_scores(
    model: HookedModel,
    inputs: Tensor,
    other: Tensor,
    metric: Metric,
    method: str = "exact",
    ig_steps: int = 8,
) -> EdgeScores:
    """Scores of every edge by one method. Raises UserError for an unknown one."""
    if method == "exact":
        return exact_edges(model, inputs, other, metric)
    if method not in ("EAP", "EAP-IG"):
        raise UserError(f"unknown scoring method {method!r}: use 'exact', 'EAP' or 'EAP-IG'")
    return attribute_edges(model, inputs, other, metric, ig_steps=ig_steps if method == "EAP-IG" else 0)


def edge_effects(scores: EdgeScores, full: Tensor, empty: Tensor, draws: int = DRAWS) -> Intervals:
    """Scores on the scale where the full circuit is 1 and the empty one 0, with intervals over prompts."""
    gap = (empty - full).detach()[:, None].expand(-1, len(scores.edges))
    return ratio(scores.values.T, gap, draws=draws)


def beside_exact(
    model: HookedModel,
    inputs: Num[Tensor, "batch pos *token"],
    other: Num[Tensor, "batch pos *token"],
    metric: Metric,
    scores: EdgeScores,
    ends: tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]],
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """A screen's edges, one row each: its estimate with an interval over prompts, and for a random sample of
    edges the `exact` effect (missing elsewhere), with `correlation` over the sample in every row (missing
    where the screen, or the truth, does not vary). `ends`: the metric of the full and of the empty circuit.

    Raises UserError for a sample under 2 edges.
    """
    if min(sample, len(scores.edges)) < 2:
        raise UserError("a screen needs at least 2 edges beside exact values: raise `sample`")
    order = torch.randperm(len(scores.edges), generator=generator(seed, "edge screen", 0))[:sample]
    picked = sorted(order.tolist())
    truth = exact_edges(
        model, inputs, other, metric, replacement=scores.replacement, only={scores.edges[i] for i in picked}
    )
    estimate, exact = (edge_effects(s, *ends, draws) for s in (scores, truth))
    place = {edge: i for i, edge in enumerate(truth.edges)}
    rows = [
        {"sender": s, "receiver": r, **estimate[i].row(),
         "exact": float(exact.value[place[s, r]]) if (s, r) in place else float("nan")}
        for i, (s, r) in enumerate(scores.edges)
    ]  # fmt: skip
    own = estimate.value[[i for e in truth.edges for i in [scores.edges.index(e)]]]
    return pd.DataFrame(rows).assign(
        metric="screened edge", method=scores.method, unit="normalised effect, first order",
        correlation=correlation(own, exact.value),
    )  # fmt: skip
