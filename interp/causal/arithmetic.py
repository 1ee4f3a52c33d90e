"""The transformer's arithmetic on slices of positions, for the fast engine: what a block does to some rows.

Written against the model's own weights and settings, tested against its hooked forward pass. Leading axes:
`site` (runs that differ in what was patched), then `batch`. Rows are destination positions, columns source
positions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site
from interp.models.components import ACTIVATIONS, EPS, LayerNorm, allowed
from interp.models.fused import softmax
from tasks.errors import UserError

# torch has these as operators only; a second large array costs more than the activation itself
IN_PLACE: dict[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] = {
    ACTIVATIONS["gelu"]: torch.ops.aten.gelu_,
    ACTIVATIONS["gelu_new"]: lambda x: torch.ops.aten.gelu_(x, approximate="tanh"),
    ACTIVATIONS["relu"]: torch.relu_,
}


@dataclasses.dataclass(frozen=True)
class Mask:
    """Scores to weights for any rows: softmax adds `bias`; linear and relu multiply by `weight`.

    `seen` is 1 where a row may see a column, else 0.
    """

    kind: str
    bias: Float[Tensor, "pos pos"]
    weight: Float[Tensor, "pos pos"]
    seen: Float[Tensor, "pos pos"]

    @classmethod
    def of(cls, config: Any, n_pos: int, like: Tensor) -> Mask:
        """The mask of a model's settings for prompts of `n_pos` tokens."""
        seen = allowed(n_pos, config, like.device)
        keys = seen.sum(-1, keepdim=True).to(like.dtype)
        scale = {"n": keys[-1:], "position": keys}.get(config.scale, torch.ones_like(keys))
        bias = torch.zeros(n_pos, n_pos, dtype=like.dtype, device=like.device).masked_fill(~seen, -torch.inf)
        return cls(config.attention, bias, seen.to(like.dtype) / scale, seen.to(like.dtype))

    def pattern(self, scores: Float[Tensor, "*lead row pos"], rows: Any) -> Float[Tensor, "*lead row pos"]:
        """Attention weights of some rows. Overwrites `scores`."""
        if self.kind == "softmax":
            return softmax(scores.add_(self.bias[rows]))
        if self.kind == "relu":
            scores.relu_()
        return scores.mul_(self.weight[rows])


