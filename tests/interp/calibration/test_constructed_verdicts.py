"""The filter instrument on nets whose algorithm is written into their weights, and on one that learnt
nothing.
"""

from __future__ import annotations

import pytest
import torch

from interp.models import TransformerConfig, build_model
from interp.models.constructed_algorithms import constructed_gradient_descent, constructed_newton
from probes import filters, induced, verdict
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems
from probes.filters import FilterConfig
from probes.observations import Observations
from tasks.regression import InContextRegression

D, N, PROMPTS, QUERIES = 5, 10, 400, 12
TASK = InContextRegression(d=D, n=N, layout="merged", eigenvalues=(3.0, 1.0, 0.5, 0.3, 0.2))
ETA, GAMMA, ALPHA, STEPS = 0.10, 0.10, 0.01, 4
TRUTHS = {
    "gd": Algorithm("gd", STEPS, "fixed", {"eta": ETA / N}),
    "gd++": Algorithm("gd++", STEPS, "fixed", {"eta": 3 * ETA / N, "gamma": GAMMA / N}),
    "newton": Algorithm("newton", STEPS, "fixed", {"alpha": ALPHA / N**2}),
}


def net(name):
    if name == "newton":
        return constructed_newton(STEPS, D, N, ALPHA)[0]
    if name == "gd":
        return constructed_gradient_descent([ETA] * STEPS, D, N)[0]
    return constructed_gradient_descent([3 * ETA] * STEPS, D, N, [GAMMA] * STEPS)[0]


def ask(model, dtype=torch.float64):
    batch = TASK.sample(0, "probe", 0, PROMPTS)
    queries = TASK.draw_x(torch.Generator().manual_seed(1), batch.basis, QUERIES)
    probed = induced.probe_inputs(batch.inputs.to(dtype), N, queries)
    with torch.no_grad():
        outputs = model(probed.flatten(0, 1))[:, N, 0].reshape(PROMPTS, QUERIES).double()
    return Problems.of(batch.x, batch.y, (N,)), queries.double(), outputs


@pytest.mark.parametrize("name", TRUTHS)
def test_filter_and_net_are_the_same_algorithm(name):
    problems, queries, outputs = ask(net(name))
    w = algorithms.weights(problems, [TRUTHS[name]])[0, :, 0]
    assert (outputs - (queries @ w[..., None])[..., 0]).abs().max() < 1e-8


@pytest.mark.parametrize("name", TRUTHS)
def test_the_wired_algorithm_is_named(name):
    problems, queries, outputs = ask(net(name))
    noise = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    seen = Observations.of(problems, queries, outputs + (0.1 * outputs.var()).sqrt() * noise)
    evidence = filters.judge(seen, FilterConfig())
    found = verdict.decide(evidence)
    assert found.kind in ("identified", "indistinguishable")
    assert name in found.families
    assert evidence.misfit(name).low < 0.002


@pytest.mark.parametrize("seed", [0, 1])
def test_an_untrained_net_is_given_no_algorithm(seed):
    config = TransformerConfig(n_layers=3, n_heads=2, d_model=24, mask="full")
    problems, queries, outputs = ask(build_model(config, TASK.interface, seed).eval(), torch.float32)
    evidence = filters.judge(Observations.of(problems, queries, outputs), FilterConfig())
    assert verdict.decide(evidence).kind in ("none", "not a filter")
    assert min(float(fit.left.sum() / evidence.seen.size.sum()) for fit in evidence.fits) > 0.9
