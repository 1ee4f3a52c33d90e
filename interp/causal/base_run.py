"""The base run of some prompts, and its blocks run anew on the rows that a change reaches.

Owns what the base run keeps of every block, and the arithmetic of one block when some columns of its input (or
some head's query, key, value, pattern or output) are changed and all the rest is the base run's. With a causal
mask a change at one position reaches no row before it; the last block is run at the read positions only.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.hooks.protocol import HookedModel

Stream = Float[Tensor, "site batch row d_model"]
Columns = Float[Tensor, "site batch column d_model"]


@dataclasses.dataclass(frozen=True)
class Layer:
    """What the base run holds of one block. `after_attn` is the stream between attention and MLP; keys are
    divided by the score scale.
    """

    block: Any
    pre: Float[Tensor, "batch pos d_model"]
    q: Float[Tensor, "batch head pos k"]
    k: Float[Tensor, "batch head k pos"]
    v: Float[Tensor, "batch head pos k"]
    z: Float[Tensor, "batch head pos k"]
    pattern: Float[Tensor, "batch head pos pos"]
    scores: Float[Tensor, "batch head pos pos"]
    after_attn: Float[Tensor, "batch pos d_model"]
    post: Float[Tensor, "batch pos d_model"]


def base_hooks(model: HookedModel) -> list[str]:
    """Activations of the base run that the engine needs."""
    names = []
    for layer in range(model.config.n_layers):
        stem = f"blocks.{layer}."
        names += [stem + "hook_resid_pre", stem + "hook_attn_out", stem + "hook_resid_post"]
        names += [f"{stem}attn.hook_{part}" for part in ("q", "k", "v", "z", "pattern", "attn_scores")]
        if model.blocks[layer].mlp is not None:
            names += [stem + "hook_resid_mid", stem + "mlp.hook_pre", stem + "hook_mlp_out"]
    return names


class BaseRun:
    """The base run of `inputs`; `output_positions` are the positions, increasing, whose outputs count."""

    def __init__(
        self, model: HookedModel, inputs: Num[Tensor, "batch pos *token"], output_positions: list[int]
    ):
        self.model, self.output_positions = model, output_positions
        with torch.no_grad():
            self.outputs, self.cache = model.run_with_cache(
                inputs, names_filter=base_hooks(model), return_cache_object=False
            )
        self.batch, self.n_pos = inputs.shape[:2]
        self.causal = model.config.mask == "causal"
        self.mask = ar.Mask.of(model.config, self.n_pos, self.outputs)
        self.scale = ar.score_scale(model.config)
        self.layers = [self._layer(i) for i in range(model.config.n_layers)]

    def _layer(self, index: int) -> Layer:
        stem = f"blocks.{index}."

        def get(name: str) -> Tensor:
            return self.cache[stem + name]

        pre = get("hook_resid_pre")
        return Layer(
            self.model.blocks[index],
            pre,
            get("attn.hook_q").transpose(1, 2).contiguous(),
            get("attn.hook_k").permute(0, 2, 3, 1).contiguous().div_(self.scale),
            get("attn.hook_v").transpose(1, 2).contiguous(),
            get("attn.hook_z").transpose(1, 2),
            get("attn.hook_pattern"),
            get("attn.hook_attn_scores"),
            pre + get("hook_attn_out"),
            get("hook_resid_post"),
        )

    def rows(self, index: int, first: int) -> list[int]:
        """The rows that block `index` can change and somebody later looks at."""
        start = first if self.causal else 0
        if index == len(self.layers) - 1:
            return [p for p in self.output_positions if p >= start]
        return list(range(start, self.n_pos))

    def head_change(
        self, layer: Layer, part: str, value: Tensor, heads: list[int], columns: list[int], rows: list[int]
    ) -> Float[Tensor, "batch head row k"]:
        """Change of z of some heads at some rows, when q, k, v, z, scores or pattern take a new value at
        `columns`.
        """
        if part == "z":
            return value[:, rows][:, :, heads].transpose(1, 2) - layer.z[:, heads][:, :, rows]
        v, base = layer.v[:, heads], layer.pattern[:, heads][:, :, rows]
        if part == "v":
            change = value[:, columns][:, :, heads].transpose(1, 2) - v[:, :, columns]
            return base[..., columns] @ change
        if part == "pattern":
            return (value[:, heads][:, :, rows] - base) @ v
        if part == "attn_scores":
            scores = value[:, heads][:, :, rows].clone()
        elif part == "q":
            queries = value[:, rows][:, :, heads].transpose(1, 2)
            scores = queries @ layer.k[:, heads] + self._relative(layer, queries, rows, heads)
        else:
            scores = layer.scores[:, heads][:, :, rows].clone()
            keys = value[:, columns][:, :, heads].permute(0, 2, 3, 1)
            queries = layer.q[:, heads][:, :, rows]
            scores[..., columns] = queries @ keys / self.scale
            scores[..., columns] += self._relative(layer, queries, rows, heads)[..., columns]
        return (self.mask.pattern(scores, rows) - base) @ v

    def block(self, index: int, new: Columns, columns: list[int], rows: list[int]) -> Stream:
        """One block on the rows it can change: `new` is its input at `columns`, base everywhere else."""
        layer = self.layers[index]
        attn = layer.block.attn
        x = ar.norm(layer.block.ln1, new)
        k, v = ar.project(attn, "k", x).div_(self.scale).transpose(-1, -2), ar.project(attn, "v", x)
        q, pre = self._queries(layer, new, x, columns, rows)
        a, b = columns[0], columns[-1] + 1
        scores = _scores(q, k, layer.k, a, b)
        if attn.W_rel is not None:
            scores += self._relative(layer, q, rows)
        pattern = self.mask.pattern(scores, rows)
        z = pattern[..., a:b] @ v
        if a > 0:
            z += _shared(pattern[..., :a], layer.v[:, :, :a])
        if b < self.n_pos:
            z += _shared(pattern[..., b:], layer.v[:, :, b:])
        out = z.transpose(2, 3).flatten(3) @ attn.w_o
        if attn.bias_o is not None:
            out += attn.bias_o
        return ar.mlp(layer.block, out.add_(pre))

    def _relative(
        self,
        layer: Layer,
        q: Float[Tensor, "*lead head row k"],
        rows: list[int],
        heads: Any = slice(None),
    ) -> Float[Tensor, "*lead head row pos"]:
        """What relative positions add to the scaled scores of these queries; zeros where there are none."""
        attn = layer.block.attn
        if attn.W_rel is None:
            return q.new_zeros(*q.shape[:-1], self.n_pos)
        return attn.relative(q, self.n_pos, rows, heads) / self.scale

    def _queries(
        self, layer: Layer, new: Columns, x: Columns, columns: list[int], rows: list[int]
    ) -> tuple[Float[Tensor, "site batch head row k"], Stream]:
        """Queries and incoming stream at the rows: from the changed columns where they are rows, else from
        the base.
        """
        attn = layer.block.attn
        if rows == columns:
            return ar.project(attn, "q", x), new
        place = {p: i for i, p in enumerate(columns)}
        both = [(r, place[p]) for r, p in enumerate(rows) if p in place]
        if len(both) == len(rows):
            picked = [i for _, i in both]
            return ar.project(attn, "q", x[:, :, picked]), new[:, :, picked]
        q = part(layer.q.transpose(1, 2), rows).transpose(1, 2).expand(len(new), -1, -1, -1, -1)
        pre = part(layer.pre, rows).expand(len(new), -1, -1, -1)
        if both:
            q, pre = q.clone(), pre.clone()
            into, picked = [r for r, _ in both], [i for _, i in both]
            q[:, :, :, into] = ar.project(attn, "q", x[:, :, picked])
            pre[:, :, into] = new[:, :, picked]
        return q, pre

    def last_block(self, new: Float[Tensor, "site batch d_model"], columns: Int[Tensor, "site"]) -> Stream:
        """The last block on the read rows where each site changes one column of its input, all at once."""
        layer = self.layers[-1]
        attn = layer.block.attn
        x = ar.norm(layer.block.ln1, new)
        k, v = (ar.project(attn, name, x[:, :, None]).squeeze(3) for name in "kv")
        q = layer.q[:, :, self.output_positions]
        new = torch.einsum("bhrk,nbhk->nbhr", q, k)
        scores = layer.scores[:, :, self.output_positions].expand(len(new), -1, -1, -1, -1).clone()
        index = columns[:, None, None, None, None].expand(*new.shape, 1)
        new = new / self.scale
        if attn.W_rel is not None:
            new += self._relative(layer, q, self.output_positions)[..., columns].permute(3, 0, 1, 2)
        scores.scatter_(-1, index, new[..., None])
        pattern = self.mask.pattern(scores, self.output_positions)
        z = _shared(pattern, layer.v)
        weight = pattern.gather(-1, index)
        z += weight * (v - layer.v[:, :, columns].permute(2, 0, 1, 3))[:, :, :, None]
        out = z.transpose(2, 3).flatten(3) @ attn.w_o
        if attn.bias_o is not None:
            out += attn.bias_o
        return ar.mlp(layer.block, out + layer.pre[:, self.output_positions])


def part(x: Float[Tensor, "batch pos *rest"], positions: list[int]) -> Float[Tensor, "batch row *rest"]:
    """Some consecutive or scattered positions; a view where they are consecutive."""
    if positions == list(range(positions[0], positions[0] + len(positions))):
        return x[:, positions[0] : positions[0] + len(positions)]
    return x[:, positions]


def _scores(
    q: Float[Tensor, "site batch head row k"],
    k: Float[Tensor, "site batch head k column"],
    base: Float[Tensor, "batch head k pos"],
    a: int,
    b: int,
) -> Float[Tensor, "site batch head row pos"]:
    """Scores against new keys at columns a..b and the base run's elsewhere."""
    n_pos = base.shape[-1]
    if b - a == n_pos:
        return q @ k
    scores = torch.empty(*q.shape[:-1], n_pos, dtype=q.dtype, device=q.device)
    scores[..., a:b] = q @ k
    if a > 0:
        scores[..., :a] = _shared(q, base[..., :a])
    if b < n_pos:
        scores[..., b:] = _shared(q, base[..., b:])
    return scores


def _shared(
    x: Float[Tensor, "site batch head row m"], y: Float[Tensor, "batch head m c"]
) -> Float[Tensor, "site batch head row c"]:
    """x @ y with y shared by the sites: their rows are laid side by side instead of repeating y."""
    if len(x) == 1:
        return (x[0] @ y)[None]
    n, batch, head, row, m = x.shape
    flat = x.permute(1, 2, 0, 3, 4).reshape(batch, head, n * row, m)
    return (flat @ y).unflatten(2, (n, row)).permute(2, 0, 1, 3, 4)
