"""Algorithms written into weights by hand are read back from them."""

from __future__ import annotations

import pytest
import torch

from interp.config.model_linear import LinearConfig
from interp.models import linear_weights as reading
from interp.models.build import build_model
from interp.models.linear import LinearTransformer
from interp.readouts.preconditioners import Preconditioners, task_covariance
from interp.studies.one_step_gd import theory as linear
from tasks.errors import UserError
from tasks.regression import InContextRegression
from tasks.streams import generator

TASK = InContextRegression(d=5, n=20, layout="merged")


def build(seed: int = 0, **settings) -> LinearTransformer:
    return build_model(
        LinearConfig(**{"n_layers": 3, "init_std": 0.05, "dtype": "float64", **settings}),
        TASK.interface,
        seed,
    )


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed, "weights", 0), dtype=torch.float64)


def optimum(G: torch.Tensor, scale: float, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A full (P, Q) that computes the preconditioner G with a gauge of its own and no nuisance."""
    P, Q = torch.zeros(6, 6).double(), torch.zeros(6, 6).double()
    P[:-1] = random(5, 6)
    P[-1, -1] = scale
    Q[:-1, :-1] = -n * G / scale
    Q[:, -1] = random(6, seed=1)
    return P, Q


@pytest.mark.parametrize("scale", [0.1, 1.0, -7.0])
def test_a_planted_preconditioner_is_found_in_every_gauge(scale: float) -> None:
    S = torch.diag(torch.tensor([3.0, 1.0, 0.5, 0.25, 2.0]).double())
    G = linear.optimal_preconditioner(linear.RegressionDistribution(S, torch.eye(5).double(), 0.25), 20)
    found = reading.read_layer(*optimum(G, scale, 20))
    assert reading.relative_error(found.preconditioner / 20, G) < 1e-12
    assert reading.cosine(found.preconditioner, G) == pytest.approx(1)
    assert found.squares == 0
    assert found.shifts == 0


def test_the_reading_is_what_the_net_computes() -> None:
    """The part of a one-layer prediction that is odd in the labels is y'X G x_q with the G read from the
    weights.
    """
    model = build(n_layers=1, family="full", init_std=0.4, corner="random")
    batch = TASK.sample(0, "x", 0, 50).double()
    flipped = batch.inputs.clone()
    flipped[..., -1] *= -1
    odd = (model(batch.inputs) - model(flipped))[:, -1, 0] / 2
    G = reading.read_model(model)[0].preconditioner / 20
    expected = torch.einsum("bn,bnd,de,be->b", batch.y[:, :-1], batch.x[:, :-1], G, batch.x[:, -1])
    torch.testing.assert_close(odd, expected)


def test_an_untrained_net_shows_no_descent() -> None:
    found = [
        r
        for seed in range(20)
        for r in reading.read_model(build(seed, family="full", init_std=0.1, corner="random"))
    ]
    aligned = [abs(reading.cosine(r.preconditioner, torch.eye(5).double())) for r in found]
    assert sum(aligned) / len(aligned) < 0.5
    assert sum(r.shifts for r in found) / len(found) > 0.3
    assert sum(reading.distance_to_identity(r.preconditioner) for r in found) / len(found) > 0.7


def test_the_rank_one_saddle_is_seen() -> None:
    P, Q = random(6, 6, seed=2) * 0.01, random(6, 6, seed=3) * 0.01
    P[-1, :-1], Q[-1, :-1] = random(5, seed=4), random(5, seed=5)
    assert reading.read_layer(P, Q).rank_one > 0.98
    eye = reading.read_layer(*optimum(torch.eye(5).double(), 1.0, 20))
    assert eye.rank_one == pytest.approx(0.2)


def test_distances() -> None:
    U = torch.linalg.qr(random(5, 5))[0]
    S = U @ torch.diag(torch.tensor([1.0, 1.0, 0.25, 0.0625, 1.0]).double()) @ U.T
    A = 0.7 * torch.linalg.inv(S)
    assert reading.distance_to_identity(reading.whitened(A, S)) < 1e-6
    assert reading.distance_to_identity(A) > 0.3
    P, Q = random(6, 6), random(6, 6, seed=1)
    assert reading.gauge_distance((P, Q), (3 * P, Q / 3)) < 1e-7
    assert reading.gauge_distance((P, Q), (-P, -Q)) < 1e-7
    assert reading.gauge_distance((P, Q), (P, -Q)) == pytest.approx(2)


def test_readouts_agree_with_implied_weights_and_derivatives() -> None:
    model = build(family="full", init_std=0.08)
    batch = TASK.sample(0, "x", 0, 30).double()
    read = reading.label_readout(model, batch.inputs)
    w = reading.implied_weights(model, batch.inputs)
    torch.testing.assert_close(read, torch.einsum("lbd,bd->lb", w, batch.x[:, -1]))
    torch.testing.assert_close(read[-1], model(batch.inputs)[:, -1, 0])
    query = batch.inputs.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(query)[:, -1].sum(), query)
    torch.testing.assert_close(slope[:, -1, :-1], w[-1])


def test_flattening_shows_in_the_spectra() -> None:
    model = build(family="gd++")
    batch = TASK.sample(0, "x", 0, 200).double()
    before = reading.flatness(reading.covariate_spectra(model, batch.inputs))
    assert float((before - before[0]).abs().max()) < 0.01
    with torch.no_grad():
        for layer, a, b in zip(model.layers, (0.381, 2.42, 9.72), (0.904, 0.568, 0.0), strict=True):
            layer.A.copy_(-a * torch.eye(5))
            layer.B.copy_(b * torch.eye(5))
    after = reading.flatness(reading.covariate_spectra(model, batch.inputs))
    assert after[0] < after[1] < after[2]
    assert after[2] > 2 * after[0]


def test_the_table_of_a_planted_net() -> None:
    task = InContextRegression(
        d=5,
        n=20,
        layout="merged",
        eigenvalues=(1.0, 1.0, 0.25, 0.0625, 1.0),
        basis="fixed",
        prior="inverse-covariance",
    )
    model = build_model(LinearConfig(n_layers=2, family="gd", dtype="float64"), task.interface, 0)
    S = task_covariance(task)
    with torch.no_grad():
        for layer, a in zip(model.layers, (0.5, 1.25), strict=True):
            layer.A.copy_(-a * torch.linalg.inv(S))
    accumulator = Preconditioners().accumulator(model, task, None)
    batch = task.sample(0, "x", 0, 64).double()
    accumulator.add(0, batch, model(batch.inputs), None)
    table = accumulator.table().set_index(["metric", "layer"])["value"]
    assert table["step size", 0] == pytest.approx(0.5, rel=1e-5)
    assert table["step size", 1] == pytest.approx(1.25, rel=1e-5)
    assert table["distance to identity, whitened", 1] < 1e-5
    assert table["distance to identity", 1] > 0.3
    assert torch.allclose(S, (task.sample(0, "y", 0, 50_000).x[:, 0].T.cov()).double(), atol=0.05)


def test_other_models_are_refused() -> None:
    with pytest.raises(UserError, match="kind 'linear'"):
        Preconditioners().accumulator(torch.nn.Linear(2, 2), TASK, None)
    with pytest.raises(UserError, match="basis per prompt"):
        task_covariance(InContextRegression(d=5, n=20, layout="merged", basis="prompt", kappa=3.0))
