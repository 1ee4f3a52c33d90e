"""Spherical SGD: gradient steps followed by a return to the sphere, w <- sqrt(d) (w - lr grad) / |w - lr grad|.

Every row of every weight is a vector of its own, of norm sqrt(d) for d columns (Arnaboldi et al., arXiv 2506.02651,
section 4, batch 1 and squared loss without 1/2 in the paper). It has no state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tasks.errors import UserError


class SphericalSGD(torch.optim.Optimizer):
    """SGD on products of spheres. Raises UserError for parameters whose rows do not start on theirs."""

    def __init__(self, params: Any, lr: float):
        super().__init__(params, {"lr": lr})
        for group in self.param_groups:
            for p in group["params"]:
                _refuse_off_the_sphere(p)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every parameter that has a gradient and bring its rows back to the sphere."""
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                p.sub_(p.grad, alpha=group["lr"])
                p.mul_(p.shape[-1] ** 0.5 / _norms(p))


def _norms(p: Tensor) -> Tensor:
    return torch.linalg.vector_norm(p, dim=-1, keepdim=True)


def _refuse_off_the_sphere(p: nn.Parameter) -> None:
    wanted = p.shape[-1] ** 0.5
    if not torch.allclose(_norms(p.detach()), p.new_tensor(wanted), rtol=1e-3):
        raise UserError(
            'optimiser "spherical" needs weight vectors of norm sqrt(d): use a model of kind "tied-attention" or '
            '"index-network", or another optimiser'
        )
