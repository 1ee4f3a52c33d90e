"""Study: one layer of linear self-attention learns one step of gradient descent (Mahankali, Hashimoto & Ma).

Owns the claims and what is measured for each. G is the preconditioner of the prediction y'X G x_q, losses
are mean squared errors. Nets are trained by the toolkit's own loop except where a row says L-BFGS. What the
rows do not show: that the optimum found is global (theory says so), or anything about more than one layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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
from interp.studies import linear_common as nets
from interp.studies.figure_page import write_page
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.linear_attention.figures import preconditioner_figure
from interp.studies.linear_common import Bench, Say, one_layer, run_config
from interp.studies.one_step_gd import theory as linear
from interp.studies.one_step_gd.claims import CLAIMS
from tasks.regression import InContextRegression

NAME = "one-step-gd"
SEEDS = {"quick": 3, "cpu": 6, "paper": 6}
SPECTRUM = (3.0, 1.0, 0.5, 0.25, 2.0)


@dataclass(frozen=True)
class Budget:
    """Sizes of a scale: prompts of the Monte Carlo rows and of the L-BFGS fits, training steps, prompts a
    step.
    """

    prompts: int
    fit_prompts: int
    gd_steps: int
    full_steps: int
    batch: int
    sweep: tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]


GRID = ((5, 10, 20, 40), (3, 5, 10), (0.0, 0.5, 1.0))
BUDGETS = {
    "quick": Budget(400_000, 20_000, 2000, 4000, 512, GRID),
    "cpu": Budget(1_000_000, 40_000, 2000, 6000, 1024, GRID),
    "paper": Budget(4_000_000, 80_000, 4000, 8000, 1024, GRID),
}
ISOTROPIC = InContextRegression(d=5, n=20, layout="merged")
NOISY = InContextRegression(d=5, n=20, layout="merged", noise=0.5)
ANISOTROPIC = InContextRegression(
    d=5, n=20, layout="merged", eigenvalues=SPECTRUM, x_scale=(sum(SPECTRUM) / 5) ** 0.5, basis="fixed"
)
WHITENED = ANISOTROPIC.model_copy(update={"prior": "inverse-covariance", "noise": 1.0})
GD = LinearConfig(n_layers=1, family="gd", init_std=0.05)
FULL = LinearConfig(n_layers=1, family="full", init_std=0.1)
TRAPPED = LinearConfig(n_layers=1, family="full", init_std=0.1, corner="random")


def run(scale: Scale, out: Path, say: Say, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale; its runs stay in `out` and are reused. `seeds` default to 3 (quick) or 6."""
    chosen = tuple(range(SEEDS[scale])) if seeds is None else tuple(seeds)
    bench, budget = Bench(NAME, scale, out, chosen, say), BUDGETS[scale]
    from interp.studies.one_step_gd.saddle import saddle

    rows: list[Row] = []
    for part in (monte_carlo, descent, full_family, anisotropic, gradient_flow, sweep, targets, saddle):
        say(f"{NAME}: {part.__name__.replace('_', ' ')}")
        rows += part(bench, budget)
    write_page(
        out / f"figures-{scale}.html", "One layer of linear attention, one step of descent", bench.parts
    )
    return Ledger(NAME, scale, chosen, tuple(rows))


