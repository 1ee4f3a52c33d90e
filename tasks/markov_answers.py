"""Posterior of the next symbol of a Markov chain given its prompt, in closed form (float64).

For a context of c symbols and rows ~ Dirichlet(a, ..., a): P(j | prompt) = (n_j + a) / (n + k a), where n_j counts the
earlier places at which j followed the last c symbols (for c = 0: how often j occurred), n their sum. Where the prompt
is shorter than the context nothing is known, and every symbol is alike. Source: arXiv 2402.11004, sections 2 and 3.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

HELD = 2**24  # pairs of positions held at a time


def log_posterior(
    inputs: Int[Tensor, "batch pos"], context: int, symbols: int, concentration: float
) -> Float[Tensor, "batch pos symbol"]:
    """Log probability of every next symbol at every position, from this position's symbol and those before it."""
    most = max(1, HELD // inputs.shape[1] ** 2)
    if len(inputs) > most:
        parts = [log_posterior(some, context, symbols, concentration) for some in inputs.split(most)]
        return torch.cat(parts)
    shown = F.one_hot(inputs, symbols).double()
    counts = shown.cumsum(1) if context == 0 else _successors(inputs, context).double() @ shown
    total = counts.sum(-1, keepdim=True)
    return ((counts + concentration) / (total + symbols * concentration)).log()


def _successors(inputs: Int[Tensor, "batch pos"], context: int) -> Bool[Tensor, "batch row column"]:
    """Whether a column directly follows an earlier occurrence of the row's last `context` symbols."""
    length = inputs.shape[1]
    found = torch.ones(len(inputs), length, length, dtype=torch.bool, device=inputs.device).tril()
    found[:, : context - 1] = False
    found[:, :, :context] = False
    for back in range(context):  # the row's symbol `back` places ago against the column's, one further
        same = inputs[:, : length - back, None] == inputs[:, None, : length - back - 1]
        found[:, back:, back + 1 :] &= same
    return found


def same_context(
    inputs: Int[Tensor, "batch pos"], context: int
) -> tuple[Int[Tensor, "batch pair"], Int[Tensor, "batch pair"], Bool[Tensor, "batch pair"]]:
    """Rows, columns and whether they count: columns that follow an earlier occurrence of the row's context."""
    size, length = inputs.shape
    rows, columns = torch.tril_indices(length, length, device=inputs.device)
    valid = _successors(inputs, context)[:, rows, columns]
    kept = (columns >= context) & (rows >= context)
    rows, columns = rows[kept], columns[kept]
    return rows.expand(size, -1), columns.expand(size, -1), valid[:, kept]
