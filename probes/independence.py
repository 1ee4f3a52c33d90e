"""HSIC permutation test of independence between two paired samples, and Holm's correction of several p values.

HSIC is the covariance of two Gram matrices (Gaussian kernels of median width) over pairs of prompts: 0 where two
quantities are independent, above 0 for any dependence, linear or not, as prompts grow. Its null distribution is that of
the second sample in random order, exact at any size: p = (1 + permutations that reach it) / (1 + permutations).
Sources: Gretton et al. 2008, "A kernel statistical test of independence"; Holm 1979 for `holm`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.errors import UserError
from tasks.streams import generator

PERMUTATIONS = 999


def independence(
    x: Float[Tensor, "prompt m"],
    y: Float[Tensor, "same n"],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> tuple[float, float]:
    """HSIC of two samples as a share of its largest value (in [0, 1], at 0 for a sample that does not vary), and the
    p value of independence.

    Prompts have to be drawn independently of each other. Raises UserError for samples of unequal length, or fewer than
    4 prompts.
    """
    if len(x) != len(y) or len(x) < 4:
        raise UserError(
            f"independence needs two samples of the same 4 or more prompts, got {len(x)}, {len(y)}"
        )
    k, m = _centred(_gram(x.double())), _centred(_gram(y.double()))
    size = float(k.norm() * m.norm())
    if size == 0:
        return 0.0, 1.0
    found = float((k * m).sum())
    source = generator(seed, "permutations", 0)
    reached = 0
    for _ in range(permutations):
        order = torch.randperm(len(m), generator=source)
        reached += bool((k * m[order][:, order]).sum() >= found - 1e-12 * size)
    return found / size, (1 + reached) / (1 + permutations)


def _gram(x: Float[Tensor, "prompt m"]) -> Float[Tensor, "prompt prompt"]:
    """Gaussian kernel, its width the median distance of two different prompts."""
    square = torch.cdist(x, x).square()
    apart = square[square > 1e-24 * square.max().clamp_min(1e-300)]
    if not len(apart):
        return torch.ones_like(square)
    return torch.exp(-square / (2 * apart.median()))


def _centred(gram: Float[Tensor, "prompt prompt"]) -> Float[Tensor, "prompt prompt"]:
    return gram - gram.mean(0) - gram.mean(1, keepdim=True) + gram.mean()


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number, so that any false rejection at all has probability of at most the level.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p)), key=lambda i: p[i])
    corrected, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = highest
    return corrected
