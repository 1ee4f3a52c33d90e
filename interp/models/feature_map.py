"""A trained two-layer ReLU net on the covariates of every token, before linear attention sees them.

Owns the read-in of the "feature-linear" kind: token [x; y] becomes [W_out relu(W_in x + b_in) + b_out; y], labels
untouched, so that the layers behind it do descent on features (the non-linear variant of Ahn et al. 2310.01082).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.hooks.lens import HookPoint
from interp.models.initialise import draw


class FeatureMap(nn.Module):
    """Width d to `hidden` to d. Hooks: hook_pre, hook_post [batch pos hidden]."""

    def __init__(self, d: int, hidden: int):
        super().__init__()
        self.W_in, self.b_in = nn.Parameter(torch.zeros(d, hidden)), nn.Parameter(torch.zeros(hidden))
        self.W_out, self.b_out = nn.Parameter(torch.zeros(hidden, d)), nn.Parameter(torch.zeros(d))
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def initialise(self, seed: int) -> None:
        """Weights normal with variance 2 / fan-in before the ReLU and 1 / fan-in after it, biases 0."""
        draw(seed, "features W_in", self.W_in, (2 / len(self.W_in)) ** 0.5)
        draw(seed, "features W_out", self.W_out, len(self.W_out) ** -0.5)

    def forward(self, tokens: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        hidden = self.hook_post(self.hook_pre(tokens[..., :-1] @ self.W_in + self.b_in).relu())
        return torch.cat([hidden @ self.W_out + self.b_out, tokens[..., -1:]], dim=-1)
