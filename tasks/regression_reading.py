"""Token labels of regression prompts, and the relations that head scores use (which position attends where)."""

from __future__ import annotations

import torch
from torch import Tensor

from tasks.base import Relation


def relations(n: int, merged: bool, size: int) -> tuple[Relation, ...]:
    """Pairing, query -> examples, and the previous token, of `size` prompts with n examples."""
    last = n if merged else 2 * n
    examples, query = torch.arange(n), torch.full((n,), last)
    found = [("previous token", torch.arange(1, last + 1), torch.arange(last))]
    if merged:
        found += [("query -> examples", query, examples)]
    else:
        found += [("y_i -> x_i", 2 * examples + 1, 2 * examples)]
        found += [("query -> x", query, 2 * examples), ("query -> y", query, 2 * examples + 1)]
        found += [("x -> earlier x", *_earlier(n, 0)), ("x -> earlier y", *_earlier(n, 1))]
    return tuple(Relation(name, d.expand(size, -1), s.expand(size, -1)) for name, d, s in found)


def token_names(n: int, merged: bool) -> list[str]:
    """ "x1,y1", ... with the query's blank when merged; else "x1", "y1", ..."""
    if merged:
        return [f"x{i + 1},y{i + 1}" for i in range(n)] + [f"x{n + 1},_"]
    return [f"{'xy'[p % 2]}{p // 2 + 1}" for p in range(2 * n + 1)]


def _earlier(n: int, offset: int) -> tuple[Tensor, Tensor]:
    """Positions of (x_t, token `offset` after x_s) for every s < t of an interleaved prompt."""
    later, before = torch.tril_indices(n + 1, n + 1, -1)
    return 2 * later, 2 * before + offset
