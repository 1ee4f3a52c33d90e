"""The base run of some prompts, and its blocks run anew on the rows that a change reaches.

Owns the arithmetic of one block when some columns of its input (or some head's query, key, value, pattern or output)
are changed and all the rest is the base run's. With a causal
mask a change at one position reaches no row before it; the last block is run at the read positions only.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.base_layer import Layer, Stream, base_hooks, layer_of, part, span
from interp.causal.one_column import OneColumn
from interp.causal.row_attention import RowAttention
from interp.hooks.protocol import HookedModel

Columns = Float[Tensor, "site batch column d_model"]


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
        self.layers = [
            layer_of(model.blocks[i], i, self.cache, self.scale) for i in range(model.config.n_layers)
        ]
        with torch.no_grad():
            self.attention = [self._attention(layer) for layer in self.layers]
        self._alone: dict[int, OneColumn] = {}

    def _attention(self, layer: Layer) -> RowAttention:
        return RowAttention(
            layer.block.attn, self.mask, self.scale, layer.k.transpose(-1, -2) * self.scale, layer.v
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
            r, h = span(rows), span(heads)
            return value[:, r][:, :, h].transpose(1, 2) - layer.z[:, h][:, :, r]
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

    def enter(
        self, index: int, new: Float[Tensor, "site batch d_model"], columns: list[int], rows: list[int]
    ) -> Stream:
        """One block on the rows it can change, where each site changes one column of its input (`columns`) to `new`."""
        block = self.layers[index].block
        q, k, v = (x[:, :, :, 0] for x in self.attention[index].project(ar.norm(block.ln1, new)[:, :, None]))
        alone = self._alone_at(index)
        z = alone.attend(columns, rows, k, v)
        pre = part(self.layers[index].pre, rows).expand(len(new), -1, -1, -1)
        if own := [(site, rows.index(c)) for site, c in enumerate(columns) if c in set(rows)]:
            sites, places = (list(x) for x in zip(*own, strict=True))
            pre = pre.clone()
            pre[sites, :, places] = new[sites]
            z[sites, :, places] = alone.own_rows(
                [columns[s] for s in sites], *(x[span(sites)] for x in (q, k, v))
            )
        return self._onward(block, z, pre)

    def block(self, index: int, new: Columns, columns: list[int], rows: list[int]) -> Stream:
        """One block on the rows it can change: `new` is its input at `columns`, which run to the end, base before."""
        block, attention, first = self.layers[index].block, self.attention[index], columns[0]
        x, own = ar.norm(block.ln1, new), span([p - first for p in rows])
        if 2 * len(rows) < min(attention.width, len(columns)):
            z = attention.few(ar.project(block.attn, "q", x[:, :, own]), x, first, span(rows))
        else:
            q, k, v = attention.project(x)
            z = attention.attend(q[:, :, :, own], k, v, first, span(rows))
        return self._onward(block, z, new[:, :, own])

    def _onward(self, block: Any, z: Float[Tensor, "site batch row inner"], pre: Stream) -> Stream:
        """The stream after a block from its attention and what came in."""
        mid = torch.addmm(pre.flatten(0, 2), z.flatten(0, 2), block.attn.w_o).view(pre.shape)
        if block.attn.bias_o is not None:
            mid += block.attn.bias_o
        return ar.mlp(block, mid)

    def _alone_at(self, index: int) -> OneColumn:
        """A block's attention ready for changes of one column; made where it is first asked for."""
        if index not in self._alone:
            layer, attention = self.layers[index], self.attention[index]
            self._alone[index] = OneColumn(layer, self.mask, attention.natural, self._relative)
        return self._alone[index]

    def _relative(
        self,
        layer: Layer,
        q: Float[Tensor, "*lead head row k"],
        rows: Any,
        heads: Any = slice(None),
    ) -> Float[Tensor, "*lead head row pos"]:
        """What relative positions add to the scaled scores of these queries; zeros where there are none."""
        attn = layer.block.attn
        if attn.W_rel is None:
            return q.new_zeros(*q.shape[:-1], self.n_pos)
        return attn.relative(q, self.n_pos, rows, heads) / self.scale
