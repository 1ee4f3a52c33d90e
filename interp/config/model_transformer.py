"""Settings of the hooked transformer. Holds no tensor and imports no model, so that reading settings is cheap."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from interp.config.model_base import (
    MAX_PARAMETERS,
    Dtype,
    Init,
    ModelSettings,
    check_interface,
    refuse_too_many,
)
from tasks.base import Interface

Scale = Literal["sqrt_d_head", "n", "position", "none"]


class TransformerConfig(ModelSettings):
    """A pre-norm transformer.

    `attention`: softmax, or the pattern is the raw (linear) or rectified (relu) score. `attn_scale`: softmax
    divides its scores by sqrt(d_head); linear and relu patterns are divided by "n" (keys that the last row
    may see), by "position" (keys that each row may see), or not at all. Left out: "sqrt_d_head" for softmax,
    "n" otherwise. `mask_query` hides the last position, the query, as a key. `mlp` "none" is an
    attention-only model. `positions`: vectors added to the stream for places ("learned"), for token types, or for
    "both"; "relative": every head has a vector for each distance from row to column, dotted with the row's query
    and added to the score (Shaw et al. 1803.02155). `layer_norm` stands before each sub-layer and before the
    unembedding. `init`: "gpt2" is normal(.02), "fan_in" is normal(1/sqrt(fan-in)); both scale what writes to the
    residual stream by 1/sqrt(2 n_layers).
    """

    kind: Literal["transformer"] = "transformer"
    n_layers: int = Field(ge=1)
    n_heads: int = Field(ge=1)
    d_model: int = Field(ge=1)
    d_head: int | None = Field(default=None, ge=1)
    attention: Literal["softmax", "linear", "relu"] = "softmax"
    attn_scale: Scale | None = None
    mask: Literal["causal", "full"] = "causal"
    mask_query: bool = False
    layer_norm: Literal["none", "no_affine", "affine"] = "affine"
    mlp: Literal["none", "gelu", "gelu_new", "relu"] = "gelu"
    d_mlp: int | None = Field(default=None, ge=1)
    biases: bool = True
    positions: Literal["learned", "token_type", "both", "relative", "none"] = "learned"
    init: Init = "fan_in"
    dtype: Dtype = "float32"

    @property
    def head_width(self) -> int:
        """Width of a head: `d_head`, or an even share of `d_model`."""
        return self.d_head or self.d_model // self.n_heads

    @property
    def mlp_width(self) -> int:
        """Hidden neurons of an MLP: `d_mlp`, or four times `d_model`; 0 without MLPs."""
        return 0 if self.mlp == "none" else self.d_mlp or 4 * self.d_model

    @property
    def scale(self) -> Scale:
        """The attention scale that applies."""
        return self.attn_scale or ("sqrt_d_head" if self.attention == "softmax" else "n")

    @property
    def block_parameters(self) -> int:
        """Weights of all blocks (biases and norms apart)."""
        width = 4 * self.n_heads * self.head_width + 2 * self.mlp_width
        return self.n_layers * self.d_model * width

    def distances(self, interface: Interface) -> int:
        """Distances from a row to a column that have a vector: 0 and up, and with mask "full" as many down."""
        if self.positions != "relative":
            return 0
        return interface.n_ctx if self.mask == "causal" else 2 * interface.n_ctx - 1

    @model_validator(mode="after")
    def _consistent(self) -> TransformerConfig:
        if self.d_head is None and self.d_model % self.n_heads:
            raise ValueError(
                f"d_model={self.d_model} is not a multiple of n_heads={self.n_heads}: set d_head"
            )
        if self.mlp == "none" and self.d_mlp is not None:
            raise ValueError('d_mlp is set but mlp="none" has no neurons: drop either')
        if (self.scale == "sqrt_d_head") != (self.attention == "softmax"):
            raise ValueError(
                f'attn_scale="{self.scale}" does not go with attention="{self.attention}": '
                'softmax takes "sqrt_d_head"; linear and relu take "n", "position" or "none"'
            )
        refuse_too_many(self.block_parameters, self.n_layers, "the blocks")
        return self

    def check(self, interface: Interface) -> None:
        """Refuse an interface that these settings cannot serve. Raises UserError."""
        check_interface(self, interface, self.d_model)
        if self.positions in ("token_type", "both") and not interface.token_types:
            self.refuse(
                f'positions="{self.positions}" needs token types, and the task names none: use "learned"'
            )
        if self.positions == "relative":
            vectors = self.n_layers * self.n_heads * self.distances(interface)
            if vectors * self.head_width > MAX_PARAMETERS:
                self.refuse(f"{vectors:,} vectors of relative positions are too many: shorten the prompts")
        if self.mask_query and interface.n_ctx < 2:
            self.refuse("mask_query hides the only position of a one-token prompt: switch it off")
