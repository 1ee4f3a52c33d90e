"""Spherical SGD: gradient steps followed by a return to the sphere, w <- sqrt(d) (w - lr grad) / |w - lr grad|.

Every row of every weight is a vector of its own, of norm sqrt(d) for d columns (Arnaboldi et al., arXiv 2506.02651,
section 4, batch 1 and squared loss without 1/2 in the paper). It has no state. Also here: the warning about a rate
beyond the stability bound.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from interp.config.model_single_index import IndexNetworkConfig, TiedAttentionConfig
from tasks.errors import UserError
from tasks.single_index import SingleIndex
from tasks.theory.escape import Net, UnstableRate
from tasks.theory.reduced import attention_stable_rate

if TYPE_CHECKING:
    from interp.config.run import RunConfig


MOST_TOKENS = 8  # beyond, Hermite coefficients cost more than many a run


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


def warn_of_unstable_rate(config: RunConfig) -> float | None:
    """The stability bound of a single-index run's learning rate; warns with `UnstableRate`, naming it, beyond it.

    None where no bound is known: another task, student or optimiser, more than 8 tokens, no drift at low order. It
    holds for weak recovery, an overlap of 1/2, from the run's own start.
    """
    if config.train.optimiser != "spherical" or not isinstance(config.task, SingleIndex):
        return None
    try:
        bound = _bound(config.model, config.task)
    except UserError:
        return None
    if bound is None:
        return None
    if 0 < bound < config.train.lr:
        text = f"learning rate {config.train.lr:g} exceeds the stability bound {bound:.3g}"
        warnings.warn(f"{text}: expect a late escape or none", UnstableRate, stacklevel=2)
    return bound


def _bound(model: Any, task: SingleIndex) -> float | None:
    if isinstance(model, TiedAttentionConfig):
        return attention_stable_rate(
            task.target, model.reduction, task.length, model.positional == "opposite"
        )
    if not isinstance(model, IndexNetworkConfig) or task.length > MOST_TOKENS:
        return None
    start = task.d**-0.5 if model.start == "random" else abs(float(model.start))
    net = Net(task.target, task.length, model.activation, model.tied)
    return net.landscape.stable_rate(min(start, 0.49), 0.5)


def _norms(p: Tensor) -> Tensor:
    return torch.linalg.vector_norm(p, dim=-1, keepdim=True)


def _refuse_off_the_sphere(p: nn.Parameter) -> None:
    wanted = p.shape[-1] ** 0.5
    if not torch.allclose(_norms(p.detach()), p.new_tensor(wanted), rtol=1e-3):
        raise UserError(
            'optimiser "spherical" needs weight vectors of norm sqrt(d): use a model of kind "tied-attention" or '
            '"index-network", or another optimiser'
        )
