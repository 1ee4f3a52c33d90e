"""Chains of stochastic-gradient Langevin dynamics around given weights, and the checks that refuse bad ones.

The localised distribution is exp(-beta_n L(w) - gamma |w - w*|^2 / 2); a finite step samples another one, which is
wider. Every draw takes one of a few minibatches at random, and the loss there is compared with that of w* on the same
one. Chains that have not mixed (split R-hat over `WORST_RHAT`), drift, or fall below the loss at w* (no minimum, as at
the start of training) are refused.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.landscape.curvature import Objective
from interp.models.fused import fuse
from tasks import Batch, Task, UserError

WORST_RHAT = 1.1
Slope = Callable[[Tensor], tuple[Tensor, Tensor]]  # flat weights to loss and its gradient


def slope_of(loss: Callable[[Tensor], Tensor]) -> Slope:
    """Loss and gradient of any function of the flat weights."""

    def at(weights: Tensor) -> tuple[Tensor, Tensor]:
        weights = weights.detach().requires_grad_(True)
        value = loss(weights)
        (gradient,) = torch.autograd.grad(value, weights)
        return value.detach(), gradient

    return at


def model_slopes(
    model: Any, task: Task, batches: Sequence[Batch]
) -> tuple[list[Slope], Float[Tensor, " weight"]]:
    """Loss and gradient on each batch, and the flat weights they start from, in the order of `named_parameters`.

    Works on a copy of the model whose parameters are views of one flat vector and whose parts use fused kernels.
    """
    own = copy.deepcopy(model)
    start = Objective(own, task, batches[0]).weights.clone()
    flat, parameters = start.clone(), [p for _, p in own.named_parameters()]
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.data = part.view(parameter.shape)
        parameter.requires_grad_(True)
    fuse(own, "always")

    def slope(batch: Batch) -> Slope:
        def at(weights: Tensor) -> tuple[Tensor, Tensor]:
            flat.copy_(weights)
            value = task.loss(own(batch.inputs), batch).mean()
            found = torch.autograd.grad(value, parameters, allow_unused=True)
            parts = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
            return value.detach(), torch.cat([part.flatten() for part in parts])

        return at

    return [slope(batch) for batch in batches], start


def chain(
    slopes: Sequence[Slope],
    weights: Float[Tensor, " weight"],
    centre: Float[Tensor, " batch"],
    beta_n: float,
    *,
    draws: int,
    burn_in: int,
    step: float,
    gamma: float,
    noise: torch.Generator,
) -> Float[Tensor, " draw"]:
    """Loss above that of the start (`centre`, on each minibatch) along one chain, the burn-in left out."""
    w, found = weights.detach().clone(), []
    kick = torch.empty_like(w)
    for _ in range(burn_in + draws):
        k = int(torch.randint(len(slopes), (1,), generator=noise))
        value, slope = slopes[k](w)
        found.append(value - centre[k])
        if not math.isfinite(value) and not bool(torch.isfinite(w).all()):
            found += [value.new_full((), math.nan)] * (burn_in + draws - len(found))  # it stays there
            break
        kick.normal_(std=math.sqrt(step), generator=noise)
        w = (w + kick).sub_(slope, alpha=step / 2 * beta_n).sub_(w - weights, alpha=step / 2 * gamma)
    return torch.stack(found[burn_in:]).double()


def split_rhat(traces: Float[Tensor, "chain draw"]) -> float:
    """Gelman and Rubin's R-hat with every chain cut in two: 1 for chains that agree, larger for those that do
    not.
    """
    half = traces.shape[1] // 2
    parts = torch.cat([traces[:, :half], traces[:, -half:]])
    within = parts.var(1).mean()
    between = half * parts.mean(1).var()
    if float(within) == 0:
        return 1.0 if float(between) == 0 else math.inf
    return float((((half - 1) / half * within + between / half) / within).sqrt())


class BadChains(UserError):
    """Chains from which no coefficient may be read."""


def check_traces(traces: Float[Tensor, "chain draw"]) -> None:
    """Raises BadChains for chains from which no coefficient may be read, saying why and what to change.

    `traces`: loss above that of the start.
    """
    if not bool(torch.isfinite(traces).all()):
        raise BadChains("the chains diverged: take a smaller step")
    rhat = split_rhat(traces)
    if rhat > WORST_RHAT:
        raise BadChains(
            f"the chains have not mixed (R-hat {rhat:.2f} > {WORST_RHAT}): more draws, burn-in, or step"
        )
    if float(traces.mean()) < -0.1 * float(traces.std()):
        raise BadChains(
            "the chains found lower loss than the checkpoint: it is no local minimum; train on, or raise gamma"
        )
