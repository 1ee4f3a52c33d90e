"""Iterates of algorithms in closed form: equal to plain loops, turned with their inputs, tuned, refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.algorithms import iterates as algorithms
from probes.algorithms import problems
from probes.algorithms.iterates import FAMILIES, Algorithm, Problems
from tasks.errors import UserError
from tests.probes.algorithms.loops import LOOPS, D, scale

N = 12
CONTEXTS = (0, 1, 3, 5, 8, 12)


def prompts(seed=0, prompts=6, noise=0.3, kappa=10.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(prompts, N + 1, D)) * np.sqrt(np.geomspace(1, kappa, D))
    y = np.einsum("pnd,pd->pn", x, rng.normal(size=(prompts, D))) + noise * rng.normal(size=(prompts, N + 1))
    return torch.from_numpy(x), torch.from_numpy(y)


def check(algorithm, loop, seed=0):
    x, y = prompts(seed)
    found = algorithms.weights(Problems.of(x, y, CONTEXTS), [algorithm])[0].numpy()
    for p in range(len(x)):
        for i, t in enumerate(CONTEXTS):
            design, labels = x[p, :t].numpy(), y[p, :t].numpy()
            s, b = design.T @ design, design.T @ labels
            expected = loop(s, b, algorithm.k, scale(s, algorithm.step), **algorithm.sizes)
            assert np.abs(found[p, i] - expected).max() < 1e-8, (p, t)


STEPLESS = ("cg", "ols")


@pytest.mark.parametrize(
    ("family", "step"), [(f, s) for f in LOOPS for s in problems.STEPS if s == "fixed" or f not in STEPLESS]
)
def test_closed_form_equals_the_plain_loop(family, step):
    loop, fixed, normalised = LOOPS[family]
    for k in (0, 1, 2, 4, 7):
        if family == "cg" and k > D - 1:
            continue  # beyond the rank it is least squares: tested below
        check(Algorithm(family, k, step, fixed if step == "fixed" else normalised), loop)


@pytest.mark.parametrize("step", problems.STEPS)
def test_gd_plus_plus_equals_rewriting_the_tokens(step):
    x, y = prompts()
    sizes = {"eta": 0.005, "gamma": 0.002} if step == "fixed" else {"eta": 0.8, "gamma": 0.25}
    steps = [Algorithm("gd++", k, step, sizes) for k in range(5)]
    found = algorithms.predictions(Problems.of(x, y, CONTEXTS), steps)
    for p in range(len(x)):
        for i, t in enumerate(CONTEXTS):
            design, labels, query, answer = x[p, :t].numpy(), y[p, :t].numpy(), x[p, t].numpy(), 0.0
            c = scale(design.T @ design, step)
            for k in range(5):
                assert abs(float(found[k, p, i]) - answer) < 1e-8
                eta, gamma = sizes["eta"] / c, sizes["gamma"] / c
                s, w = design.T @ design, eta * design.T @ labels
                answer, labels = answer + query @ w, labels - design @ w
                turn = np.eye(D) - gamma * s
                design, query = design @ turn, turn @ query


def test_online_descent_equals_its_loop_and_is_exact_on_the_newest_example():
    x, y = prompts()
    found = algorithms.weights(Problems.of(x, y, CONTEXTS), [Algorithm("ogd")])[0]
    for p in range(len(x)):
        w = np.zeros(D)
        for t in range(N):
            if t in CONTEXTS:
                assert np.abs(found[p, CONTEXTS.index(t)].numpy() - w).max() < 1e-8
            v = x[p, t].numpy()
            w = w + v * (float(y[p, t]) - v @ w) / (v @ v)
    last = (found[:, -1] * x[:, N - 1]).sum(-1)
    assert torch.allclose(last, y[:, N - 1], atol=1e-10)


def test_preconditioned_descent_equals_its_loop():
    x, y = prompts()
    rng = np.random.default_rng(3)
    each = [a @ a.T + 0.3 * np.eye(D) for a in rng.normal(size=(len(x), D, D))]
    for shared in (True, False):
        p = torch.from_numpy(each[0] if shared else np.stack(each))
        found = algorithms.weights(Problems.of(x, y, CONTEXTS, p), [Algorithm("gd", 6, sizes={"eta": 1e-3})])[
            0
        ]
        for i in range(len(x)):
            matrix = each[0 if shared else i]
            for j, t in enumerate(CONTEXTS):
                w = np.zeros(D)
                for _ in range(6):
                    w = w + 1e-3 * matrix @ (x[i, :t].numpy().T @ (y[i, :t].numpy() - x[i, :t].numpy() @ w))
                assert np.abs(found[i, j].numpy() - w).max() < 1e-8


def test_predictions_are_weights_times_the_query():
    x, y = prompts()
    several = [Algorithm("newton", 3, "norm", {"alpha": 1.0}), Algorithm("cg", 2), Algorithm("ogd")]
    problems = Problems.of(x, y, CONTEXTS)
    direct = (algorithms.weights(problems, several) * x[:, list(CONTEXTS)]).sum(-1)
    assert torch.allclose(algorithms.predictions(problems, several), direct, atol=1e-10)


def test_every_converging_family_ends_at_least_squares():
    x, y = prompts(noise=0.0)
    problems = Problems.of(x, y, (8, 12))
    expected = algorithms.weights(problems, [Algorithm("ols")])[0]
    ends = [
        Algorithm("gd", 20000, "norm", {"eta": 1.0}),
        Algorithm("newton", 24, "norm", {"alpha": 1.0}),
        Algorithm("newton-identity", 14, "norm", {"alpha": 1.0}),
        Algorithm("gd++", 2000, "norm", {"eta": 1.0, "gamma": 0.01}),
        Algorithm("cg", 12),
        Algorithm("ridge", 0, "fixed", {"mu": 1e-12}),
    ]
    for algorithm, found in zip(ends, algorithms.weights(problems, ends), strict=True):
        assert (found - expected).abs().max() < 1e-6, algorithm.label


def test_the_printed_newton_step_never_learns_the_top_direction_and_ours_does():
    x, y = prompts(noise=0.0)
    problems = Problems.of(x, y, (12,))
    printed, ours = (Algorithm("newton", 30, "norm", {"alpha": a}) for a in (2.0, 1.0))
    f = algorithms.coefficients(problems, [printed, ours]) / problems.least_squares
    assert f[0, ..., -1].abs().max() < 1e-6
    assert (f[1] - 1).abs().max() < 1e-6


def test_newton_from_identity_is_gradient_descent_at_two_to_the_k():
    x, y = prompts()
    problems = Problems.of(x, y, CONTEXTS)
    pair = [
        Algorithm("newton-identity", 5, "trace", {"alpha": 0.7}),
        Algorithm("gd", 32, "trace", {"eta": 0.7}),
    ]
    a, b = algorithms.predictions(problems, pair)
    assert torch.allclose(a, b, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100), st.sampled_from(sorted(FAMILIES)))
def test_predictions_do_not_change_when_inputs_are_rotated(seed, family):
    x, y = prompts(seed)
    q, _ = torch.linalg.qr(
        torch.randn(D, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    )
    algorithm = Algorithm(family, 3, "norm" if LOOPS.get(family, (0, {}))[1] else "fixed", _sizes(family))
    a, b = (algorithms.predictions(Problems.of(z, y, CONTEXTS), [algorithm]) for z in (x, x @ q))
    assert torch.allclose(a, b, atol=1e-7)


def _sizes(family):
    own = {"gd++": {"eta": 0.01, "gamma": 0.001}, "svd": {"cut": 1e-6}}  # above its cut, svd is least squares
    return own.get(family) or LOOPS[family][2]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_small_power_is_the_log_log_slope_at_small_eigenvalues(family):
    u = torch.tensor([1e-5, 2e-5], dtype=torch.float64)
    low, high = FAMILIES[family].filter(u, 2, **_sizes(family)).log()
    slope = float((high - low) / np.log(2))
    assert slope == pytest.approx(FAMILIES[family].small_power, abs=1e-3)


def test_bayes_is_the_posterior_mean():
    x, y = prompts(noise=0.5)
    found = algorithms.weights(Problems.of(x, y, (3,)), [algorithms.bayes(0.5, 2.0)])[0, :, 0]
    for p in range(len(x)):
        design = x[p, :3].numpy()
        gain = 4 * design.T @ np.linalg.inv(4 * design @ design.T + 0.25 * np.eye(3))
        assert np.abs(found[p].numpy() - gain @ y[p, :3].numpy()).max() < 1e-8
    assert algorithms.bayes(0.0, 2.0).family == "ols"


def test_tuning_takes_the_best_and_ignores_what_diverges():
    x, y = prompts(noise=0.0)
    problems = Problems.of(x, y, (8, 12))
    candidates = [Algorithm("gd", 50, "fixed", {"eta": e}) for e in (1e-5, 5e-3, 1e6)]
    assert algorithms.tuned(problems, y[:, [8, 12]], candidates) == candidates[1]
    with pytest.raises(UserError, match="diverges"):
        algorithms.tuned(problems, y[:, [8, 12]], [Algorithm("gd", 500, "fixed", {"eta": 1e6})])


def test_no_examples_means_a_zero_prediction_from_everything():
    x, y = prompts()
    several = [Algorithm(f, 3, "norm", _sizes(f)) for f in sorted(FAMILIES)] + [
        Algorithm("cg", 2),
        Algorithm("ogd"),
    ]
    assert torch.equal(
        algorithms.predictions(Problems.of(x, y, (0,)), several).abs().max(), torch.tensor(0.0).double()
    )


def test_bad_input_is_one_line():
    x, y = prompts()
    cases = [
        (lambda: Algorithm("adam"), "unknown algorithm 'adam'"),
        (lambda: Algorithm("gd"), r"needs sizes \['eta'\]"),
        (lambda: Algorithm("gd", -1, sizes={"eta": 0.1}), "0 or more"),
        (lambda: Problems.of(x, y, (N + 1,)), "out of range"),
        (lambda: Problems.of(x, y, ()), "out of range"),
        (lambda: Problems.of(x * torch.nan, y, (3,)), "NaN"),
        (lambda: Problems.of(x, y, (3,), -torch.eye(D)), "positive definite"),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
