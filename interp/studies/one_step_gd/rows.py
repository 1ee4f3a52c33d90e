"""Rows of the study of one step of descent, but those on the saddle: closed forms, trained layers, targets.

G is the preconditioner of the prediction y'X G x_q, losses are mean squared errors. Nets are trained by the toolkit's
own loop except where a row says L-BFGS. What the rows do not show: that the optimum found is global (theory says so),
or anything about more than one layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from jaxtyping import Float
from scipy.integrate import solve_ivp
from torch import Tensor

from interp.config.model_linear import LinearConfig
from interp.models.linear_weights import LayerReading, cosine, read_model, relative_error
from interp.run import Run
from interp.studies import linear_nets as nets
from interp.studies.ledger import Row
from interp.studies.linear_attention.figures import preconditioner_figure
from interp.studies.linear_nets import one_layer, run_config
from interp.studies.one_step_gd import theory as linear
from interp.studies.one_step_gd.runs import (
    ANISOTROPIC,
    FULL,
    GD,
    ISOTROPIC,
    NOISY,
    WHITENED,
    Study,
    drawn_from,
    full_run,
    gd_run,
    target,
)
from tasks.regression import InContextRegression


def monte_carlo(study: Study) -> list[Row]:
    """Closed forms against least squares over drawn prompts."""
    text = f"{study.budget.prompts} prompts a distribution"
    worst = max(
        relative_error(
            nets.least_squares(task, study.budget.prompts, seed),
            linear.optimal_preconditioner(nets.distribution_of(task), task.n),
        )
        for task in (ISOTROPIC, NOISY, ANISOTROPIC, WHITENED)
        for seed in study.seeds[:1]
    )
    steps = {
        "sphere": (drawn_from("sphere"), linear.rotation_invariant(5, 1.0, 1.0)),
        "relu": (target("relu"), linear.relu_network(5, 5.0)),
        "cubic": (target("cubic"), linear.cubic(5)),
        "gamma-sphere": (drawn_from("gamma-sphere"), linear.gamma_sphere(5, 0.1, 10.0)),
    }
    off = {
        name: abs(
            nets.least_squares_step(task, study.budget.prompts, study.seeds[0]) / moments.step(task.n) - 1
        )
        for name, (task, moments) in steps.items()
    }
    heavy = off.pop("gamma-sphere")
    note = "worst of " + ", ".join(f"{name} {value:.2%}" for name, value in off.items())
    return [
        study.exact("closed-form", worst, condition="normal equations", budget=text),
        study.exact(
            "other-distributions", max(off.values()), condition="normal equations", budget=text, note=note
        ),
        study.exact("heavy-tails", heavy, condition="normal equations", budget=text),
    ]


def show_compared(
    study: Study, found: Sequence[Float[Tensor, "d d"]], best: Float[Tensor, "d d"], title: str
) -> None:
    """n G of every seed beside n G* on the study's page."""
    pairs = zip(study.seeds, found, strict=True)
    matrices = {f"seed {seed}: n G": 20 * G for seed, G in pairs} | {"closed form n G*": 20 * best}
    study.show(preconditioner_figure(matrices), title, "Read off the trained weights; one colour scale.")


def reading(run: Run) -> LayerReading:
    """What the last checkpoint's only layer says."""
    return read_model(run.model("last"))[0]


def excess_share(G: Float[Tensor, "d d"], task: InContextRegression) -> float:
    """Population loss above the optimum, as a share of the optimum."""
    known = nets.distribution_of(task)
    return linear.excess_loss(G, known, task.n) / linear.optimal_loss(known, task.n)


def descent(study: Study) -> list[Row]:
    """Rows of the one-parameter-matrix net."""
    found = [one_layer(gd_run(study, seed).model("last"), 20) for seed in study.seeds]
    best = linear.optimal_preconditioner(nets.distribution_of(ISOTROPIC), 20)
    show_compared(study, found, best, "A trained preconditioner alone, isotropic covariates")
    words: dict[str, Any] = {
        "condition": "gd family, Adam",
        "budget": f"{study.budget.gd_steps} steps of 512 prompts",
    }
    return [
        study.row("gd-cosine", [cosine(G, best) for G in found], **words),
        study.row("gd-error", [relative_error(G, best) for G in found], **words),
        study.row("gd-excess", [excess_share(G, ISOTROPIC) for G in found], scale="log", **words),
        _relu(study),
    ]


def _relu(study: Study) -> Row:
    config = LinearConfig(n_layers=1, family="gd", attention="relu", init_std=0.05, dtype="float64")
    steps = []
    for seed in study.seeds:
        model = nets.fit(
            run_config(ISOTROPIC, config, seed, {"steps": 1, "batch": 1, "lr": 1.0}),
            study.budget.relu_prompts,
        )
        # At a positive A the layer sees half of each overlap; Theorem 5's optimum is the positive
        # one (A < 0 here).
        steps.append(
            abs(nets.isotropic_part(read_model(model)[0].preconditioner)) / linear.relu_attention_step(20, 5)
        )
    return study.row(
        "relu-attention",
        steps,
        condition="ReLU attention, L-BFGS",
        budget=f"{study.budget.relu_prompts} prompts a seed",
    )


def full_family(study: Study) -> list[Row]:
    """Rows of the net whose every weight is trained."""
    found = [reading(full_run(study, NOISY, FULL, "full", seed)) for seed in study.seeds]
    best = linear.optimal_preconditioner(nets.distribution_of(NOISY), 20)
    Gs = [f.preconditioner / 20 for f in found]
    show_compared(study, Gs, best, "All of P and Q trained, label noise .5")
    words: dict[str, Any] = {
        "condition": "full family, corner 1, Adam",
        "budget": f"{study.budget.full_steps} steps of {study.budget.batch} prompts",
    }
    return [
        study.row("full-error", [relative_error(G, best) for G in Gs], **words),
        study.row("full-excess", [excess_share(G, NOISY) for G in Gs], scale="log", **words),
        study.row(
            "full-nuisance",
            [max(f.squares, f.shifts) for f in found],
            note="larger of the two",
            **words,
        ),
    ]


