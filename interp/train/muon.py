"""Muon with stacked Newton-Schulz steps: matrices of one shape are orthogonalised together, in their own precision.

The rule of `torch.optim.Muon` (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): Nesterov
momentum of the gradient, brought near the nearest orthogonal matrix by five steps of a quintic iteration, and added at
a rate that grows with the square root of rows over columns, after decoupled decay. Torch goes matrix by matrix in
bfloat16; here a wide matrix and a tall one of the same sides share one stack. What is remembered has torch's name
(`momentum_buffer`), so that a state of either serves both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
LEAST_NORM = 1e-7


class StackedMuon(torch.optim.Optimizer):
    """w <- (1 - lr weight_decay) w - lr sqrt(max(1, rows / columns)) O(m), m the Nesterov momentum of the gradient."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            stacks: dict[tuple[int, int], list[nn.Parameter]] = {}
            for p in (p for p in group["params"] if p.grad is not None):
                stacks.setdefault((min(p.shape), max(p.shape)), []).append(p)
            for members in stacks.values():
                self._update(members, group)

    def _update(self, members: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Update parameters whose shapes are the same up to which side comes first."""
        whole = orthogonal(torch.stack([_wide(self._momentum(p, group["momentum"])) for p in members]))
        for p, found in zip(members, whole, strict=True):
            rows, columns = p.shape
            p.mul_(1 - group["lr"] * group["weight_decay"])
            rate = group["lr"] * max(1.0, rows / columns) ** 0.5
            p.add_(found.T if rows > columns else found, alpha=-rate)

    def _momentum(self, p: nn.Parameter, momentum: float) -> Tensor:
        assert p.grad is not None
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p.grad)
        held = state["momentum_buffer"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(held, momentum)


def _wide(x: Float[Tensor, "row column"]) -> Float[Tensor, "short long"]:
    return x.T if x.shape[0] > x.shape[1] else x


def orthogonal(x: Float[Tensor, "matrix short long"]) -> Float[Tensor, "matrix short long"]:
    """Each matrix with its singular values brought near 1 (between about 0.7 and 1.2, whatever its scale).

    Five steps of X <- a X + (b A + c A^2) X with A = X X^T, from X over its Frobenius norm. Directions with singular
    values below about a thousandth of the norm stay behind.
    """
    a, b, c = QUINTIC
    x = x / x.flatten(1).norm(dim=1).clamp(min=LEAST_NORM)[:, None, None]
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
