"""Planted ground truth: a pseudo-model whose readouts contain a chosen iterate, for testing probes.

Owns: activations in which layer l holds iterate k_l in a random direction among noise, and noisy outputs at
probe queries. The noise variance is a stated share of the iterate's own prediction variance, drawn afresh at
each query.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems


@dataclasses.dataclass(frozen=True)
class Prompts:
    """Examples, labels and probe queries (queries from the distribution of the examples)."""

    x: Float[Tensor, "prompt point d"]
    y: Float[Tensor, "prompt point"]
    queries: Float[Tensor, "prompt query d"]


def prompts(
    eigenvalues: Sequence[float], n: int, count: int, queries: int, noise: float, gen: torch.Generator
) -> Prompts:
    """Linear regression prompts, x ~ N(0, diag(eigenvalues)), w ~ N(0, I), label noise of standard deviation
    `noise`.
    """
    d = len(eigenvalues)
    scale = torch.tensor(list(eigenvalues), dtype=torch.float64).sqrt()

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=gen, dtype=torch.float64)

    x = draw(count, n + 1, d) * scale
    y = (x @ draw(count, d, 1))[..., 0] + noise * draw(count, n + 1)
    return Prompts(x, y, draw(count, queries, d) * scale)


def outputs(
    problems: Problems,
    algorithm: Algorithm,
    queries: Float[Tensor, "prompt query d"],
    noise_share: float,
    gen: torch.Generator,
) -> Float[Tensor, "prompt query"]:
    """Predictions of one iterate at probe queries, plus noise of `noise_share` of their variance."""
    w = algorithms.weights(problems, [algorithm])[0, :, 0]
    clean = (queries.double() @ w[..., None])[..., 0]
    noise = torch.randn(clean.shape, generator=gen, dtype=torch.float64)
    return clean + noise * (noise_share * clean.var()).sqrt()


def activations(
    problems: Problems,
    layers: Sequence[Algorithm],
    directions: Float[Tensor, "layer width"],
    noise_share: float,
    gen: torch.Generator,
) -> dict[str, Float[Tensor, "prompt context width"]]:
    """A residual stream: layer l is its iterate's prediction times its direction, plus isotropic noise.

    A readout along the direction has noise of `noise_share` of the prediction's variance.
    """
    found = {}
    for i, clean in enumerate(algorithms.predictions(problems, layers)):
        noise = torch.randn(*clean.shape, directions.shape[1], generator=gen, dtype=torch.float64)
        direction = directions[i] / directions[i].norm()
        size = (noise_share * clean.var()).sqrt()
        found[f"blocks.{i}.hook_resid_post"] = clean[..., None] * direction + noise * size
    return found
