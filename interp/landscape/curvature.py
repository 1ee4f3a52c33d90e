"""Curvature of a training loss at given weights: gradients, Hessian-vector products, condition numbers,
smoothness.

An `Objective` is the mean training loss of one model on one fixed batch as a function of the flat weight
vector, so the same instruments serve any model, task and optimiser; losses are in the task's own units.
Curvature is positive where the loss bends up. All of it belongs to the batch: another batch gives another
Hessian, and none of it includes the optimiser's own preconditioning. Sources: Ahn et al.
2310.01082 (section 3, figures); Jiang et al. for the diagonal form of the robust condition number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor
from torch.func import functional_call, grad, vjp, vmap

from tasks import Batch, Task, UserError
from tasks.streams import generator

LARGEST_HESSIAN = 4000
COLUMNS_AT_ONCE = 25


@dataclass(frozen=True)
class Objective:
    """Mean loss over the prompts and output positions of `batch`. The model's own weights are `weights`; nothing
    changes them.
    """

    model: Any
    task: Task
    batch: Batch

    @property
    def weights(self) -> Float[Tensor, " weight"]:
        """The model's present parameters, flat, in the order of `named_parameters`."""
        return torch.cat([p.detach().flatten() for _, p in self.model.named_parameters()])

    def flat(self, state: dict[str, Tensor]) -> Float[Tensor, " weight"]:
        """The flat vector of a checkpoint's weights. Raises UserError when a parameter is missing from it."""
        names = [name for name, _ in self.model.named_parameters()]
        if missing := [name for name in names if name not in state]:
            raise UserError(f"these weights lack parameter {missing[0]!r}: are they of another model?")
        return torch.cat([state[name].flatten() for name in names])

    def named(self, weights: Float[Tensor, " weight"]) -> dict[str, Tensor]:
        """The flat vector cut back into parameters."""
        shapes = {name: p.shape for name, p in self.model.named_parameters()}
        parts = weights.split([shape.numel() for shape in shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}

    def loss(self, weights: Float[Tensor, " weight"]) -> Float[Tensor, ""]:
        """The loss at other weights."""
        outputs = functional_call(self.model, self.named(weights), (self.batch.inputs,))
        return self.task.loss(outputs, self.batch).mean()

    def gradient(self, weights: Float[Tensor, " weight"]) -> Float[Tensor, " weight"]:
        """Gradient of the loss."""
        return grad(self.loss)(weights)

    def hvp(
        self, weights: Float[Tensor, " weight"], along: Float[Tensor, " weight"]
    ) -> Float[Tensor, " weight"]:
        """Hessian times a vector, by differentiating the gradient backwards: exact, at about two gradients' cost."""
        return vjp(grad(self.loss), weights)[1](along)[0]


def hessian(objective: Objective, weights: Float[Tensor, " weight"]) -> Float[Tensor, "weight weight"]:
    """The whole Hessian, symmetrised. Raises UserError above `LARGEST_HESSIAN` parameters."""
    size = len(weights)
    if size > LARGEST_HESSIAN:
        raise UserError(
            f"a Hessian of {size} parameters is too large (limit {LARGEST_HESSIAN}): ask for `hessian_diagonal` and "
            "`sharpness`, which need Hessian-vector products only"
        )
    times = vjp(grad(objective.loss), weights)[1]
    columns = vmap(lambda v: times(v)[0], chunk_size=COLUMNS_AT_ONCE)
    H = columns(torch.eye(size, dtype=weights.dtype))
    return (H + H.T) / 2


def hessian_diagonal(
    objective: Objective, weights: Float[Tensor, " weight"], probes: int, seed: int = 0
) -> tuple[Float[Tensor, " weight"], Float[Tensor, " weight"]]:
    """Hutchinson's estimate of the diagonal from `probes` random sign vectors, with its standard error.

    Raises UserError for fewer than 2 probes, which have no standard error.
    """
    if probes < 2:
        raise UserError(f"an estimated diagonal needs at least 2 probes, got {probes}")
    gen = generator(seed, "curvature probes", 0)
    signs = torch.randint(0, 2, (probes, len(weights)), generator=gen).to(weights.dtype) * 2 - 1
    draws = torch.stack([z * objective.hvp(weights, z) for z in signs])
    return draws.mean(0), draws.std(0) / probes**0.5


def sharpness(objective: Objective, weights: Float[Tensor, " weight"], seed: int = 0) -> float:
    """Largest Hessian eigenvalue (algebraic) by Lanczos iteration on Hessian-vector products, to a relative
    1e-3.

    Raises UserError when the iteration does not converge.
    """
    size = len(weights)
    if size < 3:
        return float(torch.linalg.eigvalsh(hessian(objective, weights))[-1])

    def times(v: np.ndarray) -> np.ndarray:
        along = torch.from_numpy(v.reshape(-1)).to(weights.dtype)
        return objective.hvp(weights, along).detach().double().numpy()

    start = torch.randn(size, generator=generator(seed, "curvature start", 0), dtype=torch.float64).numpy()
    operator = LinearOperator((size, size), matvec=times, dtype=np.float64)  # type: ignore[call-arg]
    try:
        found = eigsh(operator, k=1, which="LA", v0=start, tol=1e-3, maxiter=300, return_eigenvectors=False)
    except ArpackNoConvergence:
        raise UserError(
            "the largest curvature did not converge in 300 restarts: use a larger batch or float64"
        ) from None
    return float(found[0])


@dataclass(frozen=True)
class Conditioning:
    """How much sharper the sharpest direction is than the typical one; at least 0, 1 for a round bowl.

    `eigenvalues` is lam_max / median |lam|, the definition; `diagonal` is max |H_ii| / median |H_ii|, what
    is measured in practice. `active` of `total` parameters have a Hessian row that is not exactly zero;
    without the others both numbers change, and `..._active` leave them out.
    """

    eigenvalues: float
    diagonal: float
    eigenvalues_active: float
    diagonal_active: float
    active: int
    total: int


def conditioning(H: Float[Tensor, "weight weight"]) -> Conditioning:
    """Both robust condition numbers of a Hessian (infinite when the median is 0)."""
    alive = H.abs().sum(1) > 0
    part = H[alive][:, alive]
    return Conditioning(
        _over_median(torch.linalg.eigvalsh(H)), diagonal_conditioning(H.diagonal()),
        _over_median(torch.linalg.eigvalsh(part)), diagonal_conditioning(part.diagonal()),
        int(alive.sum()), len(H),
    )  # fmt: skip


def diagonal_conditioning(diagonal: Float[Tensor, " weight"]) -> float:
    """max |H_ii| / median |H_ii|; with an estimated diagonal, errors of small entries bias it down."""
    return _over_median(diagonal.abs())


def _over_median(values: Float[Tensor, " weight"]) -> float:
    if not len(values):
        return float("nan")
    return float(values.max() / torch.quantile(values.abs(), 0.5))


def directional_smoothness(
    objective: Objective, before: Float[Tensor, " weight"], after: Float[Tensor, " weight"]
) -> float:
    """u'H u at `before` along the unit step u to `after`; smaller means that the linear model of the loss
    holds further.

    The second-order term of f(after) - f(before), over half the squared step. Raises UserError for a step
    of length 0.
    """
    step = after - before
    if not bool(step.any()):
        raise UserError("the two weight vectors are equal: there is no direction to measure along")
    u = step / step.norm()
    return float(u @ objective.hvp(before, u))


def gradients(
    objectives: Callable[[int], Objective], weights: Float[Tensor, " weight"], draws: int
) -> Float[Tensor, "draw weight"]:
    """Gradients at the same weights on `draws` batches, `objectives(k)` being the k-th."""
    return torch.stack([objectives(k).gradient(weights).detach() for k in range(draws)])
