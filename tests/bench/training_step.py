"""A training step of the hooked transformer against a plain torch one with fused attention.

The baseline has the same shapes, written as one would without hooks: one linear map for queries, keys and values,
`scaled_dot_product_attention`, `nn.LayerNorm`, `nn.Linear`. Both arms take the task's loss on the same batch, go
backward and step torch's Adam; data, evaluations and checkpoints are in neither.

    python -m tests.bench.table training-step
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from interp.config.model_transformer import TransformerConfig
from interp.config.run import RunConfig, configure
from interp.models import build_model
from interp.models.fused import fuse
from interp.train.optimisers import Optimisers
from tasks.base import Batch, Interface
from tasks.errors import UserError
from tests.bench.rows import Row, compare, flop_of

PAPER = {
    "model.n_layers": 12,
    "model.n_heads": 8,
    "model.d_model": 256,
    "task.d": 20,
    "task.n": 40,
}  # 2208.01066
ADAM = {"train.optimiser": "adam", "train.clip": 0.0, "train.warmup": 0, "train.decay": "none"}


def rows(quick: bool) -> list[Row]:
    """The presets `regression` and `retrieval`, and the published size of the first."""
    sizes = {
        "regression": configure("regression", changes=ADAM),
        "retrieval": configure("retrieval", changes=ADAM),
        "12 layers of 256": configure("regression", changes={**ADAM, **PAPER}),
    }
    if quick:
        sizes.pop("12 layers of 256")
    return [_row(name, config, 3 if quick else 9) for name, config in sizes.items()]


def _row(name: str, config: RunConfig, repeats: int) -> Row:
    batch = config.task.sample(0, "bench", 0, config.train.batch)
    project: Any = build_model(config.model, config.task.interface, 0)
    fuse(project)
    baseline = Plain(_transformer(config), config.task.interface)
    optimisers, adam = (
        Optimisers(project, config.train),
        torch.optim.Adam(baseline.parameters(), config.train.lr),
    )
    steps = max(1, 40 // _transformer(config).n_layers ** 2)

    def our_step() -> None:
        for _ in range(steps):
            _loss(project, config, batch).backward()
            optimisers.update(0)

    def baseline_step() -> None:
        for _ in range(steps):
            _loss(baseline, config, batch).backward()
            adam.step()
            adam.zero_grad(set_to_none=True)

    flop = flop_of(lambda: _loss(project, config, batch).backward()) * steps
    weights = [sum(p.numel() for p in model.parameters()) for model in (project, baseline)]
    return compare(
        f"training step, {name}", our_step, baseline_step, baseline_name="plain torch, SDPA",
        repeats=repeats, flop=flop, per=steps,
        note=f"batch {config.train.batch}; {weights[0]:,} and {weights[1]:,} weights",
    )  # fmt: skip


def _transformer(config: RunConfig) -> TransformerConfig:
    if not isinstance(config.model, TransformerConfig) or config.model.attention != "softmax":
        raise UserError("the plain baseline is a softmax transformer: choose such a model")
    return config.model


def _loss(model: Any, config: RunConfig, batch: Batch) -> Tensor:
    return config.task.loss(model(batch.inputs), batch).mean()


class Plain(nn.Module):
    """The same transformer without hooks."""

    kinds: Tensor

    def __init__(self, config: TransformerConfig, face: Interface):
        super().__init__()
        d = config.d_model
        self.tokens = _read_in(config, face)
        self.positions = nn.Embedding(face.n_ctx, d) if config.positions in ("learned", "both") else None
        types = config.positions in ("token_type", "both")
        self.types = nn.Embedding(max(face.token_types) + 1, d) if types else None
        self.register_buffer("kinds", torch.tensor(face.token_types))
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.n_layers))
        self.norm = _norm(config)
        self.head = nn.Linear(d, face.d_out, config.biases)

    def forward(self, inputs: Tensor) -> Float[Tensor, "batch pos d_out"]:
        x = self.tokens(inputs)
        if self.positions is not None:
            x = x + self.positions.weight[: x.shape[1]]
        if self.types is not None:
            x = x + self.types(self.kinds[: x.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class PlainBlock(nn.Module):
    """Pre-norm attention and, unless the model has none, an MLP."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        d = config.d_model
        self.heads, self.causal = config.n_heads, config.mask == "causal"
        self.norm_1, self.qkv, self.out = (
            _norm(config),
            nn.Linear(d, 3 * d, config.biases),
            nn.Linear(d, d, config.biases),
        )
        self.mlp = None
        if config.mlp != "none":
            hidden = config.mlp_width
            maps = (nn.Linear(d, hidden, config.biases), nn.GELU(), nn.Linear(hidden, d, config.biases))
            self.mlp = nn.Sequential(_norm(config), *maps)

    def forward(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        q, k, v = self.qkv(self.norm_1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x if self.mlp is None else x + self.mlp(x)


class Pairs(nn.Module):
    """Key and value tables, added."""

    def __init__(self, vocab: int, d_model: int):
        super().__init__()
        self.keys, self.values = nn.Embedding(vocab, d_model), nn.Embedding(vocab + 1, d_model)

    def forward(self, inputs: Tensor) -> Float[Tensor, "batch pos d_model"]:
        return self.keys(inputs[..., 0]) + self.values(inputs[..., 1])


def _read_in(config: TransformerConfig, face: Interface) -> nn.Module:
    if face.inputs == "continuous":
        return nn.Linear(face.d_in, config.d_model, config.biases)
    return (
        Pairs(face.d_vocab, config.d_model)
        if face.inputs == "pair"
        else nn.Embedding(face.d_vocab, config.d_model)
    )


def _norm(config: TransformerConfig) -> nn.Module:
    if config.layer_norm == "none":
        return nn.Identity()
    return nn.LayerNorm(config.d_model, elementwise_affine=config.layer_norm == "affine")
