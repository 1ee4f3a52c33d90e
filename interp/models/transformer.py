"""The hooked transformer: read-in, blocks, unembedding, with TransformerLens' classic hook names.

One forward pass on `[batch, pos]` tokens of any kind; outputs are `[batch, pos, d_out]` and no loss is
computed here. There is no dropout and no python that looks at the data, so `torch.func.vmap` over stacked
parameters works.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from interp.config.model_transformer import TransformerConfig
from interp.hooks.lens import HookPoint
from interp.models.components import Block, LayerNorm
from interp.models.hooked import layer_range, residual
from interp.models.initialise import initialise
from interp.models.readin import Positions, ReadIn, parameter
from interp.models.surface import LensConfig, LensSurface
from tasks.base import Interface


class HookedTransformer(LensSurface):
    """The transformer that `TransformerConfig` describes, for a task's interface.

    Hooks: hook_embed, hook_pos_embed (if there are positions), blocks.{l}.hook_resid_pre, hook_attn_out,
    hook_resid_mid, hook_mlp_out (if there are MLPs), hook_resid_post, attn.hook_q, k, v, attn_scores,
    pattern, z, result, ln1/ln2/ln_final.hook_scale and hook_normalized (if there is a LayerNorm),
    mlp.hook_pre and hook_post.
    """

    def __init__(self, config: TransformerConfig, interface: Interface, seed: int):
        super().__init__()
        self.config, self.interface = config, interface
        self._lens = LensConfig.of(config, interface)
        self.token_embed = ReadIn(interface, config.d_model, config.biases)
        self.hook_embed = HookPoint()
        self.positions = None
        if config.positions not in ("none", "relative"):
            self.positions = Positions(config, interface)
            self.hook_pos_embed = HookPoint()
        self.blocks = nn.ModuleList(
            Block(config, config.distances(interface)) for _ in range(config.n_layers)
        )
        if config.layer_norm != "none":
            self.ln_final = LayerNorm(config.d_model, config.layer_norm == "affine")
        self.W_U = parameter(config.d_model, interface.d_out)
        self.bias_U = parameter(interface.d_out) if config.biases else None
        self.to(getattr(torch, config.dtype))
        initialise(self, config.init, config.n_layers, seed)
        self.setup()

    @property
    def b_U(self) -> Float[Tensor, "d_out"]:
        """Bias of the unembedding; zeros if the model has none."""
        return self.W_U.new_zeros(self.W_U.shape[1]) if self.bias_U is None else self.bias_U

    def embed(self, inputs: Num[Tensor, "batch pos *token"]) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream before the first block."""
        resid = self.hook_embed(self.token_embed(inputs))
        if self.positions is not None:
            resid = resid + self.hook_pos_embed(self.positions(*resid.shape[:2]))
        return resid

    def unembed(self, resid: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_out"]:
        """Outputs from the residual stream after the last block."""
        if self.config.layer_norm != "none":
            resid = self.ln_final(resid)
        return resid @ self.W_U if self.bias_U is None else resid @ self.W_U + self.bias_U

    def forward(
        self,
        inputs: Num[Tensor, "batch pos *token"],
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
    ) -> Float[Tensor, "batch pos width"]:
        """Outputs [batch, pos, d_out].

        With `start_at_layer` the inputs are the residual stream entering that block (its `hook_resid_pre`;
        `n_layers`: only the unembedding runs). With `stop_at_layer` the residual stream entering that block
        is returned (`n_layers`: after the last block). Negative layers count from the end. Raises UserError
        for layers outside the model and inputs of another shape than the interface says.
        """
        start, stop = layer_range(start_at_layer, stop_at_layer, self.config.n_layers)
        resid = self.embed(inputs) if start is None else residual(inputs, self.config.d_model)
        for block in self.blocks[start:stop]:
            resid = block(resid)
        return self.unembed(resid) if stop is None else resid
