"""Formulas of linear attention and of the Bayes answer against simulated prompts, each within 4.5 standard
errors: those that `test_theory_linear` reaches only through others, and their noise and scale arguments.
"""

from __future__ import annotations

import math

import pytest
import torch

from interp.studies.linear_attention import theory as linear_depth
from interp.studies.one_step_gd import theory as linear
from tasks.covariates import directions
from tasks.streams import generator
from tasks.theory import bayes

D, N, PROMPTS = 4, 10, 40_000
LAW = linear.RegressionDistribution(
    torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.5]]).double(),
    torch.tensor([[1.0, -0.3, 0.0], [-0.3, 0.5, 0.1], [0.0, 0.1, 2.0]]).double(),
    0.3,
)


def normal(*shape: int, name: str) -> torch.Tensor:
    return torch.randn(shape, generator=generator(0, name, 0), dtype=torch.float64)


def agrees(draws: torch.Tensor, exact: torch.Tensor | float) -> None:
    """The mean over the first axis lies within 4.5 standard errors of `exact`, in every entry."""
    off = (draws.mean(0) - exact).abs()
    assert (off <= 4.5 * draws.std(0) / math.sqrt(len(draws))).all(), (draws.mean(0), exact)


@pytest.fixture(scope="module")
def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights, labels and X'y of prompts of `LAW`."""
    X = normal(PROMPTS, N, 3, name="x") @ torch.linalg.cholesky(LAW.covariance).T
    w = normal(PROMPTS, 3, name="w") @ torch.linalg.cholesky(LAW.prior).T
    y = (X * w[:, None]).sum(-1) + math.sqrt(LAW.noise_variance) * normal(PROMPTS, N, name="noise")
    return w, y, (X * y[..., None]).sum(1)


def test_moments_of_labels(drawn) -> None:
    _, y, h = drawn
    agrees(y[:, 0].square(), LAW.label_variance)
    agrees(h[:, :, None] * h[:, None, :], linear.label_moment(LAW, N))


@pytest.mark.parametrize("rank", [1, 2])
def test_excess_of_the_best_preconditioner_of_a_rank(drawn, rank: int) -> None:
    w, _, h = drawn
    best = linear.optimal_preconditioner(LAW, N)
    left, right = (
        torch.linalg.cholesky(m).T for m in (linear.label_moment(LAW, N), LAW.covariance)
    )  # any square roots do
    U, s, V = torch.linalg.svd(left @ best @ right.T)
    cut = torch.linalg.solve(left, U[:, :rank] * s[:rank] @ V[:rank]) @ torch.linalg.inv(right.T)
    assert int(torch.linalg.matrix_rank(cut)) == rank
    losses = [torch.einsum("bi,ij,bj->b", off, LAW.covariance, off) for off in (w - h @ cut, w - h @ best)]
    agrees(losses[0] - losses[1], linear.rank_excess(LAW, N, rank))


def test_the_corner_of_a_balanced_flow() -> None:
    """Descent on u h'U x, h = X'y/n, from u = |U|, on sampled moments; the groups give the standard error."""
    S, groups = torch.diag(torch.tensor([2.0, 1.0, 0.5])).double(), 10
    X = normal(PROMPTS, N, 3, name="flow x") * S.diagonal().sqrt()
    w = normal(PROMPTS, 3, name="flow w")
    h = (X * (X * w[:, None]).sum(-1, keepdim=True)).mean(1).view(groups, -1, 3)
    M, C = h.mT @ h / h.shape[1], h.mT @ w.view(groups, -1, 3) / h.shape[1]
    u = torch.full((groups, 1, 1), 0.1).double()
    U = 0.1 * (torch.eye(3).double() / math.sqrt(3)).repeat(groups, 1, 1)
    for _ in range(4000):
        slope = (u * M @ U - C) @ S
        u, U = u - 0.01 * (U * slope).sum((1, 2), keepdim=True), U - 0.01 * u * slope
    assert slope.abs().max() < 1e-3, "the flow has ended"
    agrees(u.flatten(), linear.zhang_balance(S, N))


def relu(x: torch.Tensor) -> torch.Tensor:
    hidden = (x @ normal(len(x), D, 8, name="first")).relu()
    return (hidden @ normal(len(x), 8, 1, name="second"))[..., 0] / 8**0.5


def line(x: torch.Tensor) -> torch.Tensor:
    return (x * normal(len(x), 1, D, name="line")).sum(-1)


