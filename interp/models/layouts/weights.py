"""Weights of an adopted module as analyses read them: per head, multiplying from the right, views of its own.

`Conv1D` of Hugging Face lies as [in, out], `nn.Linear` as [out, in]; a joint map of queries, keys and values is cut as
the layout says. Where heads share keys and values, `W_K` and `W_V` have one entry a shared head.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, cat, nn, stack

from interp.config.model_adopted import AdoptedConfig
from interp.models.layouts.parts import BlockParts
from tasks.errors import UserError


def matrix(module: nn.Module) -> Float[Tensor, "inputs outputs"]:
    """The matrix of a linear map, [in, out]. Raises UserError for a module that is none."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise UserError(f"{type(module).__name__} is no linear map with a matrix `weight`: check the layout")
    return weight if type(module).__name__ == "Conv1D" else weight.T


def bias(module: nn.Module | None) -> Tensor | None:
    """The bias of a linear map, None without one."""
    return getattr(module, "bias", None)


class Norm:
    """A normalisation of the module, applied without firing hooks."""

    def __init__(self, own: nn.Module, quiet: Any):
        self._own, self._quiet = own, quiet

    def plain(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """What the normalisation makes of a stream."""
        with self._quiet():
            return self._own(x)


class AdoptedAttention:
    """Weights of a block's heads; biases are zeros where there are none."""

    def __init__(self, parts: BlockParts, config: AdoptedConfig):
        self._parts, self._config = parts, config
        self.heads, self.kv_heads, self.width = config.n_heads, config.n_kv_heads, config.d_head

    def _joint(self, of_bias: bool) -> list[Tensor | None]:
        """Matrices [d_model, heads * k] of queries, keys and values, or their biases."""
        take = bias if of_bias else matrix
        if len(self._parts.qkv) == 3:
            return [take(m) for m in self._parts.qkv]
        attention = self._parts.attention
        if self._parts.qkv:
            whole = take(self._parts.qkv[0])
        elif isinstance(attention, nn.MultiheadAttention) and attention.in_proj_weight is not None:
            whole = attention.in_proj_bias if of_bias else attention.in_proj_weight.T
        else:
            raise UserError(
                "the layout names no maps of queries, keys and values: their weights are not known"
            )
        return [None] * 3 if whole is None else list(split_heads(whole, self._config))

    def _per_head(self, place: int, of_bias: bool) -> Tensor:
        found = self._joint(of_bias)[place]
        heads = self.heads if place == 0 else self.kv_heads
        if found is None:
            return self.W_O.new_zeros(heads, self.width)
        cut = found.unflatten(-1, (heads, self.width))
        return cut if of_bias else cut.transpose(0, 1)

    W_Q = property(lambda self: self._per_head(0, False), doc="[head, d_model, k].")
    W_K = property(lambda self: self._per_head(1, False), doc="[shared head, d_model, k].")
    W_V = property(lambda self: self._per_head(2, False), doc="[shared head, d_model, k].")
    b_Q = property(lambda self: self._per_head(0, True), doc="[head, k].")
    b_K = property(lambda self: self._per_head(1, True), doc="[shared head, k].")
    b_V = property(lambda self: self._per_head(2, True), doc="[shared head, k].")

    @property
    def W_O(self) -> Float[Tensor, "head k d_model"]:
        """Output weights of every head."""
        if self._parts.out is None:
            raise UserError("the layout names no output projection (`out`): what heads write is not known")
        whole = matrix(self._parts.out)
        if whole.shape[0] != self.heads * self.width:
            raise UserError(
                f"the output projection reads {whole.shape[0]} numbers, not {self.heads} x {self.width}"
            )
        return whole.unflatten(0, (self.heads, self.width))

    @property
    def b_O(self) -> Float[Tensor, "d_model"]:
        """Output bias."""
        own = bias(self._parts.out)
        return self.W_O.new_zeros(self.W_O.shape[-1]) if own is None else own


def split_heads(whole: Tensor, config: AdoptedConfig) -> tuple[Tensor, ...]:
    """A joint [..., q k v] cut into [..., heads * k] of queries, keys and values, as the layout says they lie."""
    inner, shared = config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    if config.layout.order == "heads":
        cut = whole.unflatten(-1, (config.n_heads, 3, config.d_head))
        return tuple(cut[..., place, :].flatten(-2) for place in range(3))
    return whole.split((inner, shared, shared), dim=-1)


def join_heads(q: Tensor, k: Tensor, v: Tensor, config: AdoptedConfig) -> Tensor:
    """The inverse of `split_heads`, for [batch pos head k]."""
    if config.layout.order == "heads":
        return stack((q, k, v), -2).flatten(-3)
    return cat([x.flatten(-2) for x in (q, k, v)], -1)


class AdoptedMLP:
    """Weights of a block's MLP; `gated` ones multiply by a second map, which `W_in` leaves out."""

    def __init__(self, parts: BlockParts, config: AdoptedConfig):
        self._parts, self.gated = parts, config.gated

    def _map(self, name: str) -> nn.Module:
        found = getattr(self._parts, name)
        if found is None:
            raise UserError(f"the layout names no {name}: the MLP's weights are not known")
        return found

    W_in = property(lambda self: matrix(self._map("mlp_in")), doc="[d_model, d_mlp].")
    W_out = property(lambda self: matrix(self._map("mlp_out")), doc="[d_mlp, d_model].")
    b_in = property(lambda self: bias(self._map("mlp_in")), doc="[d_mlp], or None.")

    @property
    def b_out(self) -> Float[Tensor, "d_model"]:
        """Output bias; zeros if the module has none."""
        own = bias(self._map("mlp_out"))
        return self.W_out.new_zeros(self.W_out.shape[-1]) if own is None else own


class AdoptedBlock:
    """One block: `attn`, `mlp` (None without one), and the norms that they read through (None without)."""

    def __init__(self, parts: BlockParts, config: AdoptedConfig, quiet: Any):
        self.attn = AdoptedAttention(parts, config)
        self.mlp = AdoptedMLP(parts, config) if parts.has_mlp else None
        self.ln1, self.ln2 = (
            None if own is None or isinstance(own, nn.Identity) else Norm(own, quiet)
            for own in (parts.norm1, parts.norm2)
        )
