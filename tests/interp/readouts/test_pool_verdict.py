"""dMMSE among the families of the filter verdict: named where it is planted on a pool of tasks, not where ridge is, and
not among the answers of a run without a pool."""

from types import SimpleNamespace

import pytest
import torch

from interp.readouts.algorithms import AlgorithmMatch
from interp.readouts.asked import Asked
from interp.readouts.iterates import POOLED, Posed
from interp.readouts.verdict_conclusions import family
from interp.readouts.verdict_rows import judged
from probes import verdict
from probes.algorithms.iterates import Algorithm, coefficients, weights
from tasks import InContextRegression, UserError
from tasks.regression_pool import posterior_weights

D, N, NOISE = 4, 10, 0.5
POOLS = InContextRegression(d=D, n=N, noise=NOISE, pool=8)
SKEWED = InContextRegression(
    d=D, n=N, noise=NOISE, pool=8, basis="fixed", kappa=4.0, prior="inverse-covariance"
)


def prompts(task, count=400):
    return task.sample(0, "test", 0, count).double()


def decided(task, batch, w):
    """The verdict on outputs q'w with a little noise, w one weight vector a prompt."""
    gen = torch.Generator().manual_seed(1)
    queries = task.draw_x(gen, batch.basis.float(), 2 * D + 2).double()
    clean = torch.einsum("pqd,pd->pq", queries, w)
    outputs = clean + 0.02 * clean.std() * torch.randn(clean.shape, generator=gen, dtype=torch.float64)
    asked = Asked(batch.x, batch.y, batch.basis, queries, outputs[None])
    accumulator = SimpleNamespace(settings=AlgorithmMatch(quick=True), sites=["site"], context=N)
    return verdict.decide(judged(accumulator, Posed(task, batch.x, batch.y, batch.basis, (N,)), asked, 0))


def of_pool(task, batch):
    return posterior_weights(task, batch.x[:, :N], batch.y[:, :N], batch.basis)


@pytest.mark.parametrize("task", [POOLS, SKEWED], ids=["plain", "skewed"])
def test_weights_give_the_predictions(task):
    """Whatever the prior and the eigenbasis: the same numbers as the closed form of the predictions."""
    batch = prompts(task, 20)
    by_weights = torch.einsum("pd,pd->p", batch.x[:, N], of_pool(task, batch))
    assert torch.allclose(by_weights, task.strategies(batch)["dMMSE"][:, 2 * N, 0], atol=1e-10)


def test_planted_dmmse_is_identified():
    batch = prompts(POOLS)
    found = decided(POOLS, batch, 0.7 * of_pool(POOLS, batch))
    assert (found.kind, found.families) == ("identified", (POOLED,))
    assert found.misfit.high < 0.01 < 0.02 < found.free.low, "no function of the eigenvalues comes near"
    assert "pool of tasks" in family(POOLED)


def test_ridge_on_a_pool_is_not_called_dmmse():
    batch = prompts(POOLS)
    posed = Posed(POOLS, batch.x, batch.y, batch.basis, (N,))
    (ridge,) = weights(posed.plain, [Algorithm("ridge", 0, "fixed", {"mu": NOISE**2})])[:, :, 0]
    found = decided(POOLS, batch, ridge)
    assert "ridge" in found.families
    assert POOLED not in found.families


def test_a_run_without_a_pool_does_not_know_it():
    """The same outputs on a run whose tasks are drawn afresh: no listed family, and no function of the eigenvalues."""
    batch = prompts(POOLS)
    found = decided(POOLS.distributions["fresh tasks"], batch, of_pool(POOLS, batch))
    assert found.kind == "not a filter"
    with pytest.raises(UserError, match="this run has none"):
        of_pool(POOLS.distributions["fresh tasks"], batch)
    with pytest.raises(UserError, match="no iterate of the examples"):
        coefficients(Posed(POOLS, batch.x, batch.y, batch.basis, (N,)).plain, [Algorithm(POOLED)])
