"""Attention of a base run's rows when one column of a block's input changes, without going through the other columns.

A row keeps its proportions among all other columns. With the log of their mass and their mean value held, a softmax
row's new output is a mixture: sigmoid(new score - log mass) of the new value, the rest of that mean. Linear and relu
rows add their new share to the sum of the others. The mean is the base run's output less what it read at the column,
over the others' share. Nothing is cancelled where a row attends to the changed column by more than half (`HALF`): what
it reads elsewhere is summed by itself there.

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
from interp.causal.base_layer import Layer, apart, shared, span
from interp.models.fused import softmax

HALF = 0.5  # weight of a column above which its others are summed by themselves
MANY = 4096  # such places that are summed at once
Relative = Callable[[Layer, Tensor, Any], Tensor]
Vectors = Float[Tensor, "site batch head k"]
Table = Float[Tensor, "column batch row head"]


@dataclasses.dataclass(frozen=True)
class Others:
    """What rows read at all columns but one, for several such columns.

    `mass`: log of the summed exponentials of their scores (softmax); `z`: their mean value (softmax) or summed share,
    heads side by side.
    """

    mass: Table
    z: Float[Tensor, "column batch row inner"]


@dataclasses.dataclass(frozen=True)
class Strong:
    """Rows that attend to one column by more than half: their places in a table, by column, the log mass of their
    other columns, and the mean value there.
    """

    places: tuple[Int[Tensor, "place"], ...]
    mass: Float[Tensor, "place"]
    mean: Float[Tensor, "place k"]
    ends: list[int]  # of each column's places

    def within(self, columns: list[int], rows: list[int]) -> tuple[slice, Tensor, tuple[Tensor, ...]]:
        """Those in some columns: where they are kept, which of them are in some rows, and their places from there."""
        some = slice(self.ends[min(columns) - 1] if min(columns) else 0, self.ends[max(columns)])
        column, batch, row, head = (x[some] for x in self.places)
        column, row = _index_in(columns, column), _index_in(rows, row)
        here = ((column >= 0) & (row >= 0)).nonzero()[:, 0]
        return some, here, (column[here], batch[here], row[here], head[here])


class OneColumn:
    """Attention of one block of a base run, ready for changes of one column.

    Changed keys come in a unit of scores that `natural` leads back from; `relative` gives what relative positions add.
    """

    def __init__(self, layer: Layer, mask: Mask, natural: float, relative: Relative):
        self.layer, self.mask, self.natural, self.relative = layer, mask, natural, relative
        q = layer.q.transpose(1, 2) * natural
        self.q, self.z = q.flatten(2), layer.z.transpose(1, 2).flatten(2)
        self.v = layer.v.transpose(1, 2).contiguous()
        heads, width = q.shape[2:]
        self.wide = torch.eye(heads, dtype=q.dtype, device=q.device).repeat_interleave(width, dim=1)
        self.weight: Table = layer.pattern.permute(3, 0, 2, 1).contiguous()
        self._last: tuple[list[int], list[int], Others] | None = None

    @functools.cached_property
    def _strong(self) -> Strong | None:
        """None where no row attends to a column by more than half."""
        places = (self.weight > HALF).nonzero(as_tuple=True)
        column, batch, row, head = places
        if not len(column):
            return None
        scores = self.layer.scores[batch, head, row] + self.mask.bias[row]
        scores.scatter_(1, column[:, None], -torch.inf)
        # a row that sees a single column has no others, hence no mean (NaN)
        weights = softmax(scores).nan_to_num_()
        parts = zip(*(x.split(MANY) for x in (weights, batch, head)), strict=True)
        mean = torch.cat([(w[:, None] @ self.layer.v[b, h])[:, 0] for w, b, h in parts])
        ends = torch.bincount(column, minlength=len(self.weight)).cumsum(0).tolist()
        return Strong(places, scores.logsumexp(-1), mean, ends)

    @functools.cached_property
    def _mass(self) -> Table:
        """For each column the log mass of all others."""
        largest = (self.layer.scores + self.mask.bias).amax(-1)
        # of all columns, from the weight of the largest score
        whole = (largest - self.layer.pattern.amax(-1).log_()).transpose(1, 2)
        mass = (1 - self.weight).log_().add_(whole)
        if self._strong is not None:
            mass[self._strong.places] = self._strong.mass
        return mass

    @functools.cached_property
    def _over(self) -> Table:
        """For each column one over the share of all others; 0 where that is less than half."""
        return (1 - self.weight).reciprocal_().masked_fill_(self.weight > HALF, 0.0)

    def others(self, columns: list[int], rows: list[int]) -> Others:
        """What some rows read without each column; the last answer is held, since sites come by position."""
        if self._last is None or self._last[:2] != (columns, rows):
            self._last = (columns, rows, self._others(columns, rows))
        return self._last[2]

    def _others(self, columns: list[int], rows: list[int]) -> Others:
        at, r = span(columns), span(rows)
        weight, old = self.weight[at][:, :, r], self.v[:, at].transpose(0, 1)
        z = self.z[:, r].expand(len(columns), -1, -1, -1)
        if self.mask.kind != "softmax":
            return Others(weight, z - weight @ apart(old))
        over = self._over[at][:, :, r]
        z = (over @ self.wide).mul_(z)
        z.flatten(0, 1).baddbmm_((weight * over).flatten(0, 1), apart(old).flatten(0, 1), alpha=-1)
        if self._strong is not None:
            some, here, places = self._strong.within(columns, rows)
            z.view(*weight.shape, -1)[places] = self._strong.mean[some][here]
        return Others(self._mass[at][:, :, r], z)

    def attend(
        self, columns: list[int], rows: list[int], k: Vectors, v: Vectors
    ) -> Float[Tensor, "site batch row inner"]:
        """z of the rows, by their own queries, where each site has another key and another value at its column."""
        distinct = sorted(set(columns))
        others, place = self.others(distinct, rows), [distinct.index(c) for c in columns]
        if 1 < len(distinct) < len(columns):
            others = Others(others.mass[place], others.z[place])
        weight = self._weight(columns, span(rows), k, others.mass) @ self.wide
        mix = torch.lerp if self.mask.kind == "softmax" else torch.addcmul
        return mix(others.z, v.flatten(2)[:, :, None], weight)

    def _weight(
        self, columns: list[int], rows: Any, k: Vectors, mass: Float[Tensor, "_ batch row head"]
    ) -> Float[Tensor, "site batch row head"]:
        """Attention of the rows to the changed columns."""
        scores = self.q[:, rows] @ apart(k).transpose(2, 3)
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
        return (shared(pattern, self.v.transpose(1, 2)) + pattern.gather(-1, at) * change).flatten(2)


def _index_in(some: list[int], x: Int[Tensor, "place"]) -> Int[Tensor, "place"]:
    """Where each number stands in an increasing list; -1 for one that is not there."""
    if some[-1] - some[0] == len(some) - 1:
        return torch.where((x >= some[0]) & (x <= some[-1]), x - some[0], -1)
    listed = torch.tensor(some, device=x.device)
    at = torch.searchsorted(listed, x).clamp_(max=len(some) - 1)
    return torch.where(listed[at] == x, at, -1)
