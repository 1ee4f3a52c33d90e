"""Mixtures of predictors: exact weights, their coverage, candidates that coincide, a truth that is none of them."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import minimize

from probes.strategy_weights import simplex, strategy_weights
from tasks.errors import UserError

MIXTURE = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def three(seed: int, prompts: int = 256, cells: int = 6, noise: float = 0.5):
    """Three independent candidates, and a noisy mixture of them."""
    gen = torch.Generator().manual_seed(seed)
    g = torch.randn(3, prompts, cells, generator=gen, dtype=torch.float64)
    f = torch.einsum("j,jpc->pc", MIXTURE, g) + noise * torch.randn(prompts, cells, generator=gen)
    return f, dict(zip("abc", g, strict=True))


def test_an_exact_mixture_is_recovered_to_the_last_digits():
    f, candidates = three(0, noise=0.0)
    found = strategy_weights(f, candidates)
    assert [w.value for w in found.weights.values()] == pytest.approx(MIXTURE.tolist(), abs=1e-9)
    assert found.unexplained.value == pytest.approx(0, abs=1e-9)
    assert found.alike == ()
    assert found.leading is None, "no weight is above one half"


@pytest.mark.parametrize("seed", range(5))
def test_the_minimiser_on_the_simplex_is_that_of_a_general_solver(seed):
    gen = torch.Generator().manual_seed(seed)
    root = torch.randn(4, 4, generator=gen, dtype=torch.float64)
    gram, cross = root @ root.T, torch.randn(4, generator=gen, dtype=torch.float64)
    ours = simplex(gram[None], cross[None])[0]

    def loss(a):
        a = torch.as_tensor(a)
        return float(a @ gram @ a - 2 * a @ cross)

    best = minimize(
        loss, [0.25] * 4, bounds=[(0, 1)] * 4, constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
        method="SLSQP", options={"ftol": 1e-12, "maxiter": 500},
    )  # fmt: skip
    assert float(ours.sum()) == pytest.approx(1, abs=1e-9)
    assert loss(ours) <= best.fun + 1e-7


def test_weights_are_close_where_candidates_are_separable():
    errors = []
    for seed in range(20):
        found = strategy_weights(*three(seed), draws=100)
        assert found.separation > 0.5
        errors += [abs(w.value - float(MIXTURE[j])) for j, w in enumerate(found.weights.values())]
    assert max(errors) <= 0.1
    assert sum(errors) / len(errors) <= 0.03


def test_a_candidate_that_takes_no_part_has_a_weight_that_reaches_zero():
    missing = 0
    for seed in range(20):
        f, candidates = three(seed)
        gen = torch.Generator().manual_seed(1000 + seed)
        candidates["d"] = torch.randn(f.shape, generator=gen, dtype=torch.float64)
        missing += strategy_weights(f, candidates, draws=200).weights["d"].low > 0
    assert missing <= 3


def test_candidates_that_coincide_are_said_to():
    f, candidates = three(0)
    candidates["b again"] = candidates["b"] + 0.01 * candidates["a"]
    found = strategy_weights(f, candidates)
    assert found.alike == (("b", "b again"),)
    assert found.separation < 1e-3


def test_a_truth_that_is_no_mixture_remains_unexplained():
    f, candidates = three(0)
    gen = torch.Generator().manual_seed(7)
    other = torch.randn(f.shape, generator=gen, dtype=torch.float64)
    found = strategy_weights(other, {**candidates, "zero": torch.zeros_like(f)})
    assert found.unexplained.low > 0.9
    assert found.leading is None, "the outputs are none of the candidates"


def test_what_cannot_be_fitted_is_refused_and_few_prompts_have_no_interval():
    f, candidates = three(0, prompts=8)
    found = strategy_weights(f, candidates)
    assert found.weights["a"].low != found.weights["a"].low
    with pytest.raises(UserError, match="2 to 8 candidates"):
        strategy_weights(f, {"a": candidates["a"]})
    with pytest.raises(UserError, match="NaN"):
        strategy_weights(f * float("nan"), candidates)
