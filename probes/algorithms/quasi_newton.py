"""BFGS and L-BFGS on least squares, for many problems at once in float64.

They minimise w'Sw/2 - b'w from w = 0 in the eigenbasis of S, which changes nothing: the first inverse Hessian is a
multiple of I. The length of a step is the largest power of 1/2, at most 1, that meets Armijo's condition (with an
exact line search BFGS would be conjugate gradient). Their polynomial in S depends on y, so they are no filters.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from probes.algorithms.problems import Problems

ARMIJO = 1e-4
Pair = tuple[Tensor, Tensor, Tensor]


def quasi_newton(
    problems: Problems, steps: int, memory: int | None = None
) -> Float[Tensor, "step_1 prompt context d"]:
    """V'w after 0 .. `steps` steps (Nocedal & Wright 2006, algorithms 6.1 and 7.5).

    `memory`: pairs that L-BFGS keeps, its start scaled by the newest; None keeps all, from the identity (BFGS).
    A problem whose gradient has reached rounding stays where it is.
    """
    w, gradient = torch.zeros_like(problems.projected), -problems.projected
    done = 1e-28 * gradient.square().sum(-1, keepdim=True)
    pairs: list[Pair] = []
    path = [w]
    for _ in range(steps):
        going = gradient.square().sum(-1, keepdim=True) > done
        move = torch.where(going, _step(problems.eigenvalues, gradient, pairs, memory is not None), 0.0)
        change = problems.eigenvalues * move
        w, gradient = w + move, gradient + change
        pairs = [*pairs, (move, change, _inverse((move * change).sum(-1, keepdim=True)))]
        pairs = pairs if memory is None else pairs[-memory:]
        path.append(w)
    return torch.stack(path)


def _step(eigenvalues: Tensor, gradient: Tensor, pairs: list[Pair], scaled: bool) -> Tensor:
    direction = -_two_loop(gradient, pairs, scaled)
    curve = (eigenvalues * direction.square()).sum(-1, keepdim=True)
    longest = 2 * (1 - ARMIJO) * -(gradient * direction).sum(-1, keepdim=True) * _inverse(curve)
    return direction * longest.clamp(1e-30, 1.0).log2().floor().exp2()


def _two_loop(gradient: Tensor, pairs: list[Pair], scaled: bool) -> Tensor:
    """The inverse Hessian of all pairs applied to the gradient."""
    q, kept = gradient, []
    for move, change, inverse in reversed(pairs):
        kept.append(inverse * (move * q).sum(-1, keepdim=True))
        q = q - kept[-1] * change
    if scaled and pairs:
        move, change, _ = pairs[-1]
        size = (move * change).sum(-1, keepdim=True) * _inverse(change.square().sum(-1, keepdim=True))
        q = q * torch.where(size > 0, size, 1.0)
    for (move, change, inverse), along in zip(pairs, reversed(kept), strict=True):
        q = q + (along - inverse * (change * q).sum(-1, keepdim=True)) * move
    return q


def _inverse(x: Tensor) -> Tensor:
    return torch.where(x > 0, 1 / torch.where(x > 0, x, 1.0), 0.0)
