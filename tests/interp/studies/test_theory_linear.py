"""Closed forms of linear attention against Monte Carlo and against each other."""

from __future__ import annotations

import math

import pytest
import torch

from interp.studies.linear_attention import theory as linear_depth
from interp.studies.one_step_gd import theory as linear
from tasks.covariates import directions
from tasks.errors import UserError
from tasks.streams import generator

PROMPTS = 100_000
EIGENVALUES = torch.tensor([3.0, 1.0, 0.5, 0.25, 2.0], dtype=torch.float64)


def rotated(eigenvalues: torch.Tensor, seed: int = 1) -> torch.Tensor:
    """A covariance with these eigenvalues in a random basis."""
    U = torch.linalg.qr(
        torch.randn(len(eigenvalues), len(eigenvalues), generator=generator(seed, "basis", 0)).double()
    )[0]
    return U @ torch.diag(eigenvalues) @ U.T


def normal(shape: tuple[int, ...], covariance: torch.Tensor, name: str) -> torch.Tensor:
    draws = torch.randn(shape, generator=generator(0, name, 0), dtype=torch.float64)
    return draws @ torch.linalg.cholesky(covariance).T


def regress(X: torch.Tensor, y: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Normal equations of yhat = (X'y)' G x_q against E over the query of mean target `target` = E[f
    x]-direction.

    `target` holds w (a query x ~ N(0, S) has been integrated out by parity of the caller): G solves
    E[X'y y'X] G = E[X'y w'].
    """
    moment = (X * y[..., None]).sum(1)
    G = torch.linalg.solve(moment.T @ moment, moment.T @ target)
    return G, float((target - moment @ G).square().sum(-1).mean())


def prompts(law: linear.RegressionDistribution, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    d = len(law.covariance)
    X = normal((PROMPTS, n, d), law.covariance, "x")
    w = normal((PROMPTS, d), law.prior, "w")
    noise = torch.randn(PROMPTS, n, generator=generator(0, "noise", 0), dtype=torch.float64)
    return X, w, (X * w[:, None]).sum(-1) + math.sqrt(law.noise_variance) * noise


LAWS = {
    "isotropic": (linear.RegressionDistribution.isotropic(5), 20),
    "isotropic, noise": (linear.RegressionDistribution.isotropic(3, 0.25, 2.0), 10),
    "anisotropic": (
        linear.RegressionDistribution(rotated(EIGENVALUES), torch.eye(5, dtype=torch.float64), 0.5),
        20,
    ),
    "whitened": (linear.RegressionDistribution.whitened(rotated(EIGENVALUES), 1.0), 20),
    "any prior": (
        linear.RegressionDistribution(rotated(EIGENVALUES), rotated(EIGENVALUES.flip(0), 2), 0.3),
        10,
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_the_optimum_is_what_least_squares_finds(name: str) -> None:
    law, n = LAWS[name]
    X, w, y = prompts(law, n)
    G, _ = regress(X, y, w)
    best = linear.optimal_preconditioner(law, n)
    assert torch.linalg.norm(G - best) / torch.linalg.norm(best) < 0.02
    what = (X * y[..., None]).sum(1) @ best
    error = torch.einsum("bi,ij,bj->b", w - what, law.covariance, w - what) + law.noise_variance
    se = float(error.std()) / math.sqrt(PROMPTS)
    assert abs(float(error.mean()) - linear.optimal_loss(law, n)) < 4 * se


def test_excess_loss_of_a_wrong_preconditioner() -> None:
    law, n = LAWS["any prior"]
    G = linear.optimal_preconditioner(law, n) + 0.02 * torch.randn(
        5, 5, generator=generator(0, "wrong", 0), dtype=torch.float64
    )
    X, w, y = prompts(law, n)
    moment = (X * y[..., None]).sum(1)
    losses = []
    for candidate in (G, linear.optimal_preconditioner(law, n)):
        off = w - moment @ candidate
        losses.append(torch.einsum("bi,ij,bj->b", off, law.covariance, off))
    difference = losses[0] - losses[1]
    se = float(difference.std()) / math.sqrt(PROMPTS)
    assert abs(float(difference.mean()) - linear.excess_loss(G, law, n)) < 4 * se
    assert linear.excess_loss(G, law, n) > 0.1
    assert linear.excess_loss(linear.optimal_preconditioner(law, n), law, n) == pytest.approx(0, abs=1e-12)


def test_special_cases_are_the_general_formula() -> None:
    S, n = rotated(EIGENVALUES), 20
    law = linear.RegressionDistribution.isotropic(5, 0.5)
    eye = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(linear.optimal_preconditioner(law, n), linear.isotropic_step(n, 5, 0.5) * eye)
    assert linear.optimal_loss(law, n) == pytest.approx(linear.isotropic_loss(n, 5, 0.5), rel=1e-12)
    whitened = linear.RegressionDistribution.whitened(S, 0.5)
    torch.testing.assert_close(
        linear.optimal_preconditioner(whitened, n), linear.whitened_preconditioner(S, n, 0.5)
    )
    assert linear.optimal_loss(whitened, n) == pytest.approx(linear.isotropic_loss(n, 5, 0.5), rel=1e-12)
    clean = linear.RegressionDistribution(S, eye)
    torch.testing.assert_close(n * linear.optimal_preconditioner(clean, n), linear.ahn_preconditioner(S, n))
    zhang = torch.linalg.inv(linear.zhang_gamma(S, n)) / n
    torch.testing.assert_close(linear.optimal_preconditioner(clean, n), zhang)
    assert linear.zhang_loss(S, n, n) == pytest.approx(linear.optimal_loss(clean, n), rel=1e-12)


def test_printed_figures() -> None:
    assert linear.isotropic_step(20, 5, 1.0) == pytest.approx(0.037037, abs=1e-6)
    assert linear.isotropic_loss(20, 5, 1.0) == pytest.approx(2.29630, abs=1e-5)
    diagonal = torch.diag(EIGENVALUES)
    assert linear.optimal_loss(
        linear.RegressionDistribution(diagonal, torch.eye(5).double()), 20
    ) == pytest.approx(1.41359, abs=1e-5)
    assert linear.optimal_loss(
        linear.RegressionDistribution(diagonal, torch.eye(5).double(), 0.5), 20
    ) == pytest.approx(1.9737, abs=1e-5)
    assert linear.zhang_loss(diagonal, 20, 10) == pytest.approx(2.45273, abs=1e-5)
    assert linear.zhang_loss(diagonal, 20, 80) == pytest.approx(0.63423, abs=1e-5)
    assert linear.zhang_balance(diagonal, 20) == pytest.approx(1.4872, abs=1e-4)
    sphere = linear.rotation_invariant(5, 1.0, 1.0)
    assert (sphere.step(20), sphere.loss(20)) == pytest.approx((0.208333, 0.166667), abs=1e-6)
    gamma = linear.gamma_sphere(5, 0.1, 10.0)
    assert (gamma.step(20), gamma.loss(20)) == pytest.approx((0.067568, 0.729730), abs=1e-6)
    uniform = linear.iid_coordinates(5, 1 / 3, 1 / 5)
    assert (uniform.step(20), uniform.loss(20)) == pytest.approx((0.120968, 0.322581), abs=1e-6)
    halved = linear.iid_coordinates(10, 1 / 12, 1 / 80)
    assert (halved.step(10), halved.loss(10) / 2) == pytest.approx((0.60606, 0.20623), abs=1e-5)
    assert linear.relu_network(5, 5.0).loss(20) == pytest.approx(3.4848, abs=1e-4)
    assert linear.relu_attention_loss(20, 5) == pytest.approx(1.96970, abs=1e-5)


def test_longer_prompts_at_test_time() -> None:
    S = torch.diag(EIGENVALUES)
    X, w, y = prompts(linear.RegressionDistribution(S, torch.eye(5).double()), 10)
    what = (X * y[..., None]).sum(1) @ torch.linalg.inv(linear.zhang_gamma(S, 20)) / 10
    error = torch.einsum("bi,ij,bj->b", w - what, S, w - what)
    assert abs(float(error.mean()) - linear.zhang_loss(S, 20, 10)) < 4 * float(error.std()) / math.sqrt(
        PROMPTS
    )


def sphere_draws(shape: tuple[int, ...]) -> torch.Tensor:
    x = torch.randn(shape, generator=generator(0, "direction", 0), dtype=torch.float64)
    return x / x.norm(dim=-1, keepdim=True)


def gamma_draws(shape: tuple[int, ...]) -> torch.Tensor:
    return directions(generator(0, "gamma", 0), shape, "gamma-sphere", (0.1, 10.0)).double()


def uniform_draws(shape: tuple[int, ...]) -> torch.Tensor:
    return 2 * torch.rand(shape, generator=generator(0, "uniform", 0), dtype=torch.float64) - 1


@pytest.mark.parametrize(
    ("draw", "moments", "tolerance"),
    [
        (sphere_draws, linear.rotation_invariant(5, 1.0, 1.0), 0.02),
        (gamma_draws, linear.gamma_sphere(5, 0.1, 10.0), 0.06),
        (uniform_draws, linear.iid_coordinates(5, 1 / 3, 1 / 5), 0.02),
    ],
)
def test_other_covariates(draw, moments: linear.TargetMoments, tolerance: float) -> None:
    X = draw((PROMPTS, 20, 5))
    w = normal((PROMPTS, 5), torch.eye(5).double(), "w")
    G, left = regress(X, (X * w[:, None]).sum(-1), w)
    assert float(G.trace() / 5) == pytest.approx(moments.step(20), rel=tolerance)
    assert left * moments.m2 / 5 == pytest.approx(moments.loss(20), rel=tolerance)


def relu_targets(x: torch.Tensor) -> torch.Tensor:
    first = normal((len(x), 5, 8), torch.eye(8).double(), "first")
    return (x @ first).relu() @ normal((len(x), 8, 1), torch.eye(1).double(), "second") / 8**0.5


def cubic_targets(x: torch.Tensor) -> torch.Tensor:
    return (x @ sphere_draws((len(x), 5))[..., None]) ** 3


def even_targets(x: torch.Tensor) -> torch.Tensor:
    A = normal((len(x), 5, 5), torch.eye(5).double(), "quadratic")
    return (x @ A * x).sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("target", "moments"),
    [
        (relu_targets, linear.relu_network(5, 2.5)),
        (cubic_targets, linear.cubic(5)),
        (even_targets, linear.even(5, 1.0)),
    ],
)
def test_nonlinear_targets(target, moments: linear.TargetMoments) -> None:
    X = normal((PROMPTS, 21, 5), torch.eye(5).double(), "x")
    f = target(X)[..., 0]
    moment = (X[:, :20] * f[:, :20, None]).sum(1)
    along = (moment * X[:, 20]).sum(-1)
    step = float((along * f[:, 20]).mean() / along.square().mean())
    se = float((along * f[:, 20]).std() / along.square().mean()) / math.sqrt(PROMPTS)
    assert abs(step - moments.step(20)) < 4 * se + 0.005 * moments.step(20)
    assert float(f[:, 20].square().mean()) == pytest.approx(
        moments.power if moments.gain else float(f.square().mean()), rel=0.03
    )
    if moments.gain == 0:
        assert abs(step) < 0.05 * linear.isotropic_step(20, 5)


def test_relu_attention() -> None:
    X = normal((PROMPTS, 21, 5), torch.eye(5).double(), "x")
    w = normal((PROMPTS, 5), torch.eye(5).double(), "w")
    y = (X * w[:, None]).sum(-1)
    seen = (y[:, :20] * (X[:, :20] @ X[:, 20, :, None])[..., 0].relu()).mean(1)
    a = float((seen * y[:, 20]).mean() / seen.square().mean())
    assert a == pytest.approx(linear.relu_attention_step(20, 5), rel=0.01)
    left = (y[:, 20] - linear.relu_attention_step(20, 5) * seen).square()
    assert abs(float(left.mean()) - linear.relu_attention_loss(20, 5)) < 4 * float(left.std()) / math.sqrt(
        PROMPTS
    )


def test_bad_laws_are_refused() -> None:
    with pytest.raises(UserError, match="covariance must be symmetric positive definite"):
        linear.RegressionDistribution(-torch.eye(2).double(), torch.eye(2).double())
    with pytest.raises(UserError, match="float64"):
        linear.RegressionDistribution(torch.eye(2), torch.eye(2).double())
    with pytest.raises(UserError, match="noise_variance"):
        linear.RegressionDistribution.isotropic(2, -1.0)
    with pytest.raises(UserError, match="at least 100 prompts"):
        linear_depth.depth_optimum(torch.randn(10, 5, 2), 2, False)


@pytest.fixture(scope="module")
def covariates() -> torch.Tensor:
    return torch.randn(20_000, 20, 5, generator=generator(0, "x", 0))


def test_one_layer_of_descent_is_the_closed_form(covariates: torch.Tensor) -> None:
    found = linear_depth.depth_optimum(covariates, 1, flatten=False)
    assert found.steps[0] == pytest.approx(20 * linear.isotropic_step(20, 5), rel=0.01)
    assert abs(found.loss - linear.isotropic_loss(20, 5)) < 4 * found.se


@pytest.mark.parametrize(
    ("layers", "flatten", "loss", "steps", "flattening"),
    [
        (2, False, 0.362, (0.517, 1.254), ()),
        (3, False, 0.136, (0.423, 0.688, 1.713), ()),
        (3, True, 7.4e-4, (0.381, 2.42, 9.72), (0.904, 0.568)),
    ],
)
def test_gold_weights_of_deeper_nets(
    covariates: torch.Tensor, layers, flatten, loss, steps, flattening
) -> None:
    found = linear_depth.depth_optimum(covariates, layers, flatten)
    assert found.steps == pytest.approx(steps, rel=0.05)
    assert found.flattening == pytest.approx(flattening, rel=0.05)
    assert abs(found.loss - loss) < 0.03 * loss + 3 * found.se


def test_a_second_layer_of_flattening_has_a_better_basin_than_the_published_one(
    covariates: torch.Tensor,
) -> None:
    lam = linear_depth.spectra(covariates)
    published = linear_depth.depth_loss(lam, torch.tensor([0.773, 2.66]), torch.tensor([0.354])).mean()
    assert float(published) == pytest.approx(0.0872, rel=0.03)
    found = linear_depth.depth_optimum(covariates, 2, flatten=True)
    assert found.loss + 4 * found.se < 0.8 * float(published)


def test_the_best_preconditioner_of_a_rank() -> None:
    """Against a search over factors: no rank-one G is better, and the best one is reached."""
    law = linear.RegressionDistribution(
        torch.diag(torch.tensor([3.0, 1.0, 0.5])).double(), torch.eye(3).double(), 0.2
    )
    assert linear.rank_excess(law, 10, 3) == pytest.approx(0, abs=1e-12)
    E, S, best = linear.label_moment(law, 10), law.covariance, linear.optimal_preconditioner(law, 10)
    gen, found = torch.Generator().manual_seed(0), []
    for _ in range(4):
        u, v = torch.randn(2, 3, generator=gen, dtype=torch.float64)
        for _ in range(200):  # exact least squares in u, then in v
            u = torch.linalg.solve(E * (v @ S @ v), E @ best @ S @ v)
            v = torch.linalg.solve(S * (u @ E @ u), S @ best.T @ E @ u)
        found.append(linear.excess_loss(torch.outer(u, v), law, 10))
    assert min(found) == pytest.approx(linear.rank_excess(law, 10, 1), rel=1e-6)
