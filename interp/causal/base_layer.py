"""What a base run keeps of one block, and the products that several changed runs share with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor

from interp.hooks.protocol import HookedModel

FEW = 3  # rows of a head below which a product for each head is slower than one for all
Stream = Float[Tensor, "site batch row d_model"]


@dataclasses.dataclass(frozen=True)
class Layer:
    """What the base run holds of one block. `after_attn` is the stream between attention and MLP; keys are
    divided by the score scale.
    """

    block: Any
    pre: Float[Tensor, "batch pos d_model"]
    q: Float[Tensor, "batch head pos k"]
    k: Float[Tensor, "batch head k pos"]
    v: Float[Tensor, "batch head pos k"]
    z: Float[Tensor, "batch head pos k"]
    pattern: Float[Tensor, "batch head pos pos"]
    scores: Float[Tensor, "batch head pos pos"]
    after_attn: Float[Tensor, "batch pos d_model"]
    post: Float[Tensor, "batch pos d_model"]


def base_hooks(model: HookedModel) -> list[str]:
    """Activations of the base run that the engine needs."""
    names = []
    for layer in range(model.config.n_layers):
        stem = f"blocks.{layer}."
        names += [stem + "hook_resid_pre", stem + "hook_attn_out", stem + "hook_resid_post"]
        names += [f"{stem}attn.hook_{part}" for part in ("q", "k", "v", "z", "pattern", "attn_scores")]
        if model.blocks[layer].mlp is not None:
            names += [stem + "hook_resid_mid", stem + "mlp.hook_pre", stem + "hook_mlp_out"]
    return names


def layer_of(block: Any, index: int, cache: Mapping[str, Tensor], scale: float) -> Layer:
    """One block of a base run from its activations."""
    stem = f"blocks.{index}."

    def get(name: str) -> Tensor:
        return cache[stem + name]

    pre = get("hook_resid_pre")
    return Layer(
        block,
        pre,
        get("attn.hook_q").transpose(1, 2).contiguous(),
        get("attn.hook_k").permute(0, 2, 3, 1).contiguous().div_(scale),
        get("attn.hook_v").transpose(1, 2).contiguous(),
        get("attn.hook_z").transpose(1, 2),
        get("attn.hook_pattern"),
        get("attn.hook_attn_scores"),
        pre + get("hook_attn_out"),
        get("hook_resid_post"),
    )


def span(positions: list[int]) -> slice | list[int]:
    """Positions as an index: a slice, which copies nothing, where they are consecutive."""
    first, end = positions[0], positions[0] + len(positions)
    return slice(first, end) if positions == list(range(first, end)) else positions


def part(x: Float[Tensor, "batch pos *rest"], positions: list[int]) -> Float[Tensor, "batch row *rest"]:
    """Some consecutive or scattered positions; a view where they are consecutive."""
    return x[:, span(positions)]


def shared(
    x: Float[Tensor, "site batch head row m"], y: Float[Tensor, "batch head m c"]
) -> Float[Tensor, "site batch head row c"]:
    """x @ y with y shared by the sites: their rows are laid side by side instead of repeating y. Where these are few,
    heads are, too: one product of which a part is used takes less time than one for each head.
    """
    n, batch, head, row, m = x.shape
    if n * row < FEW:
        x = x.permute(1, 0, 3, 2, 4)
        if m < y.shape[-1]:
            out = apart(x).flatten(1, 3) @ y.flatten(1, 2)
            return out.view(batch, n, row, head, -1).permute(1, 0, 3, 2, 4)
        out = x.flatten(1, 3) @ y.transpose(1, 2).flatten(2)
        return out.view(batch, n, row, head, head, -1).diagonal(dim1=3, dim2=4).permute(1, 0, 4, 2, 3)
    if n == 1:
        return (x[0] @ y)[None]
    flat = x.permute(1, 2, 0, 3, 4).reshape(batch, head, n * row, m)
    return (flat @ y).unflatten(2, (n, row)).permute(2, 0, 1, 3, 4)


def apart(x: Float[Tensor, "*lead head k"]) -> Float[Tensor, "*lead head inner"]:
    """Each head's vector in columns of its own, zeros elsewhere: one product then serves all heads."""
    head, k = x.shape[-2:]
    out = x.new_zeros(*x.shape[:-2], head, head, k)
    out.diagonal(dim1=-3, dim2=-2).copy_(x.transpose(-1, -2))
    return out.flatten(-2)
