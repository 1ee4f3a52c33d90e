"""What TransformerLens' helpers ask of a model: the weights per head, the settings by their names, biases
summed.

`ActivationCache`, `FactoredMatrix` and `transformer_lens.patching` work on a model with this surface. Its
"tokens" are columns of the unembedding (outputs), not inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.config.model_transformer import TransformerConfig
from interp.hooks.lens import FactoredMatrix
from interp.models.hooked import StrictHooks
from tasks.base import Interface
from tasks.errors import UserError


@dataclasses.dataclass
class LensConfig:
    """A transformer's settings under TransformerLens' names."""

    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_mlp: int | None
    n_ctx: int
    d_vocab_out: int
    attn_only: bool
    normalization_type: str | None
    device: torch.device
    dtype: torch.dtype
    use_attn_result: bool = False
    use_split_qkv_input: bool = False
    use_attn_in: bool = False
    n_key_value_heads: int | None = None
    final_rms: bool = False

    @classmethod
    def of(cls, config: TransformerConfig, interface: Interface) -> LensConfig:
        """The surface's settings for a model of ours."""
        return cls(
            n_layers=config.n_layers,
            n_heads=config.n_heads,
            d_model=config.d_model,
            d_head=config.head_width,
            d_mlp=config.mlp_width or None,
            n_ctx=interface.n_ctx,
            d_vocab_out=interface.d_out,
            attn_only=config.mlp == "none",
            normalization_type={"none": None, "no_affine": "LNPre", "affine": "LN"}[config.layer_norm],
            device=torch.device("cpu"),
            dtype=getattr(torch, config.dtype),
        )


class LensSurface(StrictHooks):
    """Mixin of the transformer: everything TransformerLens' analysis helpers reach for."""

    W_U: nn.Parameter
    _lens: LensConfig

    @property
    def cfg(self) -> LensConfig:
        """Settings under TransformerLens' names; the device follows the weights."""
        self._lens.device = self.W_U.device
        return self._lens

    def typed_blocks(self) -> list[Any]:
        """The blocks: `interp.models.components.Block`, or what a model made elsewhere has in their place."""
        return list(cast(Iterable[Any], self.blocks))

    def _stack(self, name: str) -> Tensor:
        return torch.stack([getattr(block.attn, name) for block in self.typed_blocks()])

    @property
    def W_Q(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Query weights of every head."""
        return self._stack("W_Q")

    @property
    def W_K(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Key weights of every head."""
        return self._stack("W_K")

    @property
    def W_V(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Value weights of every head."""
        return self._stack("W_V")

    @property
    def W_O(self) -> Float[Tensor, "layer head d_head d_model"]:
        """Output weights of every head."""
        return self._stack("W_O")

    @property
    def QK(self) -> FactoredMatrix:
        """[layer, head, d_model (row), d_model (column)]: the bilinear form of the scores, before their
        scale.
        """
        return FactoredMatrix(self.W_Q, self._of_every_head(self.W_K).transpose(-2, -1))

    @property
    def OV(self) -> FactoredMatrix:
        """[layer, head, d_model (in), d_model (out)]: what a head writes for what it attends to."""
        return FactoredMatrix(self._of_every_head(self.W_V), self.W_O)

    def _of_every_head(self, weights: Tensor) -> Tensor:
        """Keys or values once for every head that shares them."""
        return weights.repeat_interleave(self.cfg.n_heads // weights.shape[1], 1)

    def all_head_labels(self) -> list[str]:
        """L0H0, L0H1, ... in order."""
        return [f"L{layer}H{head}" for layer in range(self.cfg.n_layers) for head in range(self.cfg.n_heads)]

    def accumulated_bias(
        self, layer: int, mlp_input: bool = False, include_mlp_biases: bool = True
    ) -> Float[Tensor, "d_model"]:
        """Sum of the output biases written before a layer (before its MLP with `mlp_input`)."""
        total = self.W_U.new_zeros(self.cfg.d_model)
        for index, block in enumerate(self.typed_blocks()):
            if index < layer or (index == layer and mlp_input):
                total = total + block.attn.b_O
            if index < layer and include_mlp_biases and block.mlp is not None:
                total = total + block.mlp.b_out
        return total

    def tokens_to_residual_directions(self, tokens: int | str | Tensor) -> Tensor:
        """Columns of the unembedding for output indices: [..., d_model]."""
        return self.W_U.T[self.to_single_token(tokens) if isinstance(tokens, str) else tokens]

    def to_single_token(self, token: int | str) -> int:
        """An output index given as a number or its digits. Raises UserError for other text."""
        if not str(token).isdigit() or int(token) >= self.cfg.d_vocab_out:
            raise UserError(
                f"{token!r} is not an output of this model: give an index below {self.cfg.d_vocab_out}"
            )
        return int(token)

    def to_tokens(self, *args: object, **kwargs: object) -> Tensor:
        """There is no tokenizer here."""
        raise NotImplementedError("these models read numbers or symbol indices; there is no text to tokenise")

    def set_use_attn_result(self, use: bool) -> None:
        """Switch `hook_result`, the output of each head [batch pos head d_model], on or off (it costs
        memory).
        """
        self._lens.use_attn_result = use
        for block in self.typed_blocks():
            block.attn.use_attn_result = use

    def set_use_split_qkv_input(self, use: bool) -> None:
        """Switch `hook_q_input`, `hook_k_input`, `hook_v_input` on or off: the residual stream forked per
        head, before ln1, [batch pos head d_model]. While on, ln1's own hooks do not fire.
        """
        self._lens.use_split_qkv_input = use
        for block in self.typed_blocks():
            block.use_split_qkv_input = use

    def silence(self, name: str) -> str:
        """Why a hook may not have fired."""
        if name.endswith("hook_result"):
            return "switch it on with model.set_use_attn_result(True)"
        if name.endswith(("q_input", "k_input", "v_input")):
            return "switch it on with model.set_use_split_qkv_input(True)"
        if ".ln1." in name and self._lens.use_split_qkv_input:
            return "ln1 is forked per head; model.set_use_split_qkv_input(False)"
        return super().silence(name)
