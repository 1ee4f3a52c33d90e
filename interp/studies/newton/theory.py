"""Closed forms for the study of layers against Newton's method: rates against conditioning, and the depth theorem.

Rates count the steps until the worst direction of a spectrum is left with a share eps of its error; kappa is the ratio
of the largest to the smallest eigenvalue. Steps of GD are 1 / the largest, alpha of Newton 1 / its square.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.models.constructed_algorithms import constructed_newton
from interp.readouts.algorithms import AlgorithmAccumulator
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import FAMILIES, Algorithm, conjugate_gradient
from probes.algorithms.problems import Problems
from tasks.streams import generator

EPS = 1e-6
KAPPAS = (10.0, 100.0, 1000.0, 10_000.0)
CG_KAPPAS = (100.0, 400.0, 1600.0)
CG_DIMENSION = 400


def gd_doublings(problems: Problems, answers: Float[Tensor, "prompt output"]) -> float:
    """Slope of log2 of the GD step nearest a Newton step (by similarity of errors) on that Newton step, 2 to 12."""
    newton = [Algorithm("newton", k, "norm", {"alpha": 1.0}) for k in range(2, 13, 2)]
    steps = [2**j for j in range(12)]
    gd = [Algorithm("gd", k, "norm", {"eta": 1.0}) for k in steps]
    errors = [algorithms.predictions(problems, group) - answers for group in (newton, gd)]
    units = [e / e.norm(dim=-1, keepdim=True).clamp_min(1e-300) for e in errors]
    best = torch.einsum("ipr,jpr->ij", *units).argmax(1)
    return _slope([float(a.k) for a in newton], np.log2([steps[j] for j in best.tolist()]).tolist())


def ols_weights(accumulator: AlgorithmAccumulator) -> Float[Tensor, "prompt output d"]:
    """Least-squares weights of the prompts whose induced weights were taken."""
    test, few = accumulator.splits["test"], accumulator.settings.weight_prompts
    problems = Problems.of(test.x()[:few], test.y()[:few], accumulator.shown)
    return algorithms.weights(problems, [Algorithm("ols")])[0]


def _needed(family: str, kappa: float, eps: float = EPS, **sizes: float) -> int:
    """Steps until 1 - f at eigenvalue 1/kappa (largest: 1) is at most eps, by doubling and bisection."""
    at = torch.tensor([1 / kappa], dtype=torch.float64)

    def left(k: int) -> float:
        return float(1 - FAMILIES[family].filter(at, k, **sizes)[0])

    high = 1
    while left(high) > eps:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if left(middle) > eps else (low, middle)
    return high


def _slope(x: list[float], y: list[float]) -> float:
    return float(np.polyfit(x, y, 1)[0])


def gd_slope() -> float:
    """Log-log slope of GD's steps on kappa."""
    steps = [_needed("gd", kappa, eta=1.0) for kappa in KAPPAS]
    return _slope(np.log(KAPPAS).tolist(), np.log(steps).tolist())


def newton_slope() -> float:
    """Newton steps a doubling of kappa."""
    steps = [float(_needed("newton", kappa, alpha=1.0)) for kappa in KAPPAS]
    return _slope(np.log2(KAPPAS).tolist(), steps)


def newton_last_step() -> float:
    """Newton steps that it takes to square the error, kappa 100."""
    return float(_needed("newton", 100.0, 1e-12, alpha=1.0) - _needed("newton", 100.0, alpha=1.0))


def cg_slope() -> float:
    """Log-log slope of conjugate gradient's steps on kappa, spectra even on a log scale in many dimensions."""
    return _slope(np.log(CG_KAPPAS).tolist(), [float(np.log(_cg_needed(kappa))) for kappa in CG_KAPPAS])


def _cg_needed(kappa: float) -> int:
    """Steps until the error in the norm of S has fallen by EPS, b with equal mass in every direction of w."""
    eigenvalues = torch.logspace(-np.log10(kappa), 0, CG_DIMENSION, dtype=torch.float64)
    w = torch.ones(CG_DIMENSION, dtype=torch.float64)
    eye = torch.eye(CG_DIMENSION, dtype=torch.float64)
    x = torch.zeros(1, 1, CG_DIMENSION, dtype=torch.float64)
    problems = Problems(
        eigenvalues[None, None],
        eye[None, None],
        (eigenvalues * w)[None, None],
        w[None, None],
        (0,),
        eye,
        x,
        x[:, :, 0],
    )
    path = conjugate_gradient(problems, CG_DIMENSION)[:, 0, 0]
    left = (eigenvalues * (path - w).square()).sum(-1)
    return int((left <= EPS**2 * left[0]).nonzero()[0])


def constructed_newton_error() -> tuple[float, int]:
    """Largest error of the wired nets for k = 1 .. 5 against a plain float64 loop, and their layers beyond k."""
    worst, extra = 0.0, 0
    for k in range(1, 6):
        net, _ = constructed_newton(k, 5, 20, 0.1)
        worst = max(worst, _constructed_gap(net, k))
        extra = max(extra, net.config.n_layers - k)
    return worst, extra


def _constructed_gap(
    net: Callable[[Tensor], Tensor], steps: int, d: int = 5, n: int = 20, alpha: float = 0.1
) -> float:
    gen = generator(0, "wired newton", steps)
    x = torch.randn(64, n + 1, d, generator=gen, dtype=torch.float64)
    y = torch.randn(64, n, generator=gen, dtype=torch.float64)
    tokens = torch.cat([x, torch.cat([y, torch.zeros(64, 1, dtype=torch.float64)], 1)[..., None]], -1)
    S = x[:, :n].mT @ x[:, :n] / n
    M = alpha * S
    for _ in range(steps):
        M = 2 * M - M @ S @ M
    w = (M @ (x[:, :n].mT @ y[..., None]))[..., 0] / n
    return float((net(tokens)[:, n, 0] - (w * x[:, n]).sum(-1)).abs().max().detach())
