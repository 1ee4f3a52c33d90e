"""A package of somebody else's: attention that also knows how far away a token is, and a task for it.

It is laid out here as pip lays out a package (beside its dist-info), and found through its entry points alone.
"""

import math
from typing import Literal

import torch
from torch import nn

import tasks
from interp.config.model_base import ModelSettings
from interp.hooks.lens import HookPoint
from interp.models import register
from interp.models.hooked import StrictHooks, layer_range, residual


class DistanceConfig(ModelSettings):
    """Attention-only blocks; every head learns how much a step of distance takes off a score."""

    kind: Literal["distance-attention"] = "distance-attention"
    n_layers: int = 1
    n_heads: int = 2
    d_model: int = 16
    mask: Literal["causal"] = "causal"
    mask_query: Literal[False] = False
    edges_known: Literal[True] = True  # heads can be given inputs of their own: W_Q, W_K, W_V, W_O tell how

    def check(self, interface):
        if interface.inputs != "token":
            self.refuse(f"reads tokens, and the task gives {interface.inputs} inputs")


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads, self.width = config.n_heads, config.d_model // config.n_heads
        shape = (self.heads, config.d_model, self.width)
        self.W_Q, self.W_K, self.W_V = (nn.Parameter(torch.zeros(shape)) for _ in range(3))
        self.W_O = nn.Parameter(torch.zeros(self.heads, self.width, config.d_model))
        self.slope = nn.Parameter(torch.zeros(self.heads))
        for name in ("q", "k", "v", "attn_scores", "pattern", "z"):
            setattr(self, f"hook_{name}", HookPoint())

    def bias(self, name):
        return self.W_O.new_zeros(self.heads, self.width if name != "b_O" else self.W_O.shape[-1])

    b_Q = b_K = b_V = property(lambda self: self.bias("b_Q"))

    def forward(self, x):
        q, k, v = (
            getattr(self, f"hook_{name}")(
                torch.einsum("bpd,hdk->bphk", x, getattr(self, f"W_{name.upper()}"))
            )
            for name in "qkv"
        )
        place = torch.arange(x.shape[1])
        away = (place[:, None] - place[None]).float()
        scores = torch.einsum("bqhk,bshk->bhqs", q, k) / math.sqrt(self.width)
        scores = self.hook_attn_scores(scores - self.slope[:, None, None] * away)
        pattern = self.hook_pattern(scores.masked_fill(away < 0, -torch.inf).softmax(-1))
        z = self.hook_z(torch.einsum("bhqs,bshk->bqhk", pattern, v))
        return torch.einsum("bqhk,hkd->bqd", z, self.W_O)


class Block(nn.Module):
    ln1 = mlp = None

    def __init__(self, config):
        super().__init__()
        self.attn = Attention(config)
        self.hook_resid_pre, self.hook_attn_out, self.hook_resid_post = (HookPoint() for _ in range(3))

    def forward(self, x):
        x = self.hook_resid_pre(x)
        return self.hook_resid_post(x + self.hook_attn_out(self.attn(x)))


@register("distance-attention", DistanceConfig)
class DistanceModel(StrictHooks):
    def __init__(self, config, interface, seed):
        super().__init__()
        self.config, self.interface = config, interface
        self.W_E = nn.Parameter(torch.zeros(interface.d_vocab, config.d_model))
        self.W_pos = nn.Parameter(torch.zeros(interface.n_ctx, config.d_model))
        self.hook_embed = HookPoint()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.W_U = nn.Parameter(torch.zeros(config.d_model, interface.d_out))
        with torch.no_grad():
            for name, weight in self.named_parameters():
                source = tasks.generator(seed, f"init {name}", 0)
                weight.copy_(torch.randn(weight.shape, generator=source) * weight.shape[-1] ** -0.5)
        self.setup()

    def forward(self, inputs, start_at_layer=None, stop_at_layer=None):
        start, stop = layer_range(start_at_layer, stop_at_layer, len(self.blocks))
        if start is None:
            x = self.hook_embed(self.W_E[inputs] + self.W_pos[: inputs.shape[1]])
        else:
            x = residual(inputs, self.config.d_model)
        for block in self.blocks[start:stop]:
            x = block(x)
        return x if stop is not None else x @ self.W_U


@tasks.register("previous-token")
class PreviousToken(tasks.Task):
    """Say the token before; position 0 is not asked."""

    score_name = "accuracy"
    n: int = 6
    vocabulary: int = 5

    @property
    def interface(self):
        return tasks.Interface(
            inputs="token", d_vocab=self.vocabulary, n_ctx=self.n, d_out=self.vocabulary,
            output_positions=range(1, self.n),
        )  # fmt: skip

    @property
    def pair_kinds(self):
        return ("one token",)

    def sample(self, seed, stream, step, batch):
        source = tasks.generator(seed, stream, step)
        inputs = torch.randint(self.vocabulary, (batch, self.n), generator=source)
        return tasks.Batch(inputs, inputs[:, :-1])

    def loss(self, outputs, batch):
        return nn.functional.cross_entropy(outputs[:, 1:].transpose(1, 2), batch.targets, reduction="none")

    def score(self, outputs, batch):
        return (outputs[:, 1:].argmax(-1) == batch.targets).to(outputs.dtype)

    def pair(self, kind, seed, stream, step, batch):
        clean = self.sample(seed, stream, step, batch)
        inputs = clean.inputs.clone()
        inputs[:, 2] = (inputs[:, 2] + 1) % self.vocabulary
        return tasks.Pair(kind, clean, tasks.Batch(inputs, inputs[:, :-1]), inputs != clean.inputs)

    def relations(self, batch):
        rows = torch.arange(1, self.n).expand(len(batch), -1)
        return (tasks.Relation("token before", rows, rows - 1),)
