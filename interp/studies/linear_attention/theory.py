"""How far L layers of linear attention can go: gradient descent with L step sizes, and GD++, which flattens
curvature.

Each eigenvalue lam of X'X/n evolves by itself. With step sizes a_l and flattening b_l (both positive when
they help)
    r <- r (1 - a s^2 lam),   s <- s (1 - a b s^2 lam),   from r = s = 1,
r is the share of the weight left unlearned and s the factor by which the covariates were rescaled; b = 0 is
plain descent. The loss is E|x|^2/d times the mean over prompts of sum_i r(lam_i)^2 (w ~ N(0, I), no noise).
Optima are found numerically, so they are upper bounds on what matrices instead of scalars, or other minima,
might reach. Sources: Ahn, Cheng, Daneshmand & Sra (2306.00297), Lemma 1 and Theorem 4; von Oswald et al.
(2212.07677) for GD++.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from tasks.errors import UserError


@dataclass(frozen=True)
class DepthOptimum:
    """Step sizes and flattening of the best net found, its loss on fresh prompts and that loss's standard
    error.

    `steps` of plain descent commute and are sorted; those of GD++ are in the order of the layers.
    `flattening` has one entry fewer than `steps`, since the last layer's covariates are read by nobody; it
    is empty for plain descent.
    """

    steps: tuple[float, ...]
    flattening: tuple[float, ...]
    loss: float
    se: float


def spectra(covariates: Float[Tensor, "batch n d"]) -> Float[Tensor, "batch d"]:
    """Eigenvalues of X'X/n for each prompt, ascending, in float64."""
    X = covariates.double()
    return torch.linalg.eigvalsh(X.mT @ X / X.shape[-2])


def unlearned(
    lam: Float[Tensor, "*batch d"], steps: Float[Tensor, " layers"], flattening: Float[Tensor, " inner"]
) -> Float[Tensor, "*batch d"]:
    """r after all layers: the factor by which each eigendirection's weight error is multiplied. Ahn et
    al., Lemma 1, and GD++ of von Oswald et al., in the eigenbasis of X'X/n.
    """
    r, s = torch.ones_like(lam), torch.ones_like(lam)
    for layer, a in enumerate(steps):
        curvature = s * s * lam
        r = r * (1 - a * curvature)
        if layer < len(flattening):
            s = s * (1 - a * flattening[layer] * curvature)
    return r


def depth_loss(
    lam: Float[Tensor, "batch d"],
    steps: Float[Tensor, " layers"],
    flattening: Float[Tensor, " inner"],
    power: float = 1.0,
) -> Float[Tensor, " batch"]:
    """Loss of each prompt; `power` is E|x|^2/d of a query (1 for standard normal covariates)."""
    return power * unlearned(lam, steps, flattening).square().sum(-1)


def depth_optimum(
    covariates: Float[Tensor, "batch n d"], layers: int, flatten: bool, power: float = 1.0
) -> DepthOptimum:
    """Fit scalar steps (and flattening) on half of the prompts from a grid of starts; report on the other
    half.

    20000 prompts give the loss to about 3% for normal covariates. Raises UserError for fewer than 100.
    """
    if len(covariates) < 100 or layers < 1:
        raise UserError(
            f"need at least 100 prompts and 1 layer, got {len(covariates)} prompts, {layers} layers"
        )
    lam = spectra(covariates)
    fit, held = lam[::2], lam[1::2]
    inner = layers - 1 if flatten else 0
    best = min(
        (_descend(fit, layers, start, power) for start in _starts(layers, inner, fit)), key=lambda f: f[0]
    )[1]
    steps, flattening = torch.tensor(best[:layers]), torch.tensor(best[layers:])
    losses = depth_loss(held, steps, flattening, power)
    order = steps if flatten else steps.sort().values
    return DepthOptimum(
        tuple(order.tolist()),
        tuple(flattening.tolist()),
        float(losses.mean()),
        float(losses.std() / len(losses) ** 0.5),
    )


def _starts(layers: int, inner: int, lam: Float[Tensor, "batch d"]) -> list[np.ndarray]:
    """Steps in geometric progression about the inverse mean eigenvalue; the best of GD++ grow from layer to
    layer.
    """
    unit = 1 / float(lam.mean())
    ladder = np.arange(layers)
    bend = (0.4, 0.9) if inner else (0.0,)
    grid = itertools.product((0.3, 0.8), (1.0, 2.0, 5.0) if layers > 1 else (1.0,), bend)
    return [np.concatenate([unit * a * ratio**ladder, np.full(inner, b)]) for a, ratio, b in grid]


def _descend(
    lam: Float[Tensor, "batch d"], layers: int, start: np.ndarray, power: float
) -> tuple[float, np.ndarray]:
    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        theta_t = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        # The logarithm keeps the search well scaled while the loss falls by orders of magnitude.
        loss = depth_loss(lam, theta_t[:layers], theta_t[layers:], power).mean().log()
        (slope,) = torch.autograd.grad(loss, theta_t)
        return float(loss.detach()), slope.numpy()

    found = minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return (float(found.fun) if np.isfinite(found.fun) else np.inf), found.x
