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
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.graph import SLOTS, Edge, Written, precedes, receivers, senders, written
from interp.causal.interventions import ablation_values, cache_of
from interp.causal.metrics import Metric, check_eval, check_pair, normalised
from interp.causal.patching import run_patches
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, check, group_size
from probes.stats import DRAWS
from tasks.base import Pair
from tasks.errors import UserError
from tasks.streams import generator


def gradients(
    model: HookedModel,
    inputs: Tensor,
    hooks: Sequence[str],
    metric: Metric,
    start_at_layer: int | None = None,
) -> dict[str, Tensor]:
    """Gradient of the summed metric (each prompt's own, since prompts do not mix) at some hooks. One forward,
    one backward.
    """
    return _held_gradients(model, inputs, hooks, metric, start_at_layer)[1]


def _held_gradients(
    model: HookedModel,
    inputs: Tensor,
    hooks: Sequence[str],
    metric: Metric,
    start_at_layer: int | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Activations at some hooks, and the gradient there."""
    check_eval(model)
    held: dict[str, Tensor] = {}

    def hold(activation: Tensor, hook: Any) -> Tensor:
        live = activation if activation.requires_grad else activation.detach().requires_grad_()
        held[hook.name] = live
        return live

    with torch.enable_grad():
        outputs = model.run_with_hooks(
            inputs, fwd_hooks=[(h, hold) for h in hooks], start_at_layer=start_at_layer
        )
        total = metric(outputs).sum()
        if not total.requires_grad:
            raise UserError(
                f"metric {metric.name!r} has no gradient for an attribution estimate: use method 'exact'"
            )
        found = torch.autograd.grad(total, [held[h] for h in hooks], allow_unused=True)
    slopes = {h: torch.zeros_like(held[h]) if g is None else g for h, g in zip(hooks, found, strict=True)}
    return {h: x.detach() for h, x in held.items()}, slopes


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


AT_INPUT = "input"  # the stream that enters block 0, among the slopes of receivers


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
    change = {s: replaced(clean, elsewhere, s, replacement) - clean.out[s] for s in clean.out}
    slopes = _receiver_slopes(model, clean, elsewhere, metric, ig_steps)
    found, values = [], []
    for names, group in _groups(model):
        moved = torch.stack([change[s] for s in names], 1).flatten(2)
        slope = torch.stack([slopes[r].flatten(1) for r in group], 2)
        products = (moved @ slope).permute(2, 1, 0)
        found += [(s, r) for r in group for s in names]
        values.append(products.flatten(0, 1))
    attributed = ((elsewhere.out["embed"] - clean.out["embed"]) * slopes[AT_INPUT]).sum((1, 2)).double()
    with torch.no_grad():
        gap = (metric(ar.unembed(model, elsewhere.final)) - metric(ar.unembed(model, clean.final))).double()
    error = float((attributed - gap).abs().sum() / gap.abs().sum().clamp_min(1e-30))
    return EdgeScores(
        tuple(found), torch.cat(values), "EAP-IG" if ig_steps else "EAP", replacement, ig_steps, error
    )


def _groups(model: HookedModel) -> Iterator[tuple[list[str], list[str]]]:
    """Receivers that come after the same senders, as (senders, receivers), in the order of `graph.edges`."""
    writers = senders(model)
    before = {r.label: tuple(s.label for s in writers if precedes(model, s, r)) for r in receivers(model)}
    for names, group in itertools.groupby(before, before.__getitem__):
        yield list(names), list(group)


def replaced(
    clean: Written, other: Written, sender: str, replacement: str
) -> Float[Tensor, "batch pos d_model"]:
    """What a sender's edge carries instead: what it writes on other prompts, or an ablation of what it writes.

    Raises UserError for an unknown replacement.
    """
    if replacement == "resample":
        return other.out[sender]
    return ablation_values(replacement, Site.parse(sender), clean.out[sender])


def _receiver_slopes(
    model: HookedModel, clean: Written, other: Written, metric: Metric, ig_steps: int
) -> dict[str, Float[Tensor, "batch pos d_model"]]:
    """Gradient of the metric at each receiver's input, at the clean run or averaged along the way to it."""
    end, start = clean.out["embed"], other.out["embed"]
    shares = [(k + 0.5) / ig_steps for k in range(ig_steps)] or [1.0]
    total: dict[str, Tensor] = {}
    for share in shares:
        for name, slope in _slopes_at(model, start + share * (end - start), metric).items():
            total[name] = total.get(name, 0) + slope / len(shares)
    return total


def _slopes_at(
    model: HookedModel, embed: Float[Tensor, "batch pos d_model"], metric: Metric
) -> dict[str, Tensor]:
    """Gradient at every receiver's input for one stream entering block 0: one forward, one backward."""
    hooks, n_layers = [], model.config.n_layers
    for layer, block in enumerate(model.blocks):
        hooks += [f"blocks.{layer}.hook_resid_pre", *(f"blocks.{layer}.attn.hook_{s}" for s in SLOTS)]
        hooks += [f"blocks.{layer}.hook_attn_out"]
        hooks += [] if block.mlp is None else [_mlp_hook(model, layer)]
    hooks.append(Site("output").hook(n_layers))
    held, slope = _held_gradients(model, embed, hooks, metric, start_at_layer=0)
    streams = _streams(model, held)
    out = {"output": slope[hooks[-1]], AT_INPUT: slope["blocks.0.hook_resid_pre"]}
    for layer, block in enumerate(model.blocks):
        for name in SLOTS:
            weight = getattr(block.attn, f"W_{name.upper()}").detach()
            back = torch.einsum("bphk,hdk->hbpd", slope[f"blocks.{layer}.attn.hook_{name}"], weight)
            through = _through_norm(block.ln1, streams[layer][0], back)
            size = group_size(model) if name != "q" else 1
            out |= {Site(name, layer, head, shared=size).label: row for head, row in enumerate(through)}
        if block.mlp is not None:
            hook = _mlp_hook(model, layer)
            back = slope[hook] if hook.endswith("_in") else slope[hook] @ block.mlp.W_in.detach().T
            back = back[None]
            out[Site("mlp_pre", layer).label] = _through_norm(block.ln2, streams[layer][1], back)[0]
    return out


def _mlp_hook(model: HookedModel, layer: int) -> str:
    """Where the gradient of what an MLP reads is taken: at its input where that has a hook, else at its neurons."""
    inside = f"blocks.{layer}.mlp.hook_in"
    return inside if inside in model.hook_dict else f"blocks.{layer}.mlp.hook_pre"


def _streams(model: HookedModel, held: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Each block's stream before attention and before the MLP."""
    stems = [f"blocks.{layer}." for layer in range(model.config.n_layers)]
    pre = [held[stem + "hook_resid_pre"] for stem in stems]
    if ar.parallel(model):
        return [(x, x) for x in pre]
    return [(x, x + held[stem + "hook_attn_out"]) for x, stem in zip(pre, stems, strict=True)]


def _through_norm(
    layer_norm: Any, x: Float[Tensor, "batch pos d_model"], back: Float[Tensor, "head batch pos d_model"]
) -> Float[Tensor, "head batch pos d_model"]:
    """Gradients after a LayerNorm carried to before it, for each head's own."""
    if layer_norm is None:
        return back
    with torch.enable_grad():
        forked = x.detach().expand(len(back), -1, -1, -1).clone().requires_grad_()
        return torch.autograd.grad(ar.norm(layer_norm, forked), forked, back)[0]


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
