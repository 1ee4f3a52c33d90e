"""Random draws of Markov chains: transition matrices, their stationary distribution, runs of a chain, corrupt
counterparts.

States of order 1 are symbols; of order 2 pairs (before last, last), numbered first * symbols + second. Matrices are
float64; a row is the distribution of the next symbol.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-300  # a Gamma draw of a small concentration may underflow to 0


def transition_matrices(
    gen: torch.Generator, batch: int, states: int, symbols: int, concentration: float
) -> Float[Tensor, "batch state symbol"]:
    """Rows ~ Dirichlet(concentration, ..., concentration), independent."""
    shape = (batch, states, symbols)
    if concentration == 1:
        weight = torch.empty(shape, dtype=torch.float64).exponential_(generator=gen)
    else:
        shape_of_row = torch.full(shape, concentration, dtype=torch.float64)
        weight = torch.ops.aten._standard_gamma(shape_of_row, gen)
    weight = weight.clamp_min(TINY)
    return weight / weight.sum(-1, keepdim=True)


def stationary(matrix: Float[Tensor, "batch state symbol"], order: int) -> Float[Tensor, "batch state"]:
    """The distribution over states that a step of the chain leaves as it is.

    Solves pi (P - I) = 0 with sum(pi) = 1 in place of the last, redundant, equation.
    """
    batch, states, symbols = matrix.shape
    if order == 1:
        step = matrix
    else:  # (g, h) -> (h, j)
        step = matrix.new_zeros(batch, symbols, symbols, symbols, symbols)
        rows = matrix.unflatten(1, (symbols, symbols))
        for h in range(symbols):
            step[:, :, h, h] = rows[:, :, h]
        step = step.reshape(batch, states, states)
    system = (step - torch.eye(states, dtype=step.dtype)).transpose(1, 2).clone()
    system[:, -1] = 1.0
    wanted = F.one_hot(torch.tensor(states - 1), states).to(step).expand(batch, -1)
    return torch.linalg.solve(system, wanted).clamp_min(0)


def run_chain(
    gen: torch.Generator,
    matrix: Float[Tensor, "batch state symbol"],
    first: Float[Tensor, "batch state"],
    order: int,
    count: int,
) -> Int[Tensor, "batch pos"]:
    """`count` symbols of each chain; the first state is drawn with weights `first`."""
    batch, states, symbols = matrix.shape
    u = torch.rand(batch, count, dtype=torch.float64, generator=gen)
    steps, rows = matrix.cumsum(-1)[..., :-1], torch.arange(batch)
    start = first.cumsum(-1) / first.sum(-1, keepdim=True)
    state = (start[:, :-1] <= u[:, :1]).sum(1)
    found = [state] if order == 1 else [state // symbols, state % symbols]
    for t in range(order, count):
        symbol = (steps[rows, state] <= u[:, t : t + 1]).sum(1)
        found.append(symbol)
        state = (state * symbols + symbol) % states
    return torch.stack(found, dim=1)


def transition_replaced(
    gen: torch.Generator, inputs: Int[Tensor, "batch pos"], symbols: int
) -> Int[Tensor, "batch pos"]:
    """One token after an earlier occurrence of the last symbol (any but the ends, where there is none) replaced."""
    batch, length = inputs.shape
    after = torch.zeros_like(inputs, dtype=torch.bool)
    after[:, 1:-1] = inputs[:, :-2] == inputs[:, -1:]
    anywhere = torch.ones_like(after)
    anywhere[:, [0, -1]] = False
    choice = torch.where(after.any(1, keepdim=True), after, anywhere)
    at = (torch.rand(batch, length, generator=gen) * choice).argmax(1, keepdim=True)
    other = torch.randint(1, symbols, (batch, 1), generator=gen)
    return inputs.scatter(1, at, (inputs.gather(1, at) + other) % symbols)


def row_swapped(
    gen: torch.Generator, inputs: Int[Tensor, "batch pos"], symbols: int
) -> Int[Tensor, "batch pos"]:
    """Two symbols, other than the last one, exchanged wherever they follow it: the commonest successor and a random
    other one."""
    last = inputs[:, -1:]
    follows = torch.zeros_like(inputs, dtype=torch.bool)
    follows[:, 1:] = inputs[:, :-1] == last
    counts = (F.one_hot(inputs, symbols) * follows[..., None]).sum(1)
    weight = counts.scatter(1, last, -1)
    first = weight.argmax(1, keepdim=True)
    lottery = torch.rand(len(inputs), symbols, generator=gen).scatter(1, torch.cat([last, first], 1), -1.0)
    second = lottery.argmax(1, keepdim=True)
    swapped = torch.where(inputs == first, second, torch.where(inputs == second, first, inputs))
    return torch.where(follows, swapped, inputs)
