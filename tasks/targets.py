"""The functions that regression prompts are labelled by: linear, two-layer nets without biases, cubic, even.

Owns how a function is drawn and the second moment of its values. Every family is symmetric (f and -f equally
likely) and rotation-invariant in its argument, so the zero predictor is the best guess without examples.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from jaxtyping import Float
from scipy import integrate, stats
from torch import Tensor

Target = Literal["linear", "relu", "tanh", "cubic", "even"]


def draw(
    gen: torch.Generator, target: Target, batch: int, d: int, hidden: int
) -> tuple[Float[Tensor, "batch unit d"], Float[Tensor, "batch unit"]]:
    """Standard normal first-layer rows (one for "linear" and "cubic") and second-layer weights (ones for
    those)."""
    if target in ("linear", "cubic"):
        return torch.randn(batch, 1, d, generator=gen), torch.ones(batch, 1)
    rows = torch.randn(batch, hidden, d, generator=gen)
    return rows, torch.randn(batch, hidden, generator=gen) * (2 / hidden) ** 0.5


def values(
    target: Target,
    a: Float[Tensor, "batch pos d"],
    rows: Float[Tensor, "batch unit d"],
    outer: Float[Tensor, "batch unit"],
) -> Float[Tensor, "batch pos"]:
    """f(a) for every prompt's own f; the cubic is scaled so that for a ~ N(0, I) E f² = d, as for the linear
    one."""
    h = torch.einsum("bpd,bud->bpu", a, rows)
    d = a.shape[-1]
    if target == "cubic":
        h = h**3 / (15 * (d + 2) * (d + 4)) ** 0.5
    elif target == "even":
        h = h**2 / (6 * (d + 2)) ** 0.5
    elif target != "linear":
        h = h.relu() if target == "relu" else h.tanh()
    return torch.einsum("bpu,bu->bp", h, outer)


@functools.lru_cache(maxsize=64)
def second_moment(target: Target, d: int, length: float) -> float:
    """E f(a)² over functions and a ~ N(0, length² I).

    Linear and ReLU: d·length² (E relu(z)² = 1/2, undone by the factor 2); cubic: d·length⁶ (E z⁶ = 15,
    E|a|⁶ = d(d+2)(d+4)·length⁶); even, sums of squares with random signs: d·length⁴ (2 E z⁴ = 6); tanh: 2 E
    tanh²(|a| z), by quadrature over |a| and z.
    """
    if target in ("linear", "relu"):
        return d * length**2
    if target == "cubic":
        return d * length**6
    if target == "even":
        return d * length**4

    def inner(radius: float) -> float:
        def density(z: float) -> float:
            return math.tanh(radius * z) ** 2 * math.exp(-z * z / 2)

        return 4 / math.sqrt(2 * math.pi) * integrate.quad(density, 0, 10)[0]

    # |a| = length·chi_d; ten standard deviations either side hold all of it
    low, high = max(0.0, d**0.5 - 8), d**0.5 + 8
    return integrate.quad(lambda r: inner(length * r) * float(stats.chi.pdf(r, d)), low, high)[0]
