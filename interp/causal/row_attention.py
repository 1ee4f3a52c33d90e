"""Attention of some rows to a block's positions, of which some columns are new and the rest a base run's.

Queries, keys and values come from one product. Softmax weights are powers of two and are normalised after the values
are summed, their sum being one more column of the values: a third of the time of a softmax between two products. Where
scores are too large for that (`MOST`), the softmax itself is taken. For few rows, keys and values of the new columns
are never formed: a query is carried through its head's key matrix and meets the stream itself, and the mean of the
stream is carried through the value matrix.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.arithmetic import Mask
from interp.causal.base_layer import shared

MOST = 80.0  # largest score, as a power of two, whose weights can be summed without being scaled first
LANES = 16  # columns of a product of many small matrices below which it is slower than with as many
Rows = Float[Tensor, "site batch head row k"]
Columns = Float[Tensor, "site batch head column k"]


class RowAttention:
    """The attention of one block; `k` and `v` are the base run's, `scale` divides scores."""

    def __init__(
        self,
        attn: Any,
        mask: Mask,
        scale: float,
        k: Float[Tensor, "batch head pos k"],
        v: Float[Tensor, "batch head pos k"],
    ):
        self.attn, self.mask, self.width = attn, mask, attn.width
        # times a score of here: the model's own score
        self.natural = math.log(2) if mask.kind == "softmax" else 1.0
        self.unit = 1 / (self.natural * scale)
        factors = {"q": 1.0, "k": self.unit, "v": 1.0}
        self.weight = torch.cat([getattr(attn, f"w_{name}") * by for name, by in factors.items()], 1)
        self.bias = None
        if attn.b_q is not None:
            self.bias = torch.cat([getattr(attn, f"b_{name}") * by for name, by in factors.items()])
        self.k, self.v = k * self.unit, v
        self._scores: Tensor | None = None
        self.extra = max(1, LANES - self.width)  # columns of ones and zeros beside the values

    def project(self, x: Float[Tensor, "site batch pos d_model"]) -> tuple[Columns, Columns, Columns]:
        """Queries, keys (in the unit that scores have here) and values of some positions."""
        flat = x.flatten(0, 2)
        out = flat @ self.weight if self.bias is None else torch.addmm(self.bias, flat, self.weight)
        q, k, v = out.view(*x.shape[:3], 3, self.attn.heads, self.width).permute(3, 0, 1, 4, 2, 5).unbind(0)
        return q, k, v

    def attend(
        self, q: Rows, k: Columns, v: Columns, first: int, rows: Any
    ) -> Float[Tensor, "site batch row inner"]:
        """z of the rows `rows` with queries `q`, where columns from `first` on have keys `k` and values `v`."""
        scores = self._products(q, self._filled(self.k, k, first))
        if self.attn.W_rel is not None:
            scores += self.attn.relative(q, scores.shape[-1], rows) * self.unit
        if self.mask.kind != "softmax":
            z = self.mask.pattern(scores, rows) @ self._filled(self.v, v, first)
        else:
            z = self._softmax_mean(scores, self._filled(self.v, v, first, self.extra), rows)
        return z.transpose(2, 3).flatten(3)

    def _products(self, q: Rows, k: Columns) -> Float[Tensor, "site batch head row column"]:
        """q k', in memory that is used again: a fresh array of this size costs as much as what is written into it."""
        shape = (*q.shape[:4], k.shape[3])
        if self._scores is None or self._scores.numel() < math.prod(shape):
            self._scores = q.new_empty(math.prod(shape))
        out = self._scores[: math.prod(shape)].view(-1, *shape[3:])
        torch.bmm(q.flatten(0, 2), k.flatten(0, 2).transpose(1, 2), out=out)
        return out.view(shape)

    def _softmax_mean(
        self, scores: Float[Tensor, "*lead row pos"], values: Float[Tensor, "*lead pos packed"], rows: Any
    ) -> Float[Tensor, "*lead row k"]:
        """Mean of the values by scores that are powers of two; the values' column behind their width is 1."""
        low, high = torch.aminmax(scores)
        if float(low) > -MOST and float(high) < MOST:  # false for NaN
            weights = scores.exp2_().mul_(self.mask.seen[rows])
        else:
            weights = self.mask.pattern(scores.mul_(self.natural), rows)
        z = weights @ values
        return z[..., : self.width] / z[..., self.width, None]

    def _filled(
        self, base: Float[Tensor, "batch head pos k"], new: Columns, first: int, extra: int = 0
    ) -> Float[Tensor, "site batch head pos packed"]:
        """The base run's keys or values with new ones from `first` on; `extra` columns, a 1 and zeros, behind them."""
        width, end = base.shape[-1], first + new.shape[-2]
        out = new.new_empty(*new.shape[:3], base.shape[-2], width + extra)
        out[..., :first, :width], out[..., end:, :width] = base[..., :first, :], base[..., end:, :]
        out[..., first:end, :width] = new
        if extra:
            out[..., width], out[..., width + 1 :] = 1.0, 0.0
        return out

    def few(
        self,
        q: Rows,
        x: Float[Tensor, "site batch column d_model"],
        first: int,
        rows: Any,
    ) -> Float[Tensor, "site batch row inner"]:
        """The same for few rows, from the normalised stream of the new columns, which run to the end."""
        attn, shape = self.attn, (*q.shape[:4], -1)
        onto = torch.einsum("nbhrk,hdk->nbhrd", q, attn.W_K * self.unit)
        new = (onto.flatten(2, 3) @ x.transpose(-1, -2)).view(shape)
        if attn.b_k is not None:
            new += torch.einsum("nbhrk,hk->nbhr", q, attn.b_K * self.unit)[..., None]
        scores = torch.cat([shared(q, self.k[:, :, :first].transpose(-1, -2)), new], -1)
        if attn.W_rel is not None:
            scores += attn.relative(q, scores.shape[-1], rows) * self.unit
        pattern = self.mask.pattern(scores.mul_(self.natural), rows)
        recent = pattern[..., first:]
        mean = (recent.flatten(2, 3) @ x).view(shape)
        z = torch.einsum("nbhrd,hdk->nbhrk", mean, attn.W_V)
        z += shared(pattern[..., :first], self.v[:, :, :first])
        if attn.b_v is not None:
            z += recent.sum(-1, keepdim=True) * attn.b_V[:, None]
        return z.transpose(2, 3).flatten(3)