def monte_carlo(bench: Bench, budget: Budget) -> list[Row]:
    """Closed forms against least squares over drawn prompts."""
    text = f"{budget.prompts} prompts a law"
    worst = max(
        relative_error(
            nets.least_squares(task, budget.prompts, seed),
            linear.optimal_preconditioner(nets.law_of(task), task.n),
        )
        for task in (ISOTROPIC, NOISY, ANISOTROPIC, WHITENED)
        for seed in bench.seeds[:1]
    )
    steps = {
        "sphere": (law("sphere"), linear.rotation_invariant(5, 1.0, 1.0)),
        "relu": (target("relu"), linear.relu_network(5, 5.0)),
        "cubic": (target("cubic"), linear.cubic(5)),
        "gamma-sphere": (law("gamma-sphere"), linear.gamma_sphere(5, 0.1, 10.0)),
    }
    off = {
        name: abs(nets.least_squares_step(task, budget.prompts, bench.seeds[0]) / moments.step(task.n) - 1)
        for name, (task, moments) in steps.items()
    }
    heavy = off.pop("gamma-sphere")
    note = "worst of " + ", ".join(f"{name} {value:.2%}" for name, value in off.items())
    return [
        bench.exact(CLAIMS["closed-form"], worst, arm="normal equations", budget=text),
        bench.exact(CLAIMS["other-laws"], max(off.values()), arm="normal equations", budget=text, note=note),
        bench.exact(CLAIMS["heavy-tails"], heavy, arm="normal equations", budget=text),
    ]


def law(name: str) -> InContextRegression:
    """Isotropic prompts with another law of covariates."""
    return ISOTROPIC.model_copy(update={"law": name})


def target(name: str) -> InContextRegression:
    """Isotropic normal prompts with a non-linear target."""
    return ISOTROPIC.model_copy(update={"target": name, "hidden": 20})


def show_beside(
    bench: Bench, found: Sequence[Float[Tensor, "d d"]], best: Float[Tensor, "d d"], title: str
) -> None:
    """n G of every seed beside n G* on the study's page."""
    pairs = zip(bench.seeds, found, strict=True)
    matrices = {f"seed {seed}: n G": 20 * G for seed, G in pairs} | {"closed form n G*": 20 * best}
    bench.show(preconditioner_figure(matrices), title, "Read off the trained weights; one colour scale.")


def gd_run(bench: Bench, budget: Budget, seed: int) -> Run:
    """One layer with a trained preconditioner alone."""
    settings: dict[str, Any] = {
        "optimiser": "adam",
        "betas": (0.9, 0.9),
        "lr": 0.02,
        "decay": "cosine",
        "clip": 1.0,
    }
    sizes = {"steps": budget.gd_steps, "batch": 512, "log_every": 100, "save_every": 1000}
    return nets.trained(run_config(ISOTROPIC, GD, seed, settings | sizes), bench.out, f"gd-{seed}")


def full_run(
    bench: Bench, budget: Budget, task: InContextRegression, model: LinearConfig, name: str, seed: int
) -> Run:
    """One layer with all of P and Q trained."""
    settings: dict[str, Any] = {
        "optimiser": "adam",
        "betas": (0.9, 0.9),
        "lr": 0.01,
        "decay": "cosine",
        "clip": 1.0,
    }
    sizes = {"steps": budget.full_steps, "batch": budget.batch, "log_every": 100, "save_every": 1000}
    return nets.trained(run_config(task, model, seed, settings | sizes), bench.out, f"{name}-{seed}")


def reading(run: Run) -> LayerReading:
    """What the last checkpoint's only layer says."""
    return read_model(run.model("last"))[0]


def excess_share(G: Float[Tensor, "d d"], task: InContextRegression) -> float:
    """Population loss above the optimum, as a share of the optimum."""
    known = nets.law_of(task)
    return linear.excess_loss(G, known, task.n) / linear.optimal_loss(known, task.n)


def descent(bench: Bench, budget: Budget) -> list[Row]:
    """Rows of the one-parameter-matrix net."""
    found = [one_layer(gd_run(bench, budget, seed).model("last"), 20) for seed in bench.seeds]
    best = linear.optimal_preconditioner(nets.law_of(ISOTROPIC), 20)
    show_beside(bench, found, best, "A trained preconditioner alone, isotropic covariates")
    words: dict[str, Any] = {"arm": "gd family, Adam", "budget": f"{budget.gd_steps} steps of 512 prompts"}
    return [
        bench.row(CLAIMS["gd-cosine"], [cosine(G, best) for G in found], **words),
        bench.row(CLAIMS["gd-error"], [relative_error(G, best) for G in found], **words),
        bench.row(CLAIMS["gd-excess"], [excess_share(G, ISOTROPIC) for G in found], scale="log", **words),
        _relu(bench, budget),
    ]


