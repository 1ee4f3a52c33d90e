"""Wired nets against the iterates they claim to run, computed by explicit loops over weight vectors."""

from __future__ import annotations

import pytest
import torch

from interp.models.constructed_algorithms import constructed_gradient_descent, constructed_newton
from tasks.errors import UserError

D, N, BATCH = 4, 11, 16


def prompts(kappa: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    scales = torch.logspace(0, -0.5 * torch.log10(torch.tensor(kappa)).item(), D, dtype=torch.float64)
    x = torch.randn(BATCH, N + 1, D, generator=source, dtype=torch.float64) * scales
    y = torch.randn(BATCH, N, generator=source, dtype=torch.float64)
    slot = torch.cat([y, torch.zeros(BATCH, 1, dtype=torch.float64)], 1)
    return x, y, torch.cat([x, slot[..., None]], -1)


def newton(x: torch.Tensor, y: torch.Tensor, alpha: float, steps: int) -> torch.Tensor:
    X = x[:, :N]
    S = X.mT @ X / N
    M = alpha * S
    for _ in range(steps):
        M = 2 * M - M @ S @ M
    w = torch.einsum("bde,bne,bn->bd", M, X, y) / N
    return torch.einsum("bd,bd->b", x[:, N], w)


@pytest.mark.parametrize("kappa", [1.0, 100.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_newton_steps_are_exact_in_two_more_layers(steps, kappa):
    x, y, tokens = prompts(kappa)
    model, _ = constructed_newton(steps, D, N, alpha=0.1)
    predictions = model(tokens)[:, N, 0]
    assert model.config.n_layers == steps + 2
    assert model.config.d_model == 2 * D + 2
    assert model.config.attention == "relu"
    assert (predictions - newton(x, y, 0.1, steps)).abs().max() < 1e-8
    assert (predictions - newton(x, y, 0.1, steps + 1)).abs().max() > 1e-3


def test_newton_layers_hold_the_scaled_iterates():
    x, _, tokens = prompts()
    model, _ = constructed_newton(3, D, N, alpha=0.1)
    _, cache = model.run_with_cache(tokens)
    X = x[:, :N]
    S = X.mT @ X / N
    M = 0.1 * S
    for k in range(4):
        state = cache[f"blocks.{k}.hook_resid_post"][..., D + 1 : 2 * D + 1]
        assert torch.allclose(state, x @ M.mT / 2**k, atol=1e-10)
        M = 2 * M - M @ S @ M


def test_newton_converges_to_least_squares():
    x, y, tokens = prompts()
    model, _ = constructed_newton(14, D, N, alpha=0.05)
    w = torch.linalg.lstsq(x[:, :N], y[..., None]).solution[..., 0]
    ols = torch.einsum("bd,bd->b", x[:, N], w)
    assert (model(tokens)[:, N, 0] - ols).abs().max() < 1e-6


@pytest.mark.parametrize("attention", ["linear", "relu"])
@pytest.mark.parametrize("rates", [[0.3], [0.3, 0.1, 0.5], [0.2] * 6])
def test_gradient_descent_steps_are_exact(rates, attention):
    x, y, tokens = prompts()
    model, circuit = constructed_gradient_descent(rates, D, N, attention=attention)
    _, cache = model.run_with_cache(tokens)
    X, w = x[:, :N], torch.zeros(BATCH, D, dtype=torch.float64)
    for layer, rate in enumerate(rates):
        residual = y - torch.einsum("bnd,bd->bn", X, w)
        w = w + rate * torch.einsum("bnd,bn->bd", X, residual) / N
        slots = cache[f"blocks.{layer}.hook_resid_post"][..., D]
        assert torch.allclose(slots[:, :N], y - torch.einsum("bnd,bd->bn", X, w), atol=1e-10)
    assert torch.allclose(model(tokens)[:, N, 0], torch.einsum("bd,bd->b", x[:, N], w), atol=1e-10)
    assert len(circuit.heads) == len(rates) * (2 if attention == "relu" else 1)


@pytest.mark.parametrize("attention", ["linear", "relu"])
def test_gd_plus_plus_steps_are_exact_and_differ_from_gradient_descent(attention):
    x, y, tokens = prompts()
    rates, flattening = [0.2, 0.5, 0.8], [0.3, 0.2, 0.1]
    model, _ = constructed_gradient_descent(rates, D, N, flattening, attention)
    predictions = model(tokens)[:, N, 0]
    moved, residual = x.clone(), y.clone()
    total = torch.zeros(BATCH, dtype=torch.float64)
    for rate, flat in zip(rates, flattening, strict=True):
        X, query = moved[:, :N], moved[:, N]
        gradient = torch.einsum("bnd,bn->bd", X, residual) / N
        total = total + rate * torch.einsum("bd,bd->b", query, gradient)
        residual = residual - rate * torch.einsum("bnd,bd->bn", X, gradient)
        moved = moved - flat * moved @ (X.mT @ X / N)
    assert torch.allclose(predictions, total, atol=1e-10)
    plain, _ = constructed_gradient_descent(rates, D, N)
    assert (plain(tokens)[:, N, 0] - predictions).abs().max() > 1e-2


@pytest.mark.parametrize("distractors", [0, 6])
def test_the_declared_edges_of_a_two_step_net_are_those_that_reach_an_output(distractors):
    """The query's label slot is 0 in every prompt, so the embedding has no edge to the output that reads it; what the
    last layer writes into x is read by nobody.
    """
    _, circuit = constructed_gradient_descent([0.1, 0.2], D, N, distractors=distractors)
    first, second = sorted(circuit.heads)
    every = {("embed", f"{head}.{part}") for head in (first, second) for part in "qkv"}
    descent = every | {(first, f"{second}.v"), (first, "output"), (second, "output")}
    assert circuit.edges == descent
    _, circuit = constructed_gradient_descent([0.1, 0.2], D, N, [0.1, 0.1], distractors=distractors)
    assert sorted(circuit.heads) == [first, second]
    assert circuit.edges == descent | {(first, f"{second}.{part}") for part in "qk"}


def test_the_declared_edges_of_a_newton_step():
    """The readout's values are labels, its queries the state; layer 0 reads x alone."""
    _, circuit = constructed_newton(1, D, N, 0.1)
    seats = [sorted(head for head in circuit.heads if head[1] == layer) for layer in "012"]
    assert [len(pair) for pair in seats] == [2, 2, 2]
    expected = {("embed", f"{head}.{part}") for head in seats[0] for part in "qkv"}
    expected |= {("embed", f"{head}.k") for head in seats[1]}
    expected |= {("embed", f"{head}.{part}") for head in seats[2] for part in "kv"}
    expected |= {(one, f"{two}.{part}") for one in seats[0] for two in seats[1] for part in "qv"}
    expected |= {(one, f"{two}.q") for one in seats[0] + seats[1] for two in seats[2]}
    assert circuit.edges == expected | {(head, "output") for head in seats[2]}


def test_settings_out_of_range_are_refused():
    with pytest.raises(UserError, match="steps=0"):
        constructed_newton(0, D, N, 0.1)
    with pytest.raises(UserError, match="flattening has 1 values for 2 steps"):
        constructed_gradient_descent([0.1, 0.1], D, N, [0.1])
