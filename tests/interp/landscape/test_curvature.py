"""Curvature instruments against nets whose Hessian is known, and their silence where nothing is planted."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch

from interp.cli import run as command
from interp.config.model_linear import LinearConfig
from interp.config.model_lstm import LSTMConfig
from interp.config.model_transformer import TransformerConfig
from interp.config.run import configure
from interp.landscape import curvature, landscape, tails
from interp.models.build import build_model
from interp.run import Run
from tasks.errors import UserError
from tasks.regression import InContextRegression
from tasks.streams import generator

TASK = InContextRegression(d=3, n=6, layout="merged")


def linear_objective(prompts: int = 200, seed: int = 0, **settings) -> curvature.Objective:
    model = build_model(
        LinearConfig(**{"n_layers": 2, "init_std": 0.3, "dtype": "float64", **settings}), TASK.interface, seed
    )
    return curvature.Objective(model, TASK, TASK.sample(0, "x", 0, prompts).double())


def quadratic(prompts: int = 200) -> tuple[curvature.Objective, torch.Tensor]:
    """One layer of descent is linear in A, so its Hessian is 2 E[f f'] with f the outer product of X'y/n
    and x_q.
    """
    objective = linear_objective(prompts, n_layers=1, family="gd")
    batch = objective.batch
    pull = torch.einsum("bn,bnd->bd", batch.y[:, :-1], batch.x[:, :-1]) / 6
    f = torch.einsum("bi,bj->bij", pull, batch.x[:, -1]).flatten(1)
    return objective, 2 * f.T @ f / prompts / TASK.label_variance


def test_hessian_of_a_quadratic() -> None:
    objective, expected = quadratic()
    w = objective.weights
    torch.testing.assert_close(curvature.hessian(objective, w), expected)
    v = torch.randn(9, generator=generator(0, "v", 0), dtype=torch.float64)
    torch.testing.assert_close(objective.hvp(w, v), expected @ v)
    top = float(torch.linalg.eigvalsh(expected)[-1])
    assert curvature.sharpness(objective, w) == pytest.approx(top, rel=1e-3)
    u = v / v.norm()
    assert curvature.directional_smoothness(objective, w, w + 0.3 * v) == pytest.approx(
        float(u @ expected @ u)
    )


def test_smoothness_is_the_second_order_term_of_the_loss() -> None:
    objective, _ = quadratic()
    w = objective.weights
    step = torch.randn(9, generator=generator(0, "v", 0), dtype=torch.float64)
    bend = curvature.directional_smoothness(objective, w, w + step)
    change = objective.loss(w + step) - objective.loss(w)
    torch.testing.assert_close(change, objective.gradient(w) @ step + bend * step.square().sum() / 2)


def test_hessian_vector_products_against_finite_differences() -> None:
    objective = linear_objective(family="full", init_std=0.1)
    w = objective.weights
    v = torch.randn(len(w), generator=generator(0, "v", 0), dtype=torch.float64)
    h = 1e-5
    numeric = (objective.gradient(w + h * v) - objective.gradient(w - h * v)) / (2 * h)
    torch.testing.assert_close(objective.hvp(w, v), numeric, rtol=1e-5, atol=1e-7)


MODELS = {
    "transformer": TransformerConfig(n_layers=1, n_heads=2, d_model=8, mlp="gelu"),
    "lstm": LSTMConfig(n_layers=1, d_model=4),
    "softmax": LinearConfig(n_layers=2, attention="softmax"),
}


@pytest.mark.parametrize("name", MODELS)
def test_any_model_of_the_toolkit(name: str) -> None:
    task = (
        InContextRegression(d=3, n=6, layout="merged") if name == "softmax" else InContextRegression(d=3, n=6)
    )
    model = build_model(MODELS[name], task.interface, 0).double()
    objective = curvature.Objective(model, task, task.sample(0, "x", 0, 20).double())
    w = objective.weights
    v = torch.randn(len(w), generator=generator(0, "v", 0), dtype=torch.float64)
    numeric = (objective.gradient(w + 1e-5 * v) - objective.gradient(w - 1e-5 * v)) / 2e-5
    torch.testing.assert_close(objective.hvp(w, v), numeric, rtol=1e-4, atol=1e-7)


def test_the_estimated_diagonal_covers_the_true_one() -> None:
    objective = linear_objective()
    w = objective.weights
    true = curvature.hessian(objective, w).diagonal()
    mean, se = curvature.hessian_diagonal(objective, w, probes=400)
    inside = ((mean - true).abs() <= 2 * se + 1e-12).double().mean()
    assert inside > 0.85
    with pytest.raises(UserError, match="at least 2 probes"):
        curvature.hessian_diagonal(objective, w, probes=1)


def test_condition_numbers_of_known_matrices() -> None:
    H = torch.diag(torch.tensor([100.0, 2.0, 1.0, 0.5, 0.0]).double())
    found = curvature.conditioning(H)
    assert (found.eigenvalues, found.diagonal) == (100, 100)
    assert (found.eigenvalues_active, found.active, found.total) == (pytest.approx(100 / 1.5), 4, 5)
    U = torch.linalg.qr(torch.randn(40, 40, generator=generator(0, "U", 0), dtype=torch.float64))[0]
    steep = U @ torch.diag(torch.cat([torch.tensor([1000.0]), torch.ones(39)]).double()) @ U.T
    both = curvature.conditioning(steep)
    assert both.eigenvalues == pytest.approx(1000)
    assert both.diagonal < 100
    assert curvature.conditioning(torch.eye(4).double()).diagonal == 1


def test_dead_parameters_are_counted() -> None:
    objective = linear_objective(family="gd++")
    found = curvature.conditioning(curvature.hessian(objective, objective.weights))
    assert (found.active, found.total) == (27, 36)


def test_bad_requests() -> None:
    objective = linear_objective()
    with pytest.raises(UserError, match="no direction"):
        curvature.directional_smoothness(objective, objective.weights, objective.weights)
    with pytest.raises(UserError, match="lack parameter"):
        objective.flat({})
    with pytest.raises(UserError, match="too large"):
        curvature.hessian(objective, torch.zeros(5000))
    with pytest.raises(UserError, match="at least 100"):
        tails.tail(torch.ones(3))
    with pytest.raises(UserError, match="at least 3 steps"):
        landscape.smoothness_fit(torch.ones(5), -torch.ones(5))


def test_scatter_of_a_planted_law() -> None:
    gen = generator(0, "scatter", 0)
    g = torch.rand(400, generator=gen, dtype=torch.float64) * 5 + 0.01
    fit = landscape.smoothness_fit(g, 0.5 + 2 * g)
    assert (fit.l0, fit.l1) == (pytest.approx(0.5, rel=1e-6), pytest.approx(2, rel=1e-6))
    noise = torch.randn(400, generator=gen, dtype=torch.float64)
    power = landscape.smoothness_fit(g, (g.log() * 0.7 + 0.1 * noise).exp())
    assert power.slope == pytest.approx(0.7, abs=0.03)
    assert power.correlation > 0.95
    silent = landscape.smoothness_fit(g, (0.5 * noise).exp())
    assert abs(silent.correlation) < 0.15
    mixed = landscape.smoothness_fit(g, torch.where(torch.arange(400) < 40, -1.0, 1.0).double() * g)
    assert (mixed.used, mixed.negative) == (360, 40)


def test_the_command_prints_keeps_and_reads_again(tmp_path, capsys, monkeypatch) -> None:
    settings = {
        "task": {"kind": "regression", "d": 2, "n": 4, "layout": "merged"},
        "model": {"kind": "linear", "n_layers": 1, "family": "gd"},
        "train": {"steps": 6, "batch": 8, "lr": 0.1, "schedule": {"explicit": [0, 3, 4]}},
    }
    run = Run.train(settings, tmp_path / "run")
    asked = ["curvature", str(run.path), "--prompts", "50", "--json"]
    assert command([*asked, "--steps", "3,4"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    along = [row for row in rows if row["metric"] == "directional smoothness"]
    assert [(row["step"], row["stride"]) for row in along] == [(3, 1)]
    objective = landscape.run_objective(run, 50)
    before, after = (objective.flat(run.folder.weights(step)) for step in (3, 4))
    exact = curvature.directional_smoothness(objective, before, after)
    assert along[0]["value"] == pytest.approx(exact, rel=1e-5)
    (table,) = run.folder.table_path("curvature").parent.glob("curvature*")
    kept = table.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(landscape, "CurvatureAccumulator", None)  # the kept table must serve
        assert command([*asked, "--steps", "3,4"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == rows
    assert command([*asked, "--path-only"]) == 0
    assert "sharpness" not in {row["metric"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert table.read_bytes() == kept, "other settings have a table of their own"
    assert command([*asked, "--steps", "0,3,4"]) == 0
    whole = json.loads(capsys.readouterr().out)["rows"]
    assert [row["stride"] for row in whole if row["stride"]] == [3, 1]
    assert [row for row in whole if row["step"] >= 3] == rows
    assert command([*asked, "--steps", "0,4"]) == 0
    apart = json.loads(capsys.readouterr().out)["rows"]
    assert [row["stride"] for row in apart if row["stride"]] == [4], (
        "smoothness is along the line to the next asked"
    )
    assert command(["curvature", str(run.path), "--prompts", "0"]) == 2
    assert "--prompts 0: must be 1 or more" in capsys.readouterr().err


SMALL = {
    "retrieval": {"task.hops": 1, "task.chains": 2, "task.vocab": 4, "model.n_layers": 1, "model.d_model": 8},
    "regression": {
        "task.n": 4,
        "model.n_layers": 1,
        "model.n_heads": 2,
        "model.d_model": 8,
        "model.d_mlp": 8,
    },
}


@pytest.mark.parametrize("preset", SMALL)
def test_the_command_on_other_tasks_and_optimisers(preset: str, tmp_path, capsys) -> None:
    """Presets of other tasks, with their own optimisers; larger nets than 400 weights take the estimated diagonal."""
    changes = SMALL[preset] | {
        "train.steps": 4,
        "train.batch": 8,
        "train.schedule": {"explicit": [0, 1, 2, 3]},
    }
    run = Run.train(configure(preset, changes=changes), tmp_path / preset)
    asked = ["curvature", str(run.path), "--steps", "2,3,4", "--prompts", "16", "--probes", "2"]
    asked += ["--noise", "100", "--json"]
    assert command(asked) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {(row["step"], row["metric"]): row for row in found["rows"]}
    assert rows[2, "sharpness"]["value"] != 0
    noise = rows[4, "noise q99 / median"]
    assert noise["ci_low"] <= noise["value"]
    assert noise["value"] > 1
    assert noise["ci_high"] is None  # a hundred draws do not bound a 99th percentile from above
    assert {rows[k, "directional smoothness"]["stride"] for k in (2, 3)} == {1}
    assert command([*asked[:-3], "--noise", "20"]) == 2
    assert "at least 100 draws" in capsys.readouterr().err


def test_the_caption_says_how_curvature_goes_with_the_gradient() -> None:
    steps = range(0, 40, 2)
    rows = []
    for k in steps:
        rows += [{"step": k, "metric": "gradient norm", "value": k + 1.0}]
        rows += [{"step": k, "metric": "directional smoothness", "value": 2 * (k + 1.0), "stride": 1}]
    words = landscape.fit_in_words(pd.DataFrame(rows))
    assert "20 true steps" in words
    assert "slope 1.00, correlation 1.00" in words
    assert landscape.fit_in_words(pd.DataFrame(rows).assign(stride=5)) == ""
