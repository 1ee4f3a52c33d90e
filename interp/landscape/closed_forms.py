"""Learning coefficients that are proven: reduced-rank regression and deep linear nets, where the truth has a rank.

What `interp.landscape.llc` estimates, at the weights where it is least, as n grows, gamma vanishes beside n beta and
the step vanishes. Units: effective parameters; at most half the number of weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from tasks import UserError


def reduced_rank_regression(inputs: int, hidden: int, outputs: int, rank: int) -> float:
    """Coefficient of y = B A x + normal noise, A hidden x inputs, B outputs x hidden, where the true B A has a rank.

    >>> reduced_rank_regression(3, 2, 3, 1)
    3.5

    Raises UserError unless 0 <= rank <= each of the widths. Source: Aoyagi and Watanabe 2005, Neural Networks 18, 924.
    """
    M, H, N, r = inputs, hidden, outputs, rank
    _refuse([M, H, N], r)
    if N + r > M + H:
        return (H * M - H * r + N * r) / 2
    if M + r > N + H:
        return (H * N - H * r + M * r) / 2
    if H + r > M + N:
        return M * N / 2
    odd = (M + H + N + r) % 2
    return (-((H + r) ** 2) - M**2 - N**2 + 2 * (H + r) * (M + N) + 2 * M * N + odd) / 8


def deep_linear(widths: Sequence[int], rank: int) -> float:
    """Coefficient of a product of matrices, `widths` from inputs to outputs, where the true product has a rank.

    >>> deep_linear([3, 2, 3], 1)
    3.5

    Raises UserError unless there are two widths and 0 <= rank <= each of them. Source: Aoyagi 2024, Neural Networks
    172, 106132, as restated by Lau et al. (arXiv 2308.12108, theorem of the deep linear networks' coefficient).
    """
    if len(widths) < 2:
        raise UserError("a linear net needs the widths of its inputs and outputs at least")
    _refuse(widths, rank)
    spare = sorted(width - rank for width in widths)
    few = _bottleneck(spare)
    layers, total = len(few) - 1, sum(few)
    base = (-(rank**2) + rank * (widths[0] + widths[-1])) / 2
    over = total - (math.ceil(total / layers) - 1) * layers
    pairs = sum(a * b for a, b in combinations(few, 2))
    mean = total / layers
    return base + over * (layers - over) / (4 * layers) - layers * (layers - 1) / 4 * mean**2 + pairs / 2


def _bottleneck(spare: list[int]) -> list[int]:
    """The narrowest layers that decide (Aoyagi's set M), from sorted widths less the rank: the largest number of them,
    two at least, none of which is wider than the mean of those taken per layer between them.
    """
    found = spare[:2]
    for size in range(3, len(spare) + 1):
        if sum(spare[:size]) >= (size - 1) * spare[size - 1]:
            found = spare[:size]
    return found


def _refuse(widths: Sequence[int], rank: int) -> None:
    if rank < 0 or rank > min(widths):
        raise UserError(f"a product through widths {list(widths)} has no rank {rank}")
