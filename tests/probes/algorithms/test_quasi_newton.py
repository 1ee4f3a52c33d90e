"""BFGS against a dense loop over weight vectors with the same line search, in the coordinates of x."""

from __future__ import annotations

import pytest
import torch

from probes.algorithms.iterates import Algorithm, weights
from probes.algorithms.problems import Problems

D, N = 4, 9


@pytest.fixture(scope="module")
def problems() -> Problems:
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(12, N + 1, D, generator=gen, dtype=torch.float64)
    return Problems.of(x, torch.randn(12, N, generator=gen, dtype=torch.float64), (0, 2, N))


def dense(s: torch.Tensor, b: torch.Tensor, steps: int) -> torch.Tensor:
    """The textbook update of a dense inverse Hessian."""
    w, inverse, eye = torch.zeros_like(b), torch.eye(len(b), dtype=b.dtype), torch.eye(len(b), dtype=b.dtype)
    for _ in range(steps):
        gradient = s @ w - b
        if gradient.norm() < 1e-14 * b.norm():
            break
        direction, length = -inverse @ gradient, 1.0
        while loss(s, b, w + length * direction) > loss(s, b, w) + 1e-4 * length * float(
            gradient @ direction
        ):
            length /= 2
        move = length * direction
        change = s @ move
        rho = 1 / (change @ move)
        left = eye - rho * torch.outer(move, change)
        inverse, w = left @ inverse @ left.T + rho * torch.outer(move, move), w + move
    return w


def loss(s: torch.Tensor, b: torch.Tensor, w: torch.Tensor) -> float:
    return float(w @ s @ w / 2 - b @ w)


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
def test_bfgs_is_the_dense_loop(problems, steps):
    found = weights(problems, [Algorithm("bfgs", steps)])[0, :, 2]
    for i in range(len(found)):
        x, y = problems.x[i, :N], problems.y[i, :N]
        assert torch.allclose(found[i], dense(x.T @ x, x.T @ y, steps), atol=1e-8)


@pytest.mark.parametrize("family", ["bfgs", "lbfgs"])
def test_both_end_at_minimum_norm_least_squares_and_stay_there(problems, family):
    end, later, ols = weights(problems, [Algorithm(family, 80), Algorithm(family, 120), Algorithm("ols")])
    assert (end - ols).abs().max() < 1e-8
    assert (later - end).abs().max() < 1e-8
    assert (end[:, 0] == 0).all(), "no examples, no weights"


def test_a_memory_of_half_the_dimensions_is_not_bfgs(problems):
    full, short = weights(problems, [Algorithm("bfgs", 4), Algorithm("lbfgs", 4)])
    assert (full - short)[:, 2].abs().max() > 1e-2
