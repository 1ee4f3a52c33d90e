"""Tied attention of one direction (eq. 1 of Arnaboldi et al., arXiv 2506.02651), hooked like every other model.

Fields z = (X + P) w serve as queries and keys of one head of width 1; there is no 1/sqrt(d) (z is already of order 1)
and the value is the identity: what is read is a fixed reduction of the attention matrix, the same at every position.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.config.model_single_index import SphereSettings, TiedAttentionConfig
from interp.hooks.lens import HookPoint
from interp.models.hooked import StrictHooks, layer_range, residual
from tasks.base import Interface
from tasks.errors import UserError
from tasks.single_index import ENCODING_AXIS, TEACHER_AXIS, encoding
from tasks.streams import generator
from tasks.theory.single_index import reduction_weights


def sphere_rows(settings: SphereSettings, rows: int, d: int, seed: int) -> nn.Parameter:
    """`rows` weight vectors of norm sqrt(d), drawn as `settings.start` says."""
    drawn = torch.randn(rows, d, generator=generator(seed, "init w", 0), dtype=torch.float64)
    if settings.start != "random":
        overlap = float(settings.start)
        drawn[:, [TEACHER_AXIS, ENCODING_AXIS]] = 0.0
        drawn *= ((1 - overlap**2) ** 0.5) / drawn.norm(dim=1, keepdim=True)
        drawn[:, TEACHER_AXIS] = overlap
    drawn *= d**0.5 / drawn.norm(dim=1, keepdim=True)
    return nn.Parameter(drawn.to(getattr(torch, settings.dtype)))


class OneHead(nn.Module):
    """Attention weights of one head of width 1 from its fields; hooks as in a transformer's attention."""

    def __init__(self) -> None:
        super().__init__()
        self.hook_q, self.hook_k = HookPoint(), HookPoint()
        self.hook_attn_scores, self.hook_pattern = HookPoint(), HookPoint()

    def forward(self, fields: Float[Tensor, "batch pos"]) -> Float[Tensor, "batch 1 pos pos"]:
        """softmax over keys of z z^T."""
        per_head = fields[:, :, None, None]
        q, k = self.hook_q(per_head), self.hook_k(per_head)
        scores = self.hook_attn_scores(torch.einsum("bqhe,bkhe->bhqk", q, k))
        return self.hook_pattern(scores.softmax(-1))


class SphereBlock(nn.Module):
    """The residual stream entering the head, and the head."""

    def __init__(self) -> None:
        super().__init__()
        self.hook_resid_pre, self.attn = HookPoint(), OneHead()


class TiedAttention(StrictHooks):
    """The student of `TiedAttentionConfig`. Its one weight is `w` [1, d].

    Hooks: hook_embed, hook_pos_embed [batch pos d], blocks.0.hook_resid_pre, blocks.0.attn.hook_q and hook_k
    [batch pos 1 1], hook_attn_scores and hook_pattern [batch 1 pos pos], hook_reduced [batch d_out].
    """

    table: Tensor
    shift: Tensor
    reduction: Tensor | None

    def __init__(self, config: TiedAttentionConfig, interface: Interface, seed: int):
        super().__init__()
        self.config, self.interface = config, interface
        self.w = sphere_rows(config, 1, interface.d_in, seed)
        kind = "opposite" if config.positional == "opposite" else "none"
        table = encoding(kind, interface.n_ctx, interface.d_in).to(self.w)
        self.register_buffer("table", table, persistent=False)
        shift = torch.tensor(config.shift or (0.0,) * interface.n_ctx).to(self.w)
        self.register_buffer("shift", shift, persistent=False)
        weights = reduction_weights(config.reduction, interface.n_ctx)
        reduction = None if weights is None else torch.as_tensor(weights).to(self.w)
        self.register_buffer("reduction", reduction, persistent=False)
        self.hook_embed, self.hook_pos_embed, self.hook_reduced = HookPoint(), HookPoint(), HookPoint()
        self.blocks = nn.ModuleList([SphereBlock()])
        self.setup()

    @property
    def encodings(self) -> Float[Tensor, "pos d"]:
        """P. Injected encodings follow w but send no gradient to it (it would point along w, off the sphere)."""
        return self.table + self.shift[:, None] * self.w.detach() / self.w.shape[1]

    def positional_overlaps(self) -> Float[Tensor, " pos"]:
        """e = P w, one number a token (section 2)."""
        return (self.encodings @ self.w.detach()[0]).clone()

    def embed(self, inputs: Float[Tensor, "batch pos d"]) -> Float[Tensor, "batch pos d"]:
        """X + P."""
        check_tokens(inputs, self.interface)
        x = self.hook_embed(inputs)
        return x + self.hook_pos_embed(self.encodings.expand_as(x))

    def forward(
        self,
        inputs: Float[Tensor, "batch pos d"],
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
    ) -> Float[Tensor, "batch pos width"]:
        """R(softmax(z z^T)) at every position, rows of the matrix one after another under the identity.

        `start_at_layer=0` takes X + P, `stop_at_layer=0` returns it; there is no stream after the head. Raises
        UserError for other layers and inputs of another shape.
        """
        start, stop = layer_range(start_at_layer, stop_at_layer, 1)
        if start == 1 or stop == 1:
            raise UserError("tied attention has no residual stream after its head: only layer 0 can be named")
        resid = self.embed(inputs) if start is None else residual(inputs, self.interface.d_in)
        if stop == 0:
            return resid
        block = self.blocks[0]
        assert isinstance(block, SphereBlock)
        pattern = block.attn(block.hook_resid_pre(resid) @ self.w[0])[:, 0]
        read = (
            pattern.flatten(1)
            if self.reduction is None
            else (pattern * self.reduction).sum((-1, -2))[:, None]
        )
        return self.hook_reduced(read)[:, None, :].expand(-1, inputs.shape[1], -1)


def check_tokens(inputs: Tensor, interface: Interface) -> None:
    """Refuse inputs of another shape than the interface says. Raises UserError."""
    if inputs.ndim != 3 or inputs.shape[1:] != (interface.n_ctx, interface.d_in):
        wanted = f"[batch, {interface.n_ctx}, {interface.d_in}]"
        raise UserError(f"inputs must be tokens {wanted}, not {list(inputs.shape)}")