def _relu(bench: Bench, budget: Budget) -> Row:
    config = LinearConfig(n_layers=1, family="gd", attention="relu", init_std=0.05, dtype="float64")
    steps = []
    for seed in bench.seeds:
        model = nets.fit(
            run_config(ISOTROPIC, config, seed, {"steps": 1, "batch": 1, "lr": 1.0}), budget.fit_prompts // 4
        )
        # At a positive A the layer sees half of each overlap; Theorem 5's optimum is the positive
        # one (A < 0 here).
        steps.append(
            abs(nets.isotropic_part(read_model(model)[0].preconditioner)) / linear.relu_attention_step(20, 5)
        )
    return bench.row(
        CLAIMS["relu-attention"],
        steps,
        arm="ReLU attention, L-BFGS",
        budget=f"{budget.fit_prompts // 4} prompts a seed",
    )


def full_family(bench: Bench, budget: Budget) -> list[Row]:
    """Rows of the net whose every weight is trained."""
    found = [reading(full_run(bench, budget, NOISY, FULL, "full", seed)) for seed in bench.seeds]
    best = linear.optimal_preconditioner(nets.law_of(NOISY), 20)
    Gs = [f.preconditioner / 20 for f in found]
    show_beside(bench, Gs, best, "All of P and Q trained, label noise .5")
    words: dict[str, Any] = {
        "arm": "full family, corner 1, Adam",
        "budget": f"{budget.full_steps} steps of {budget.batch} prompts",
    }
    return [
        bench.row(CLAIMS["full-error"], [relative_error(G, best) for G in Gs], **words),
        bench.row(CLAIMS["full-excess"], [excess_share(G, NOISY) for G in Gs], scale="log", **words),
        bench.row(
            CLAIMS["full-nuisance"],
            [max(f.squares, f.shifts) for f in found],
            note="larger of the two",
            **words,
        ),
    ]


def anisotropic(bench: Bench, budget: Budget) -> list[Row]:
    """Rows of anisotropic covariates, and of prompts longer than those of training."""
    runs = [full_run(bench, budget, ANISOTROPIC, FULL, "aniso", seed) for seed in bench.seeds]
    best = linear.optimal_preconditioner(nets.law_of(ANISOTROPIC), 20)
    Gs = [one_layer(run.model("last"), 20) for run in runs]
    show_beside(bench, Gs, best, "All of P and Q trained, anisotropic covariates in a rotated basis")
    words: dict[str, Any] = {
        "arm": "full family, corner 1, Adam",
        "budget": f"{budget.full_steps} steps of {budget.batch} prompts",
    }
    S = nets.law_of(ANISOTROPIC).covariance
    long = ANISOTROPIC.model_copy(update={"n": 80})
    batch = long.sample(bench.seeds[0], "long", 0, 20_000)
    # The clean target's squared error given the prompt is |S^1/2 (w - w_hat)|^2: the query is averaged out.
    what = [torch.einsum("bn,bnd,de->be", batch.y[:, :-1], batch.x[:, :-1], (G / 4).float()) for G in Gs]
    losses = [float(torch.einsum("bi,ij,bj->b", batch.w - w, S.float(), batch.w - w).mean()) for w in what]
    return [
        bench.row(CLAIMS["aniso-cosine"], [cosine(G, best) for G in Gs], **words),
        bench.row(CLAIMS["aniso-excess"], [excess_share(G, ANISOTROPIC) for G in Gs], scale="log", **words),
        bench.row(CLAIMS["test-length"], [x / linear.zhang_loss(S, 20, 80) for x in losses], **words),
    ]


