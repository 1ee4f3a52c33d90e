"""Blocks of a bridged model as causal analysis reads them: weights per head, and normalisations without hooks."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from interp.config.model_bridge import BridgeConfig


class BridgedNorm:
    """A normalisation (LayerNorm, RMSNorm) as the model has it, applied without firing hooks."""

    def __init__(self, wrapped: Any):
        self._own = wrapped.original_component

    def plain(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """What the normalisation makes of a stream."""
        return self._own(x)


class BridgedAttention:
    """Weights of a block's heads in TransformerLens' orientation; biases are zeros where the model has none."""

    def __init__(self, wrapped: Any, config: BridgeConfig):
        self._own, self.heads, self.width = wrapped, config.n_heads, config.d_head

    def __getattr__(self, name: str) -> Tensor:
        if name not in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O"):
            raise AttributeError(name)
        found = getattr(self._own, name)
        if found is not None:
            return found
        weight = self._own.W_O
        return weight.new_zeros(weight.shape[-1] if name == "b_O" else (self.heads, self.width))


class BridgedMLP:
    """Weights of a block's MLP. `gated` MLPs have a third matrix, which edges leave alone."""

    def __init__(self, wrapped: Any, config: BridgeConfig):
        self._own, self.gated = wrapped, config.gated

    @property
    def W_in(self) -> Float[Tensor, "d_model d_mlp"]:
        """From the normalised stream to the neurons."""
        return self._own.W_in

    @property
    def b_in(self) -> Float[Tensor, "d_mlp"] | None:
        """Bias of the neurons."""
        return self._own.b_in

    @property
    def b_out(self) -> Float[Tensor, "d_model"]:
        """Output bias; zeros if the model has none."""
        bias = self._own.b_out
        return self._own.W_out.new_zeros(self._own.W_out.shape[-1]) if bias is None else bias


class BridgedBlock:
    """One block: `attn`, `mlp`, and the normalisations that they read through."""

    def __init__(self, wrapped: Any, config: BridgeConfig):
        self.attn = BridgedAttention(wrapped.attn, config)
        self.mlp = BridgedMLP(wrapped.mlp, config)
        self.ln1 = BridgedNorm(wrapped.ln1)
        self.ln2 = BridgedNorm(wrapped.ln2 if hasattr(wrapped, "ln2") else wrapped.ln1)
