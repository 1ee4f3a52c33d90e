"""Attribution estimates: what patching *would* do, to first order, for all sites or edges at once.

An estimate is never a result: `estimate_sites` shows it beside exact values for a sample of the same sites, with their
correlation; for edges `interp.causal.estimate` does. Sign: the estimated change of the metric when the site (edge) goes
from its base value to the other run's; normalised by (clean - corrupt) it estimates exactly what `patching.patch`
measures, less the base's own 0 or 1. Sources: attribution patching (Nanda 2023), EAP (Syed, Rager & Conmy, arXiv
2310.10348), EAP-IG (Hanna et al., arXiv 2403.17806; here with the midpoint rule), integrated gradients and completeness
(Sundararajan et al., arXiv 1703.01365).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.graph import Edge, Written, precedes, receivers, senders, written
from interp.causal.interventions import ablation_values, cache_of
from interp.causal.metrics import Metric, check_pair, normalised
from interp.causal.patching import run_patches
from interp.causal.slopes import AT_INPUT, gradients, receiver_slopes
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, check
from probes.stats import DRAWS
from tasks.base import Pair
from tasks.errors import UserError
from tasks.streams import generator


def attribute_sites(
    model: HookedModel, pair: Pair, sites: Sequence[Site], metric: Metric, direction: str = "denoise"
) -> Float[Tensor, "site batch"]:
    """First-order estimate of each site's patch: (other value - base value) . gradient at the base run.

    In units of the metric. Two forward passes and one backward pass for any number of sites.
    """
    check_pair(pair)
    base, other = (pair.corrupt, pair.clean) if direction == "denoise" else (pair.clean, pair.corrupt)
    n_layers = model.config.n_layers
    hooks = sorted({check(s, model, base.inputs.shape[1]).hook(n_layers) for s in sites})
    slope = gradients(model, base.inputs, hooks, metric)
    here, there = cache_of(model, base.inputs, sites), cache_of(model, other.inputs, sites)
    product = {h: (there[h] - here[h]) * slope[h] for h in hooks}
    return torch.stack([s.read(product[s.hook(n_layers)]).flatten(1).sum(1) for s in sites])


@dataclasses.dataclass(frozen=True)
class EdgeScores:
    """One number an edge and prompt, in units of the metric, and how they came about."""

    edges: tuple[Edge, ...]
    values: Float[Tensor, "edge batch"]
    method: str
    replacement: str
    ig_steps: int = 0
    error: float = (
        0.0  # completeness: mean size of a prompt's miss over that of its difference; exact effects: 0
    )

    def means(self) -> dict[Edge, float]:
        """Mean over prompts of each edge's score."""
        return dict(zip(self.edges, self.values.double().mean(1).tolist(), strict=True))


def attribute_edges(
    model: HookedModel,
    inputs: Num[Tensor, "batch pos *token"],
    other: Num[Tensor, "batch pos *token"],
    metric: Metric,
    *,
    ig_steps: int = 0,
    replacement: str = "resample",
) -> EdgeScores:
    """EAP (`ig_steps` 0) or EAP-IG: estimated change of the metric when an edge carries the other prompts'
    value.

    `replacement`: "resample" takes what the sender writes on `other`; zero, mean and mean per position an
    ablation of what it writes on `inputs`. With IG the gradient is averaged over `ig_steps` inputs between
    other (excluded) and clean.
    """
    clean = written(model, inputs)
    elsewhere = written(model, other)
    writers = [site.label for site in senders(model)]
    moved = torch.stack(
        [replaced(clean, elsewhere, s, replacement) - clean.out[s] for s in writers], 1
    ).flatten(2)
    slopes = receiver_slopes(model, clean, elsewhere, metric, ig_steps)
    at_input = slopes.pop((AT_INPUT,))[:, 0]
    before = _before(model)
    products: dict[str, Tensor] = {}
    for group, slope in slopes.items():
        found = moved[:, : before[group[0]]] @ slope.flatten(2).mT
        products |= dict(zip(group, found.permute(2, 1, 0), strict=True))
    attributed = ((elsewhere.out["embed"] - clean.out["embed"]) * at_input).sum((1, 2)).double()
    with torch.no_grad():
        gap = (metric(ar.unembed(model, elsewhere.final)) - metric(ar.unembed(model, clean.final))).double()
    error = float((attributed - gap).abs().sum() / gap.abs().sum().clamp_min(1e-30))
    edges = tuple((s, r) for r, count in before.items() for s in writers[:count])
    values = torch.cat([products[r] for r in before])
    return EdgeScores(edges, values, "EAP-IG" if ig_steps else "EAP", replacement, ig_steps, error)


def _before(model: HookedModel) -> dict[str, int]:
    """How many senders, in the order in which they write, each receiver comes after; in that of `graph.edges`."""
    writers = senders(model)
    return {r.label: sum(precedes(model, s, r) for s in writers) for r in receivers(model)}


def replaced(
    clean: Written, other: Written, sender: str, replacement: str
) -> Float[Tensor, "batch pos d_model"]:
    """What a sender's edge carries instead: what it writes on other prompts, or an ablation of what it writes.

    Raises UserError for an unknown replacement.
    """
    if replacement == "resample":
        return other.out[sender]
    return ablation_values(replacement, Site.parse(sender), clean.out[sender])


def estimate_sites(
    model: HookedModel,
    pair: Pair,
    sites: Sequence[Site],
    metric: Metric,
    *,
    direction: str = "denoise",
    sample: int = 32,
    seed: int = 0,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """First-order effects of every site beside the exact ones of a random sample of them.

    `value` is the normalised estimate with its interval over prompts, `exact` the patched value (missing
    where not sampled), `correlation` Pearson's r between the two over the sample, repeated in every row.
    Raises UserError for a sample under 2 sites (no correlation exists).
    """
    if min(sample, len(sites)) < 2:
        raise UserError(
            "an attribution estimate needs at least 2 sites beside exact values: raise `sample` or add sites"
        )
    change = attribute_sites(model, pair, sites, metric, direction)
    order = torch.randperm(len(sites), generator=generator(seed, "screen", 0))[:sample].sort().values
    picked = [sites[i] for i in order.tolist()]
    exact = run_patches(model, pair, picked, metric, direction=direction)
    base = exact.corrupt if direction == "denoise" else exact.clean
    estimate = normalised((change + base).T, exact.clean, exact.corrupt, draws)
    truth = normalised(exact.values.T, exact.clean, exact.corrupt, draws)
    table = pd.DataFrame([site.columns() for site in sites]).assign(
        metric=metric.name,
        target=metric.target,
        value=estimate.value.numpy(),
        unit="normalised effect, first order",
    )
    table = table.assign(
        ci_low=estimate.low.numpy(), ci_high=estimate.high.numpy(), n=estimate.n, exact=float("nan")
    )
    table.loc[order.numpy(), "exact"] = truth.value.numpy()
    return table.assign(correlation=correlation(estimate.value[order], truth.value), direction=direction)


def correlation(a: Float[Tensor, "site"], b: Float[Tensor, "site"]) -> float:
    """Pearson's r; nan where one side does not vary."""
    a, b = a - a.mean(), b - b.mean()
    size = a.norm() * b.norm()
    return float((a @ b) / size) if float(size) > 0 else float("nan")


def node_scores(scores: EdgeScores) -> Mapping[str, Float[Tensor, "batch"]]:
    """A sender's attribution: the sum of its outgoing edges'."""
    out: dict[str, Tensor] = {}
    for (sender, _), value in zip(scores.edges, scores.values, strict=True):
        out[sender] = out.get(sender, 0) + value
    return out