def gradient_flow(bench: Bench, budget: Budget) -> list[Row]:
    """Gradient flow of the exact population loss in (corner u, preconditioner U), G = uU/N, from a small
    start.
    """
    known = nets.law_of(ANISOTROPIC)
    E, best, S = linear.label_moment(known, 20), linear.optimal_preconditioner(known, 20), known.covariance

    def slope(_: float, theta: np.ndarray) -> np.ndarray:
        u, U = theta[0], torch.tensor(theta[1:]).view(5, 5)
        dG = 2 * E @ (u * U / 20 - best) @ S
        return -np.concatenate([[float((dG * U).sum()) / 20], (u * dG / 20).flatten().numpy()])

    start = 0.05 * np.concatenate([[1.0], np.eye(5).flatten() / math.sqrt(5)])
    end = solve_ivp(slope, (0, 2000), start, method="LSODA", rtol=1e-8, atol=1e-10).y[0, -1]
    ratio = float(end) / linear.zhang_balance(S, 20)
    return [bench.exact(CLAIMS["balance"], ratio, arm="ODE of the population loss", budget="to time 2000")]


def sweep(bench: Bench, budget: Budget) -> list[Row]:
    """Slope of log eta on log(n+d+1+s2) over a grid of sizes and noises, once per seed."""
    slopes = []
    cells = [(n, d, noise) for n in budget.sweep[0] for d in budget.sweep[1] for noise in budget.sweep[2]]
    for seed in bench.seeds:
        points = []
        for n, d, noise in cells:
            task = InContextRegression(d=d, n=n, layout="merged", noise=noise)
            config = run_config(task, GD, seed, {"steps": 1, "batch": 1, "lr": 1.0})
            eta = nets.isotropic_part(one_layer(nets.fit(config, budget.fit_prompts // 4), n))
            points.append((math.log(1 / linear.isotropic_step(n, d, noise**2)), math.log(eta)))
        x, y = np.array(points).T
        if seed == bench.seeds[0]:
            figure = go.Figure(go.Scatter(x=np.exp(x), y=np.exp(y), mode="markers", name="trained"))
            figure.add_scatter(x=np.exp(x), y=np.exp(-x), mode="lines", name="1 / (n + d + 1 + s2)")
            figure.update_layout(
                xaxis_type="log", yaxis_type="log", template="plotly_white", height=380, width=760
            )
            figure.update_layout(xaxis_title="n + d + 1 + noise variance", yaxis_title="eta = tr(G)/d")
            bench.show(figure, "The step over sizes and noises", f"{len(points)} nets of the first seed.")
        slopes.append(float(np.polyfit(x, y, 1)[0]))
    text = f"{len(cells)} cells, {budget.fit_prompts // 4} prompts each"
    return [bench.row(CLAIMS["scaling"], slopes, arm="gd family, L-BFGS", budget=text)]


def targets(bench: Bench, budget: Budget) -> list[Row]:
    """Rows of non-linear targets, by L-BFGS on fixed prompts."""
    rows = []
    expected = {"relu": linear.relu_network(5, 5.0).step(20), "cubic": linear.cubic(5).step(20)}
    for name, claim in (("relu", "nonlinear"), ("cubic", "cubic"), ("even", "even")):
        unit = expected.get(name, linear.isotropic_step(20, 5))
        found = []
        for seed in bench.seeds:
            config = run_config(target(name), GD, seed, {"steps": 1, "batch": 1, "lr": 1.0})
            ratio = nets.isotropic_part(one_layer(nets.fit(config, 2 * budget.fit_prompts), 20)) / unit
            found.append(abs(ratio) if name == "even" else ratio)
        text = f"{2 * budget.fit_prompts} prompts a seed"
        rows.append(bench.row(CLAIMS[claim], found, arm="gd family, L-BFGS", budget=text))
    return rows