def norm(layer_norm: Any, x: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead d_model"]:
    """A normalisation without hooks; the identity where the model has none."""
    if layer_norm is None:
        return x
    if not isinstance(layer_norm, LayerNorm):
        return layer_norm.plain(x)
    return F.layer_norm(x, x.shape[-1:], layer_norm.w, layer_norm.b, EPS)


def project(
    attn: Any, name: str, x: Float[Tensor, "site batch pos d_model"]
) -> Float[Tensor, "site batch head pos k"]:
    """Queries, keys or values of some positions."""
    out = x @ getattr(attn, f"w_{name}")
    bias = getattr(attn, f"b_{name}")
    out = out if bias is None else out.add_(bias)
    return out.unflatten(-1, (attn.heads, attn.width)).transpose(2, 3)


def head_inputs(
    block: Any, slot: str, head: int, x: Float[Tensor, "*lead pos d_model"]
) -> Float[Tensor, "*lead pos k"]:
    """One head's query, key or value (`slot` q, k, v) when the stream it reads is `x`."""
    return head_projects(block, slot, head, norm(block.ln1, x))


def head_projects(
    block: Any, slot: str, head: int, x: Float[Tensor, "*lead pos d_model"]
) -> Float[Tensor, "*lead pos k"]:
    """The same from the stream after its normalisation."""
    weight, bias = (getattr(block.attn, f"{kind}_{slot.upper()}")[head] for kind in "Wb")
    return x @ weight + bias


def mlp_inputs(block: Any, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_mlp"]:
    """An MLP's neurons before their activation when the stream it reads is `x`."""
    pre = norm(block.ln2, x) @ block.mlp.W_in
    return pre if block.mlp.b_in is None else pre + block.mlp.b_in


def mlp_entry(
    model: HookedModel, layer: int, x: Float[Tensor, "batch pos d_model"]
) -> tuple[Site, Float[Tensor, "batch pos width"]]:
    """Where an MLP is given what it reads, and the value there when the stream it reads is `x`.

    Its neurons; for a module that was trained elsewhere (its MLP may have a gate) its normalised input.
    """
    block = model.blocks[layer]
    if f"blocks.{layer}.mlp.hook_in" in model.hook_dict:
        return Site("mlp_in", layer), norm(block.ln2, x)
    return Site("mlp_pre", layer), mlp_inputs(block, x)


def parallel(model: HookedModel) -> bool:
    """Whether attention and MLP of a block read the same stream."""
    return getattr(model.config, "parallel", False)


def mlp_stream(model: HookedModel, layer: int) -> str:
    """The hook of the stream that a block's MLP reads, before its normalisation."""
    return f"blocks.{layer}." + ("hook_resid_pre" if parallel(model) else "hook_resid_mid")


def score_scale(config: Any) -> float:
    """What scores are divided by before the mask."""
    return float(config.head_width) ** 0.5 if config.scale == "sqrt_d_head" else 1.0


def mlp(block: Any, resid_mid: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead d_model"]:
    """The block's stream after its MLP, from the stream before it (the same where there is no MLP)."""
    if block.mlp is None:
        return resid_mid
    x = norm(block.ln2, resid_mid)
    hidden = x @ block.mlp.W_in if block.mlp.b_in is None else _plus(block.mlp.b_in, x, block.mlp.W_in)
    out = _plus(resid_mid, activated(block.mlp.activation, hidden), block.mlp.W_out)
    return out if block.mlp.bias_out is None else out.add_(block.mlp.bias_out)


def activated(
    activation: Callable[[Tensor], Tensor], x: Float[Tensor, "*lead d_mlp"]
) -> Float[Tensor, "*lead d_mlp"]:
    """The activation of neurons that nobody needs any more: written over them unless there are gradients to take."""
    return (activation if torch.is_grad_enabled() else IN_PLACE.get(activation, activation))(x)


def _plus(
    added: Float[Tensor, "*some d_to"], x: Float[Tensor, "*lead d_from"], weight: Float[Tensor, "d_from d_to"]
) -> Float[Tensor, "*lead d_to"]:
    """x @ weight + added, in one pass over the product."""
    flat = added.flatten(0, -2) if added.ndim > 1 else added
    return torch.addmm(flat, x.flatten(0, -2), weight).view(*x.shape[:-1], weight.shape[1])


def neurons_out(layer: Any, pre: Float[Tensor, "*lead d_mlp"]) -> Float[Tensor, "*lead d_model"]:
    """An MLP's output from its pre-activations."""
    out = layer.activation(pre) @ layer.W_out
    return out if layer.bias_out is None else out.add_(layer.bias_out)


def unembed(model: HookedModel, resid: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead d_out"]:
    """Outputs from the stream after the last block, without hooks where the arithmetic is ours."""
    if not is_transformer(model):
        return model(resid, start_at_layer=model.config.n_layers)
    out = norm(model.ln_final if model.config.layer_norm != "none" else None, resid) @ model.W_U
    return out if model.bias_U is None else out + model.bias_U


def is_transformer(model: HookedModel) -> bool:
    """Whether a model is our own transformer, whose arithmetic this is."""
    return getattr(model.config, "kind", None) == "transformer"


def require_transformer(model: HookedModel) -> None:
    """Raises UserError for a model that is not the hooked transformer."""
    if not is_transformer(model):
        kind = getattr(model.config, "kind", type(model).__name__)
        raise UserError(f"the fast engine knows the transformer only, not {kind!r}: use engine='hooks'")


def has_edges(model: HookedModel) -> bool:
    """Whether a model's heads and MLPs can be given inputs of their own."""
    own = getattr(model, "edges_known", None)
    return is_transformer(model) or bool(getattr(model.config, "edges_known", False) if own is None else own)


def require_edges(model: HookedModel) -> None:
    """Raises UserError for a model whose heads and MLPs cannot be given inputs of their own."""
    if has_edges(model):
        return
    kind = getattr(model.config, "architecture", getattr(model.config, "kind", type(model).__name__))
    why = getattr(model, "refused", {}).get("edges")
    if why:
        raise UserError(f"edges of {kind} are not offered: {why}; patch its sites instead")
    raise UserError(
        f"edges are known for transformers with plain heads and MLPs only, not for {kind!r} "
        "(gated MLPs, or heads that share keys): patch its sites instead"
    )
