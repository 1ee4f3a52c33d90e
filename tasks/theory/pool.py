"""Bayes-optimal prediction when the function behind a prompt is one of a finite pool (dMMSE), in float64.

The prior is uniform over the pool's weight vectors w_1..w_M, labels are y_i = a_i.w + N(0, noise^2). After t examples
w_m has weight p_m proportional to exp(-sum_{i<=t} (y_i - a_i.w_m)^2 / (2 noise^2)); the answer at the next input is
a.sum_m p_m w_m, before the first example the pool's mean. Sums over the pool are carried as (largest exponent,
normaliser, numerator), so that nothing overflows and no more than a chunk of the pool is in memory at once.
Source: Raventos et al., arXiv 2306.15063, equation 3.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

HELD = 2**22  # numbers of one array: prompts x inputs x tasks held at a time
LEAST = 256  # tasks of a chunk: with fewer, prompts are split first


def pool_predictions(
    a: Float[Tensor, "batch pos d"],
    y: Float[Tensor, "batch pos"],
    pool: Float[Tensor, "task d"],
    noise: float,
) -> Float[Tensor, "batch pos"]:
    """The posterior-mean prediction at every position from the examples before it alone.

    `noise` is a standard deviation above 0. Memory is bounded whatever the pool's size.
    """
    batch, pos, _ = a.shape
    prompts = max(1, HELD // (pos * min(LEAST, len(pool))))
    if batch > prompts:
        parts = zip(a.split(prompts), y.split(prompts), strict=True)
        return torch.cat([pool_predictions(some, labels, pool, noise) for some, labels in parts])
    a, y, pool = a.double(), y.double(), pool.double()
    best = a.new_full((batch, pos), -torch.inf)
    total, weighted = torch.zeros_like(best), torch.zeros_like(best)
    for some in pool.split(max(1, HELD // (batch * pos))):
        guess = a @ some.T
        misfit = torch.zeros_like(guess)
        misfit[:, 1:] = ((y[:, :-1, None] - guess[:, :-1]) ** 2).cumsum(1) / (-2 * noise**2)
        top = torch.maximum(best, misfit.amax(-1))
        share = (misfit - top[..., None]).exp()
        shrink = (best - top).exp()
        total = total * shrink + share.sum(-1)
        weighted = weighted * shrink + (share * guess).sum(-1)
        best = top
    return weighted / total


def pool_weights(
    a: Float[Tensor, "batch example d"],
    y: Float[Tensor, "batch example"],
    pool: Float[Tensor, "task d"],
    noise: float,
) -> Float[Tensor, "batch d"]:
    """The posterior-mean weight vector after all of the examples: its product with the next input is the prediction.

    `noise` is a standard deviation above 0. Without examples it is the pool's mean. Memory is bounded as above.
    """
    batch, examples, _ = a.shape
    prompts = max(1, HELD // (max(examples, 1) * min(LEAST, len(pool))))
    if batch > prompts:
        parts = zip(a.split(prompts), y.split(prompts), strict=True)
        return torch.cat([pool_weights(some, labels, pool, noise) for some, labels in parts])
    a, y, pool = a.double(), y.double(), pool.double()
    best = a.new_full((batch, 1), -torch.inf)
    total, weighted = torch.zeros_like(best), a.new_zeros(batch, pool.shape[1])
    for some in pool.split(max(1, HELD // (batch * max(examples, 1)))):
        misfit = (y[..., None] - a @ some.T).square().sum(1) / (-2 * noise**2)
        top = torch.maximum(best, misfit.amax(-1, keepdim=True))
        share, shrink = (misfit - top).exp(), (best - top).exp()
        total = total * shrink + share.sum(-1, keepdim=True)
        weighted = weighted * shrink + share @ some
        best = top
    return weighted / total
