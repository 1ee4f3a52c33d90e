"""In-context regression: layouts, scale, Bayes answers, floors and pairs against independent computations.

Chance is seen on 40,000 prompts, on 100,000 with ALGOSCOPE_FULL=1.
"""

import dataclasses
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import InContextRegression, UserError, build, targets

PROMPTS = 100_000 if os.environ.get("ALGOSCOPE_FULL") == "1" else 40_000
ARMS = [
    {},
    {"kappa": 10.0, "basis": "prompt"},
    {"kappa": 10.0, "basis": "fixed", "prior": "inverse-covariance", "weight_scale": 2.0, "noise": 0.5},
    {"eigenvalues": (3.0, 1.0, 0.5, 0.25, 2.0), "noise": 1.0, "x_scale": 1.5},
    {"law": "sphere", "noise": 0.3},
    {"law": "gamma-sphere", "gamma": (2.0, 1.0)},
    {"kappa": 100.0},
    {"layout": "merged", "n": 3},
]


def mean_and_error(values):
    return values.mean(0), values.std(0) / len(values) ** 0.5


def test_worked_example_of_both_layouts():
    task = InContextRegression(d=3, n=2)
    batch = task.sample(0, "test", 0, 4)
    x, y = batch.x, batch.y
    expected = torch.zeros(4, 5, 3)
    expected[:, 0], expected[:, 2], expected[:, 4] = x[:, 0], x[:, 1], x[:, 2]
    expected[:, 1, 0], expected[:, 3, 0] = y[:, 0], y[:, 1]
    assert torch.equal(batch.inputs, expected)
    assert torch.allclose(y, (x * batch.w[:, None]).sum(-1), atol=1e-6)
    assert task.interface.token_types == (0, 1, 0, 1, 0)
    assert task.output_names == ("x 1", "x 2", "x 3")
    assert task.labels(batch)[0] == ["x1", "y1", "x2", "y2", "x3"]
    merged = InContextRegression(d=3, n=2, layout="merged").sample(0, "test", 0, 4)
    assert torch.equal(merged.inputs[..., :3], x)
    assert torch.equal(merged.inputs[:, :2, 3], y[:, :2])
    assert (merged.inputs[:, 2, 3] == 0).all()
    assert torch.equal(merged.targets, y[:, 2:])


@pytest.mark.parametrize(
    "arm",
    [
        *ARMS,
        {"target": "relu"},
        {"target": "tanh", "x_scale": 2.0},
        {"target": "cubic", "d": 2},
        {"target": "even", "x_scale": 1.3},
    ],
)
def test_zero_predictor_scores_one(arm):
    task = InContextRegression(**arm)
    batch = task.sample(1, "test", 0, PROMPTS)
    mean, error = mean_and_error(task.loss(torch.zeros(len(batch), task.interface.n_ctx, 1), batch))
    assert ((mean - task.chance().value).abs() < 4.5 * error).all()
    if arm.get("target") != "cubic":
        assert error.max() < 0.03


@pytest.mark.parametrize("arm", ARMS)
def test_floor_is_the_mean_loss_of_the_answer(arm):
    task = InContextRegression(**arm)
    batch = task.sample(2, "test", 0, 40_000)
    mean, error = mean_and_error(task.loss(task.answer(batch), batch))
    floor = task.bayes_risk()
    assert floor.value.shape == (len(task.output_names),)
    assert ((mean - floor.value).abs() < 4.5 * (error**2 + floor.se**2).sqrt() + 1e-6).all()


def test_isotropic_noiseless_floor_is_exact_and_others_are_precise():
    floor = InContextRegression(d=5, n=7).bayes_risk()
    assert floor.value.tolist() == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0])
    assert (floor.se == 0).all()
    sampled = InContextRegression(d=5, n=7, kappa=10.0).bayes_risk()
    assert sampled.value[0] == 1
    assert (sampled.value[5:] == 0).all()
    assert 0 < sampled.se.max() < 0.01


