"""The functions that regression prompts are labelled by: linear, two-layer nets without biases, cubic, even,
linear in frozen features.

Owns how a function is drawn and the second moment of its values. Every family is symmetric (f and -f equally
likely), so the zero predictor is the best guess without examples, and all but "features" are rotation-invariant in
their argument. "features" is w'phi(a) with w ~ N(0, I) per prompt and phi one frozen ReLU net d-hidden-d, the same
in every prompt of a seed (the non-linear targets of Ahn et al. 2310.01082).
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from jaxtyping import Float
from scipy import integrate, stats
from torch import Tensor

from tasks.streams import generator

Target = Literal["linear", "relu", "tanh", "cubic", "even", "features"]


def frozen_net(seed: int, d: int, hidden: int) -> tuple[Float[Tensor, "unit d"], Float[Tensor, "d unit"]]:
    """U and V of phi(a) = V relu(U a): standard normal rows, V scaled so that E|phi|² is d on average."""
    gen = generator(seed, "frozen features", 0)
    return torch.randn(hidden, d, generator=gen), torch.randn(d, hidden, generator=gen) * (
        2 / (hidden * d)
    ) ** 0.5


def draw(
    gen: torch.Generator, target: Target, batch: int, d: int, hidden: int, frozen_seed: int = 0
) -> tuple[Float[Tensor, "batch unit d"], Float[Tensor, "batch unit"]]:
    """Standard normal first-layer rows (one for "linear" and "cubic") and second-layer weights (ones for
    those)."""
    if target in ("linear", "cubic"):
        return torch.randn(batch, 1, d, generator=gen), torch.ones(batch, 1)
    if target == "features":
        U, V = frozen_net(frozen_seed, d, hidden)
        return U.expand(batch, -1, -1), torch.randn(batch, d, generator=gen) @ V
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
        h = h.tanh() if target == "tanh" else h.relu()
    return torch.einsum("bpu,bu->bp", h, outer)


@functools.lru_cache(maxsize=64)
def second_moment(target: Target, d: int, length: float, hidden: int = 1, frozen_seed: int = 0) -> float:
    """E f(a)² over functions and a ~ N(0, length² I).

    Linear and ReLU: d·length² (E relu(z)² = 1/2, undone by the factor 2); cubic: d·length⁶ (E z⁶ = 15,
    E|a|⁶ = d(d+2)(d+4)·length⁶); even, sums of squares with random signs: d·length⁴ (2 E z⁴ = 6); tanh: 2 E
    tanh²(|a| z), by quadrature over |a| and z; features: of the frozen net of `hidden` units and `frozen_seed`, by
    the arc-cosine kernel (Cho and Saul 2009).
    """
    if target == "features":
        return _feature_moment(*frozen_net(frozen_seed, d, hidden)) * length**2
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


def _feature_moment(U: Float[Tensor, "unit d"], V: Float[Tensor, "d unit"]) -> float:
    """E|V relu(U a)|² for a ~ N(0, I): E relu(u'a) relu(v'a) = |u||v| (sin t + (pi - t) cos t) / 2 pi at angle t."""
    U, V = U.double(), V.double()
    norms = U.norm(dim=1)
    cosine = (U @ U.T / torch.outer(norms, norms)).clamp(-1, 1)
    angle = cosine.acos()
    kernel = torch.outer(norms, norms) * (angle.sin() + (math.pi - angle) * cosine) / (2 * math.pi)
    return float((V.T @ V * kernel).sum())
