"""Tied and untied networks of sequence single-index models: sigma(sum_l x_l.w_l / sqrt(L)), hooked.

Weights `w` are [1, d] (tied) or [L, d] (untied, token l reads row l), each row on the sphere |w_l| = sqrt(d). The
prediction is the same at every position.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.config.model_single_index import IndexNetworkConfig
from interp.hooks.lens import HookPoint
from interp.models.hooked import StrictHooks
from interp.models.tied_attention import check_tokens, sphere_rows
from tasks.base import Interface
from tasks.errors import UserError

_SIGMA: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda s: s,
    "relu": torch.relu,
    "square": torch.square,
    "tanh": torch.tanh,
    "minus-tanh": lambda s: -torch.tanh(s),
}


class Unit(nn.Module):
    """The nonlinearity, hooked before and after."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.sigma = _SIGMA[activation]
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, s: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 1"]:
        return self.hook_post(self.sigma(self.hook_pre(s)))


class IndexNetwork(StrictHooks):
    """The student of `IndexNetworkConfig`.

    Hooks: hook_embed [batch pos d], hook_fields [batch pos] (x_l.w_l), mlp.hook_pre and mlp.hook_post [batch 1].
    """

    def __init__(self, config: IndexNetworkConfig, interface: Interface, seed: int):
        super().__init__()
        self.config, self.interface = config, interface
        self.w = sphere_rows(config, 1 if config.tied else interface.n_ctx, interface.d_in, seed)
        self.hook_embed, self.hook_fields = HookPoint(), HookPoint()
        self.mlp = Unit(config.activation)
        self.setup()

    def forward(
        self,
        inputs: Float[Tensor, "batch pos d"],
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
    ) -> Float[Tensor, "batch pos 1"]:
        """The prediction, at every position. Raises UserError for a layer (there are none) or another shape."""
        if start_at_layer is not None or stop_at_layer is not None:
            raise UserError("an index network has no layers to start or stop at")
        check_tokens(inputs, self.interface)
        fields = self.hook_fields((self.hook_embed(inputs) * self.w).sum(-1))
        read = self.mlp(fields.sum(-1, keepdim=True) / fields.shape[1] ** 0.5)
        return read[:, None, :].expand(-1, inputs.shape[1], -1)