@pytest.mark.parametrize("noise", [0.0, 0.7])
@pytest.mark.parametrize("kappa", [1.0, 100.0])
def test_answer_equals_ridge_or_minimum_norm_least_squares(noise, kappa):
    task = InContextRegression(d=4, n=8, noise=noise, kappa=kappa, basis="prompt", weight_scale=1.5)
    batch = task.sample(3, "test", 0, 20).double()
    if not noise:  # labels rounded to float32 contradict each other once there are more than d
        batch = dataclasses.replace(batch, y=(batch.x * batch.w[:, None]).sum(-1))
    answer = task.answer(batch)
    assert answer.dtype == torch.float64
    assert (answer[:, 1::2] == 0).all()
    for b in range(20):
        x, y = batch.x[b].double().numpy(), batch.y[b].double().numpy()
        for t in range(9):
            penalty = (noise / 1.5) ** 2 * np.eye(4)
            if noise:
                w = np.linalg.solve(x[:t].T @ x[:t] + penalty, x[:t].T @ y[:t])
            else:
                w = np.linalg.lstsq(x[:t], y[:t])[0] if t else np.zeros(4)
            assert answer[b, 2 * t, 0].item() == pytest.approx(w @ x[t], rel=1e-7, abs=1e-7)


def test_answer_under_an_inverse_covariance_prior_equals_generalised_ridge():
    task = InContextRegression(
        d=3, n=4, noise=0.5, eigenvalues=(4, 1, 1), prior="inverse-covariance", basis="fixed"
    )
    batch = task.sample(3, "test", 0, 5)
    basis = batch.basis[0].double()
    precision = basis @ torch.diag(torch.tensor(task.spectrum, dtype=torch.float64)) @ basis.T
    x, y = batch.x.double(), batch.y.double()
    gram = x[:, :4].mT @ x[:, :4] / 0.25 + precision
    w = torch.linalg.solve(gram, (x[:, :4].mT @ y[:, :4, None]) / 0.25)
    assert torch.allclose(task.answer(batch)[:, -1], (x[:, 4:] @ w)[:, 0], atol=1e-6)


def test_inputs_and_weights_have_the_stated_moments():
    task = InContextRegression(
        d=3, n=9, eigenvalues=(4, 1, 1), prior="inverse-covariance", basis="fixed", x_scale=2.0
    )
    batch = task.sample(4, "test", 0, 40_000)
    rotated = batch.x.flatten(0, 1) @ batch.basis[0]
    assert torch.allclose(
        rotated.T @ rotated / len(rotated), torch.diag(torch.tensor(task.covariance_eigenvalues)), atol=0.1
    )
    w = batch.w @ batch.basis[0]
    assert torch.allclose(w.T @ w / len(w), torch.diag(1 / torch.tensor(task.spectrum)), atol=0.06)
    assert sum(task.spectrum) == pytest.approx(3)
    sphere = InContextRegression(law="sphere").sample(0, "test", 0, 10).x
    assert torch.allclose(sphere.norm(dim=-1), torch.ones(10, 11))
    one_each = InContextRegression(basis="prompt", kappa=10.0).sample(0, "test", 0, 2).basis
    assert not torch.allclose(one_each[0], one_each[1])
    shared = InContextRegression(basis="fixed", kappa=10.0)
    assert torch.equal(shared.sample(0, "a", 0, 1).basis, shared.sample(9, "b", 3, 1).basis)


@settings(max_examples=40, deadline=None)
@given(
    d=st.integers(1, 6),
    n=st.integers(1, 8),
    layout=st.sampled_from(["interleaved", "merged"]),
    basis=st.sampled_from(["none", "fixed", "prompt"]),
    law=st.sampled_from(["normal", "sphere", "gamma-sphere"]),
    noise=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 1000),
)
def test_pairs_differ_exactly_where_they_say(d, n, layout, basis, law, noise, seed):
    task = InContextRegression(d=d, n=n, layout=layout, basis=basis, law=law, noise=noise)
    for kind in task.pair_kinds:
        pair = task.pair(kind, seed, "test", 0, 6)
        assert torch.equal(pair.clean.inputs, task.sample(seed, "test", 0, 6).inputs)
        differs = (pair.clean.inputs != pair.corrupt.inputs).any(-1)
        assert torch.equal(differs, pair.changed)
        counts = {"swap-example": 2, "replace-query": 1, "replace-w": n, "negate-w": n}
        expected = 1 if (layout, kind) == ("merged", "swap-example") else counts[kind]
        assert (pair.changed.sum(1) <= expected).all()
        if d > 1 and law != "gamma-sphere":  # else a fresh draw can be the old one, or too short to tell
            assert (pair.changed.sum(1) == expected).all()


