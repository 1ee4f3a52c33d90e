"""Attention of a base run's rows when one column of a block's input changes, without going through the other columns.

A row keeps its proportions among all other columns. With the log of their mass and their mean value held, a softmax
row's new output is a mixture: sigmoid(new score - log mass) of the new value, the rest of that mean. Linear and relu
rows add their new share to the sum of the others. Nothing is cancelled where a row attends to the changed column almost
alone: what it reads elsewhere is summed by itself for each row's strongest column.

`site` runs over changed runs, each with a column of its own; rows before it see nothing of it under a causal mask.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.causal.arithmetic import Mask
from interp.causal.base_layer import Layer, shared

Relative = Callable[[Layer, Tensor, Any], Tensor]
Vectors = Float[Tensor, "site batch head k"]


@dataclasses.dataclass(frozen=True)
class Others:
    """What rows read at all columns but one, for several such columns.

    `mass`: log of the summed exponentials of their scores (softmax); `z`: their mean value (softmax) or summed share,
    heads side by side.
    """

    mass: Float[Tensor, "column batch row head"]
    z: Float[Tensor, "column batch row inner"]


class OneColumn:
    """Attention of one block of a base run, ready for changes of one column.

    Changed keys come in a unit of scores that `natural` leads back from; `relative` gives what relative positions add.
    """

    def __init__(self, layer: Layer, mask: Mask, natural: float, relative: Relative):
        self.layer, self.mask, self.natural, self.relative = layer, mask, natural, relative
        q = layer.q.transpose(1, 2) * natural
        self.q, self.v = q.flatten(2), layer.v.transpose(1, 2).contiguous()
        heads, width = q.shape[2:]
        self.each = torch.eye(heads, dtype=q.dtype, device=q.device)[:, None]  # [head, 1, head]
        self.wide = self.each[:, 0].repeat_interleave(width, dim=1)  # [head, inner]
        self._last: tuple[list[int], Any, Others] | None = None

    @functools.cached_property
    def _strongest(self) -> tuple[Int[Tensor, "batch row head"], Float[Tensor, "batch row head k"]]:
        """Each row's strongest column, and the mean value of all its others."""
        scores = self.layer.scores + self.mask.bias
        top = scores.argmax(-1)
        scores.scatter_(-1, top[..., None], -torch.inf)
        # a row that sees a single column has no others, hence no mean (NaN)
        z = scores.softmax(-1).nan_to_num() @ self.layer.v
        return top.transpose(1, 2), z.transpose(1, 2)

    @functools.cached_property
    def _mass(self) -> Float[Tensor, "pos batch row head"]:
        """For each column the log mass of all others."""
        scores = self.layer.scores + self.mask.bias
        whole, top = scores.logsumexp(-1, keepdim=True), scores.argmax(-1, keepdim=True)
        mass = whole + torch.log1p(-self.layer.pattern)
        alone = scores.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True)
        return mass.scatter_(-1, top, alone).permute(3, 0, 2, 1)

    def others(self, columns: list[int], rows: Any) -> Others:
        """What some rows read without each column; the last answer is held, since sites come by position."""
        if self._last is None or self._last[:2] != (columns, rows):
            self._last = (columns, rows, self._others(columns, rows))
        return self._last[2]

    def _others(self, columns: list[int], rows: Any) -> Others:
        weight = self.layer.pattern[:, :, rows][..., columns].permute(3, 0, 2, 1)
        share = weight[..., None] * self.v[:, columns].transpose(0, 1)[:, :, None]
        rest = self.layer.z[:, :, rows].transpose(1, 2) - share
        if self.mask.kind != "softmax":
            return Others(weight, rest.flatten(3))
        top, alone = (x[:, rows] for x in self._strongest)
        is_top = top == torch.tensor(columns, device=top.device)[:, None, None, None]
        z = torch.where(is_top[..., None], alone, rest / (1 - weight)[..., None])
        return Others(self._mass[columns][:, :, rows], z.flatten(3))

    def attend(
        self, columns: list[int], rows: Any, k: Vectors, v: Vectors
    ) -> Float[Tensor, "site batch row inner"]:
        """z of the rows, by their own queries, where each site has another key and another value at its column."""
        distinct = sorted(set(columns))
        others, place = self.others(distinct, rows), [distinct.index(c) for c in columns]
        if 1 < len(distinct) < len(columns):
            others = Others(others.mass[place], others.z[place])
        weight = self._weight(columns, rows, k, others.mass) @ self.wide
        mix = torch.lerp if self.mask.kind == "softmax" else torch.addcmul
        return mix(others.z, v.flatten(2)[:, :, None], weight)

    def _weight(
        self, columns: list[int], rows: Any, k: Vectors, mass: Float[Tensor, "_ batch row head"]
    ) -> Float[Tensor, "site batch row head"]:
        """Attention of the rows to the changed columns."""
        # one block a head, so that one product serves all heads
        keys = (k[..., None] * self.each).flatten(2, 3)
        scores = self.q[:, rows] @ keys
        if self.layer.block.attn.W_rel is not None:
            scores += self._relative[:, :, rows][..., columns].permute(3, 0, 2, 1)
        if self.mask.kind == "softmax":
            scores += self.mask.bias[rows][:, columns].T[:, None, :, None]
            return scores.sub_(mass).sigmoid_()
        if self.mask.kind == "relu":
            scores.relu_()
        return scores.mul_(self.mask.weight[rows][:, columns].T[:, None, :, None])

    @functools.cached_property
    def _relative(self) -> Float[Tensor, "batch head pos pos"]:
        """What relative positions add to the base run's scores."""
        return self.relative(self.layer, self.layer.q, slice(None))

    def own_rows(
        self, columns: list[int], q: Vectors, k: Vectors, v: Vectors
    ) -> Float[Tensor, "site batch inner"]:
        """z of the changed positions themselves, whose queries are new as well."""
        column = torch.tensor(columns, device=q.device)
        row = column[:, None, None, None]
        q, k, v = (x[:, :, :, None] for x in (q, k, v))
        scores = shared(q, self.layer.k)
        at = row[..., None].expand(*scores.shape[:-1], 1)
        scores.scatter_(-1, at, ((q * k).sum(-1) * self.natural)[..., None])
        if self.layer.block.attn.W_rel is not None:
            scores += self.relative(self.layer, q, row)
        pattern = self.mask.pattern(scores, row)
        change = v - self.layer.v[:, :, column].permute(2, 0, 1, 3)[:, :, :, None]
        return (shared(pattern, self.layer.v) + pattern.gather(-1, at) * change).flatten(2)