def cube(x: torch.Tensor) -> torch.Tensor:
    v = normal(len(x), 1, D, name="cube")
    return (x * v / v.norm(dim=-1, keepdim=True)).sum(-1) ** 3


def quadratic(x: torch.Tensor) -> torch.Tensor:
    return (x @ normal(len(x), D, D, name="quadratic") * x).sum(-1)


def gauss(shape: tuple[int, ...]) -> torch.Tensor:
    return normal(*shape, name="gauss")


def sphere(shape: tuple[int, ...]) -> torch.Tensor:
    x = gauss(shape)
    return 2 * x / x.norm(dim=-1, keepdim=True)


def uniform(shape: tuple[int, ...]) -> torch.Tensor:
    return 2 * torch.rand(shape, generator=generator(0, "uniform", 0), dtype=torch.float64) - 1


def gamma(shape: tuple[int, int, int]) -> torch.Tensor:
    return directions(generator(0, "gamma", 0), shape, "gamma-sphere", (2.0, 0.5)).double()


@pytest.mark.parametrize(
    ("draw", "target", "moments"),
    [
        (sphere, line, linear.rotation_invariant(D, 4.0, 16.0)),
        (uniform, line, linear.iid_coordinates(D, 1 / 3, 1 / 5)),
        (gamma, line, linear.gamma_sphere(D, 2.0, 0.5)),
        (gauss, relu, linear.relu_network(D, D / 2)),
        (gauss, cube, linear.cubic(D)),
        (gauss, quadratic, linear.even(D, D * (D + 2.0))),
    ],
)
def test_moments_and_loss_of_targets_with_noise(draw, target, moments: linear.TargetMoments) -> None:
    X, noise_variance = draw((PROMPTS, N + 1, D)), 0.5
    f = target(X)
    agrees(X[:, 0].square().sum(-1), moments.m2)
    agrees(f[:, 0].square(), moments.power)
    agrees(f[:, 0].square() * X[:, 0].square().sum(-1), moments.spread)
    agrees(f[:, 0] * f[:, 1] * (X[:, 0] * X[:, 1]).sum(-1), moments.gain)
    y = f + math.sqrt(noise_variance) * normal(PROMPTS, N + 1, name="label noise")
    along = (X[:, :N] * y[:, :N, None]).sum(1).mul(X[:, N]).sum(-1)
    agrees((y[:, N] - moments.step(N, noise_variance) * along).square(), moments.loss(N, noise_variance))
    # the slope of the loss in eta vanishes at eta*
    agrees((y[:, N] - moments.step(N, noise_variance) * along) * along, 0.0)


def test_depth_loss_is_that_of_tokens_updated_layer_by_layer() -> None:
    """Labels and covariates of all tokens, the query's too, rewritten by each layer; x of twice unit scale."""
    x, w = 2 * normal(PROMPTS, N + 1, D, name="tokens"), normal(PROMPTS, D, name="task")
    lam = linear_depth.spectra(x[:, :N])
    agrees(lam.sum(-1), 4.0 * D)
    steps, flattening = torch.tensor([0.08, 0.15, 0.2]), torch.tensor([0.5, 0.3])
    left = (x * w[:, None]).sum(-1)
    for layer, a in enumerate(steps):
        seen = x[:, :N]
        gram = seen.mT @ seen / N
        left = left - a * (x @ (seen * left[:, :N, None]).mean(1)[..., None])[..., 0]
        if layer < len(flattening):
            x = x - a * flattening[layer] * x @ gram
    agrees(left[:, N].square() - linear_depth.depth_loss(lam, steps, flattening, power=4.0), 0.0)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_posterior_is_calibrated(noise: float) -> None:
    """Errors of the mean have the posterior's covariance, and those of predictions its variance along a."""
    a, v = normal(PROMPTS, 7, D, name="a"), normal(PROMPTS, D, name="v")
    clean = (a * v[:, None]).sum(-1)
    y = clean + noise * normal(PROMPTS, 7, name="e")
    found = bayes.predictions(a, y, noise)
    for t, (mean, cov) in enumerate(bayes.posterior(a[:, :6], y[:, :6], noise)):
        off = v - mean
        if noise or t < D:
            agrees(off[:, :, None] * off[:, None, :] - cov, torch.zeros(D, D).double())
            agrees(
                (found[:, t] - clean[:, t]).square() - torch.einsum("bi,bij,bj->b", a[:, t], cov, a[:, t]),
                0.0,
            )
        else:
            assert off.abs().max() < 1e-5, "known exactly after d noiseless examples"