def test_pair_semantics():
    task = InContextRegression(noise=0.3)
    negated = task.pair("negate-w", 0, "test", 0, 50)
    assert torch.allclose(task.answer(negated.clean), -task.answer(negated.corrupt))
    assert torch.equal(negated.clean.w, -negated.corrupt.w)
    swapped = task.pair("swap-example", 0, "test", 0, 50)
    assert torch.equal(swapped.clean.w, swapped.corrupt.w)
    assert torch.equal(swapped.clean.targets[:, -1], swapped.corrupt.targets[:, -1])
    replaced = task.pair("replace-w", 0, "test", 0, 50)
    assert torch.equal(replaced.clean.x, replaced.corrupt.x)
    assert not torch.isclose(replaced.clean.w, replaced.corrupt.w).any()
    noise = [half.y - half.clean for half in (replaced.clean, replaced.corrupt)]
    assert torch.allclose(*noise, atol=1e-5)


def test_relations_point_at_the_tokens_they_name():
    task = InContextRegression(n=3)
    batch = task.sample(0, "test", 0, 2)
    labels = task.labels(batch)[0]
    found = {
        r.name: {(labels[d], labels[s]) for d, s in zip(r.dest[0], r.source[0], strict=True)}
        for r in task.relations(batch)
    }
    assert found["y_i -> x_i"] == {("y1", "x1"), ("y2", "x2"), ("y3", "x3")}
    assert found["query -> x"] == {("x4", "x1"), ("x4", "x2"), ("x4", "x3")}
    assert found["query -> y"] == {("x4", "y1"), ("x4", "y2"), ("x4", "y3")}
    assert ("x2", "y1") in found["previous token"]
    assert found["x -> earlier y"] == {(f"x{t}", f"y{s}") for t in range(2, 5) for s in range(1, t)}


@pytest.mark.parametrize(
    ("bad", "culprit"),
    [
        ({"d": 0}, "d"),
        ({"d": -3}, "d"),
        ({"d": 10**9}, "d"),
        ({"n": 0}, "n"),
        ({"noise": -1.0}, "noise"),
        ({"noise": float("nan")}, "noise"),
        ({"eigenvalues": (1.0, 2.0)}, "eigenvalues"),
        ({"eigenvalues": (1.0, 2.0, 0.0, 1.0, 1.0)}, "eigenvalues"),
        ({"eigenvalues": (1.0,) * 5, "kappa": 2.0}, "kappa"),
        ({"target": "relu", "kappa": 10.0}, "relu"),
        ({"depth": 3}, "depth"),
    ],
)
def test_absurd_settings_are_refused_in_one_line(bad, culprit):
    with pytest.raises(UserError, match=culprit) as caught:
        build({"kind": "regression", **bad})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("batch", [0, -1, 10**12])
def test_absurd_batches_are_refused_before_allocation(batch):
    with pytest.raises(UserError, match="batch"):
        InContextRegression().sample(0, "test", 0, batch)


def test_no_closed_form_is_refused():
    nonlinear = InContextRegression(target="tanh")
    unknown = InContextRegression(kappa=10.0, basis="prompt", prior="inverse-covariance")
    for task in (nonlinear, unknown):
        batch = task.sample(0, "test", 0, 2)
        for call in (lambda task=task, batch=batch: task.answer(batch), task.bayes_risk):
            with pytest.raises(UserError, match="closed-form"):
                call()
    with pytest.raises(UserError, match="replace-w"):
        nonlinear.pair("nonsense", 0, "test", 0, 2)


def test_batch_travels_as_one():
    batch = InContextRegression(noise=0.1).sample(0, "test", 0, 8)
    assert len(batch.select(torch.tensor([1, 3]))) == 2
    assert all(getattr(batch.double(), f.name).dtype == torch.float64 for f in dataclasses.fields(batch))


def test_targets_of_one_frozen_net():
    """Labels are linear in the same features in every prompt of a seed; their variance is known in closed form."""
    task = InContextRegression(d=5, n=20, target="features", hidden=10, basis_seed=3, layout="merged")
    batch = task.sample(0, "x", 0, 40_000)
    assert float((batch.clean**2).mean()) == pytest.approx(task.label_variance, rel=0.02)
    U, V = targets.frozen_net(3, 5, 10)
    phi = torch.relu(batch.x[:50].double() @ U.double().T) @ V.double().T
    fit = torch.linalg.lstsq(phi, batch.clean[:50, :, None].double()).solution
    torch.testing.assert_close((phi @ fit)[..., 0], batch.clean[:50].double(), rtol=1e-4, atol=1e-4)
    other = task.model_copy(update={"basis_seed": 4})
    assert not torch.equal(other.sample(0, "x", 0, 4).clean, task.sample(0, "x", 0, 4).clean)
    with pytest.raises(UserError, match="no closed-form Bayes answer"):
        task.bayes_risk()
