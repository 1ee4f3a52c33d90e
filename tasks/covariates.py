"""Distribution of the x of a regression prompt: spectrum, eigenbasis and radius.

Convention: x = x_scale · Q diag(λ)^{1/2} r u with u uniform on the unit sphere, Q the eigenbasis, λ the
spectrum normalised to sum d, and r the law's radius: chi with d degrees of freedom ("normal": x is N(0, Σ) at
x_scale 1), 1 ("sphere": |x| is 1 when isotropic) or the square root of a Gamma draw ("gamma-sphere").
"""

from __future__ import annotations

import functools
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.streams import generator

Law = Literal["normal", "sphere", "gamma-sphere"]


def two_level(d: int, kappa: float) -> tuple[float, ...]:
    """d // 2 eigenvalues `kappa` times as large as the others, summing to d."""
    return normalised((kappa,) * (d // 2) + (1.0,) * (d - d // 2))


def normalised(eigenvalues: tuple[float, ...]) -> tuple[float, ...]:
    """The same spectrum scaled so that the eigenvalues sum to their number."""
    scale = len(eigenvalues) / sum(eigenvalues)
    return tuple(scale * value for value in eigenvalues)


def directions(
    gen: torch.Generator, shape: tuple[int, int, int], law: Law, gamma: tuple[float, float]
) -> Tensor:
    """r·u: draws before spectrum, basis and scale are applied. `gamma` is (shape, scale) of r² for
    "gamma-sphere"."""
    z = torch.randn(shape, generator=gen)
    if law == "normal":
        return z
    u = z / z.norm(dim=-1, keepdim=True)
    if law == "sphere":
        return u
    concentration, scale = gamma
    squared = torch.ops.aten._standard_gamma(torch.full((*shape[:2], 1), concentration), generator=gen)
    return u * (squared * scale).sqrt()


def squared_radius(d: int, law: Law, gamma: tuple[float, float]) -> float:
    """E r² of the radius distribution."""
    return {"normal": float(d), "sphere": 1.0, "gamma-sphere": gamma[0] * gamma[1]}[law]


def haar(gen: torch.Generator, batch: int, d: int) -> Float[Tensor, "batch d d"]:
    """Orthogonal matrices from the Haar measure (QR of a Gaussian matrix, signs fixed by R's diagonal)."""
    q, r = torch.linalg.qr(torch.randn(batch, d, d, generator=gen, dtype=torch.float64))
    return (q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]).float()


@functools.lru_cache(maxsize=8)
def fixed_basis(seed: int, d: int) -> Float[Tensor, "1 d d"]:
    """The basis drawn from `seed`; it belongs to the task, so that every stream and run shares it."""
    return haar(generator(seed, "eigenbasis", 0), 1, d)
