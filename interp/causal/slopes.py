"""Gradients of a metric at hooks, and at what every receiver of the edge graph reads: before its norm, each head apart.

Behind a model's own LayerNorm they come back in closed form; others' norms are differentiated. Fused kernels serve
wherever nobody hooks what they hide, which changes gradients by rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.graph import SLOTS, Written
from interp.causal.metrics import Metric, check_eval
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site, group_size
from interp.models.components import EPS, LayerNorm
from interp.models.fused import kernels
from tasks.errors import UserError

AT_INPUT = "input"  # the stream that enters block 0, among the slopes of receivers
Slopes = dict[tuple[str, ...], Float[Tensor, "batch receiver pos d_model"]]


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


def receiver_slopes(
    model: HookedModel, clean: Written, other: Written, metric: Metric, ig_steps: int
) -> Slopes:
    """Gradient of the metric at each receiver's input, at the clean run or averaged along the way to it."""
    end, start = clean.out["embed"], other.out["embed"]
    shares = [(k + 0.5) / ig_steps for k in range(ig_steps)] or [1.0]
    total: Slopes = {}
    with kernels(cast(Any, model)):
        for share in shares:
            for group, slope in _slopes_at(model, start + share * (end - start), metric).items():
                total[group] = total[group].add_(slope) if group in total else slope
    return {group: slope / len(shares) for group, slope in total.items()} if ig_steps else total


def _slopes_at(model: HookedModel, embed: Float[Tensor, "batch pos d_model"], metric: Metric) -> Slopes:
    """Gradient at every receiver's input for one stream entering block 0: one forward, one backward."""
    hooks, n_layers = [], model.config.n_layers
    for layer, block in enumerate(model.blocks):
        hooks += [f"blocks.{layer}.hook_resid_pre", *(f"blocks.{layer}.attn.hook_{s}" for s in SLOTS)]
        hooks += [f"blocks.{layer}.hook_attn_out"]
        hooks += [] if block.mlp is None else [_mlp_hook(model, layer)]
    hooks.append(Site("output").hook(n_layers))
    held, slope = _held_gradients(model, embed, hooks, metric, start_at_layer=0)
    streams = _streams(model, held)
    out: Slopes = {
        ("output",): slope[hooks[-1]][:, None],
        (AT_INPUT,): slope["blocks.0.hook_resid_pre"][:, None],
    }
    for layer, block in enumerate(model.blocks):
        for name in SLOTS:
            weight = getattr(block.attn, f"W_{name.upper()}").detach()
            at_slot = slope[f"blocks.{layer}.attn.hook_{name}"]
            size = group_size(model) if name != "q" else 1
            group = tuple(Site(name, layer, head, shared=size).label for head in range(len(weight)))
            out[group] = through_norm(block.ln1, streams[layer][0], at_slot, weight)
        if block.mlp is not None:
            hook = _mlp_hook(model, layer)
            weight = None if hook.endswith("_in") else block.mlp.W_in.detach()[None]
            label = Site("mlp_pre", layer).label
            out[(label,)] = through_norm(block.ln2, streams[layer][1], slope[hook][:, :, None], weight)
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


def through_norm(
    layer_norm: Any,
    x: Float[Tensor, "batch pos d_model"],
    slope: Float[Tensor, "batch pos head width"],
    weight: Float[Tensor, "head d_model width"] | None,
) -> Float[Tensor, "batch head pos d_model"]:
    """Gradients behind a LayerNorm and each head's own matrix (None: behind the norm alone) carried to before it.

    Behind our own norm y = w (x - mean) / scale the gradient g comes back as (P g w - x^ mean(x^ g w)) / scale, with P
    that takes the mean off and x^ the normalised stream; the mean is taken off the matrix.
    """
    if not isinstance(layer_norm, LayerNorm):
        back = slope if weight is None else torch.einsum("bphk,hdk->bphd", slope, weight)
        return back.transpose(1, 2) if layer_norm is None else _through(layer_norm, x, back.transpose(1, 2))
    assert weight is not None
    scaled = weight if layer_norm.w is None else weight * layer_norm.w.detach()[:, None]
    scaled = scaled - scaled.mean(1, keepdim=True)
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.pow(2).mean(-1, keepdim=True) + EPS).rsqrt()
    normal = (centred * scale)[:, None]
    back = torch.einsum("bphk,hdk->bhpd", slope * scale[..., None], scaled)
    along = torch.einsum("bhpd,bpd->bhp", back, normal[:, 0])[..., None] / x.shape[-1]
    return back.addcmul_(normal, along, value=-1)


def _through(
    layer_norm: Any, x: Float[Tensor, "batch pos d_model"], back: Float[Tensor, "batch head pos d_model"]
) -> Float[Tensor, "batch head pos d_model"]:
    """The same by torch's own differentiation, for norms that are not ours."""
    with torch.enable_grad():
        forked = x.detach()[:, None].expand_as(back).clone().requires_grad_()
        return torch.autograd.grad(ar.norm(layer_norm, forked), forked, back)[0]