def anisotropic(study: Study) -> list[Row]:
    """Rows of anisotropic covariates, and of prompts longer than those of training."""
    runs = [full_run(study, ANISOTROPIC, FULL, "aniso", seed) for seed in study.seeds]
    best = linear.optimal_preconditioner(nets.distribution_of(ANISOTROPIC), 20)
    Gs = [one_layer(run.model("last"), 20) for run in runs]
    show_compared(study, Gs, best, "All of P and Q trained, anisotropic covariates in a rotated basis")
    words: dict[str, Any] = {
        "condition": "full family, corner 1, Adam",
        "budget": f"{study.budget.full_steps} steps of {study.budget.batch} prompts",
    }
    S = nets.distribution_of(ANISOTROPIC).covariance
    long = ANISOTROPIC.model_copy(update={"n": 80})
    batch = long.sample(study.seeds[0], "long", 0, 20_000)
    # The clean target's squared error given the prompt is |S^1/2 (w - w_hat)|^2: the query is averaged out.
    what = [torch.einsum("bn,bnd,de->be", batch.y[:, :-1], batch.x[:, :-1], (G / 4).float()) for G in Gs]
    losses = [float(torch.einsum("bi,ij,bj->b", batch.w - w, S.float(), batch.w - w).mean()) for w in what]
    return [
        study.row("aniso-cosine", [cosine(G, best) for G in Gs], **words),
        study.row("aniso-excess", [excess_share(G, ANISOTROPIC) for G in Gs], scale="log", **words),
        study.row("test-length", [x / linear.zhang_loss(S, 20, 80) for x in losses], **words),
    ]


def gradient_flow(study: Study) -> list[Row]:
    """Gradient flow of the exact population loss in (corner u, preconditioner U), G = uU/N, from a small
    start.
    """
    known = nets.distribution_of(ANISOTROPIC)
    E, best, S = linear.label_moment(known, 20), linear.optimal_preconditioner(known, 20), known.covariance

    def slope(_: float, theta: np.ndarray) -> np.ndarray:
        u, U = theta[0], torch.tensor(theta[1:]).view(5, 5)
        dG = 2 * E @ (u * U / 20 - best) @ S
        return -np.concatenate([[float((dG * U).sum()) / 20], (u * dG / 20).flatten().numpy()])

    start = 0.05 * np.concatenate([[1.0], np.eye(5).flatten() / math.sqrt(5)])
    end = solve_ivp(slope, (0, 2000), start, method="LSODA", rtol=1e-8, atol=1e-10).y[0, -1]
    ratio = float(end) / linear.zhang_balance(S, 20)
    return [study.exact("balance", ratio, condition="ODE of the population loss", budget="to time 2000")]


def sweep(study: Study) -> list[Row]:
    """Slope of log eta on log(n+d+1+s2) over a grid of sizes and noises, once per seed."""
    slopes = []
    cells = [
        (n, d, noise)
        for n in study.budget.sweep[0]
        for d in study.budget.sweep[1]
        for noise in study.budget.sweep[2]
    ]
    for seed in study.seeds:
        points = []
        for n, d, noise in cells:
            task = InContextRegression(d=d, n=n, layout="merged", noise=noise)
            config = run_config(task, GD, seed, {"steps": 1, "batch": 1, "lr": 1.0})
            eta = nets.isotropic_part(one_layer(nets.fit(config, study.budget.fit_prompts), n))
            points.append((math.log(1 / linear.isotropic_step(n, d, noise**2)), math.log(eta)))
        x, y = np.array(points).T
        if seed == study.seeds[0]:
            figure = go.Figure(go.Scatter(x=np.exp(x), y=np.exp(y), mode="markers", name="trained"))
            figure.add_scatter(x=np.exp(x), y=np.exp(-x), mode="lines", name="1 / (n + d + 1 + s2)")
            figure.update_layout(
                xaxis_type="log", yaxis_type="log", template="plotly_white", height=380, width=760
            )
            figure.update_layout(xaxis_title="n + d + 1 + noise variance", yaxis_title="eta = tr(G)/d")
            study.show(figure, "The step over sizes and noises", f"{len(points)} nets of the first seed.")
        slopes.append(float(np.polyfit(x, y, 1)[0]))
    text = f"{len(cells)} cells, {study.budget.fit_prompts} prompts each"
    return [study.row("scaling", slopes, condition="gd family, L-BFGS", budget=text)]


def targets(study: Study) -> list[Row]:
    """Rows of non-linear targets, by L-BFGS on fixed prompts."""
    rows = []
    expected = {"relu": linear.relu_network(5, 5.0).step(20), "cubic": linear.cubic(5).step(20)}
    for name, claim in (("relu", "nonlinear"), ("cubic", "cubic"), ("even", "even")):
        unit = expected.get(name, linear.isotropic_step(20, 5))
        found = []
        for seed in study.seeds:
            config = run_config(target(name), GD, seed, {"steps": 1, "batch": 1, "lr": 1.0})
            ratio = nets.isotropic_part(one_layer(nets.fit(config, study.budget.target_prompts), 20)) / unit
            found.append(abs(ratio) if name == "even" else ratio)
        text = f"{study.budget.target_prompts} prompts a seed"
        rows.append(study.row(claim, found, condition="gd family, L-BFGS", budget=text))
    return rows
