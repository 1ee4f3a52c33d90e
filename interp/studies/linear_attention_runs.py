"""What the study of the optimiser's landscape trains and measures: settings, runs, paths, fits of deeper
nets.

Losses are carried in label units squared (the task's loss times its label variance), gradients and
curvature too, so that learning rates and clipping bounds are the papers' own although the toolkit's loss is
relative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.develop.curvature import Objective, conditioning, hessian
from interp.develop.landscape import SmoothnessFit, curvature_table, run_objective, smoothness_fit
from interp.develop.tails import Tail, batch_noise, reference_gradient, tail
from interp.models import build_model, linear_gram
from interp.models.linear import LinearTransformer
from interp.models.linear_config import LinearConfig
from interp.models.linear_weights import distance_to_identity, read_model, whitened
from interp.run import Run
from interp.studies import linear_nets as nets
from interp.studies.linear_nets import Bench, run_config
from probes.stats import Interval
from tasks.regression import InContextRegression
from tasks.theory import linear_depth

EVAL_PROMPTS = 20_000


@dataclass(frozen=True)
class Setting:
    """A data setting with the learning rates of the authors' code and its bound on the gradient's norm."""

    task: InContextRegression
    rates: dict[str, float]
    clip: float = 1.0


def _task(n: int, law: str = "normal") -> InContextRegression:
    return InContextRegression.model_validate({"d": 5, "n": n, "layout": "merged", "law": law})


SETTINGS = {
    "S1": Setting(_task(20), {"sgd": 0.02, "adam": 0.02, "sign": 0.002}),
    "S2": Setting(_task(5), {"sgd": 0.01, "adam": 0.005}),
    "S3": Setting(_task(20, "gamma-sphere"), {"sgd": 0.02, "adam": 0.02}),
    "sphere": Setting(_task(20, "sphere"), {"sgd": 5.0, "adam": 0.1}, clip=0.1),
}
GRID = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SEARCH_STEPS = 400


@dataclass(frozen=True)
class Sizes:
    """Sizes of a scale. `searched`: learning rates are the best of `GRID` after 400 steps instead of the
    authors'.
    """

    steps: int
    depth_steps: int
    softmax_steps: int
    noise_draws: int
    spectra: int
    restarts: int
    searched: bool


SIZES = {
    "quick": Sizes(2000, 500, 1000, 1500, 6_000, 1, False),
    "cpu": Sizes(10_000, 4000, 4000, 10_000, 20_000, 3, True),
    "paper": Sizes(10_000, 10_000, 10_000, 10_000, 40_000, 5, True),
}
EVERY = 50
HESSIANS = (250, 750, 1250)


def model_of(layers: int = 3, attention: str = "linear") -> LinearConfig:
    """The paper's net: block-sparse P and Q, normal start of standard deviation .05."""
    return LinearConfig.model_validate({"n_layers": layers, "family": "gd++", "attention": attention})


def run_of(
    bench: Bench,
    name: str,
    optimiser: str,
    model: LinearConfig,
    seed: int,
    steps: int,
    rate: float | None = None,
) -> Run:
    """A trained run of a setting; checkpoints come in pairs every 50 steps, so that true steps are on disk."""
    setting = SETTINGS[name]
    unit = setting.task.label_variance
    raw = setting.rates[optimiser] if rate is None else rate
    pairs = sorted({s for k in range(0, steps, EVERY) for s in (k, k + 1)})
    settings = {
        "steps": steps, "batch": 1000, "optimiser": optimiser, "momentum": 0.9, "betas": (0.9, 0.9),
        # The relative loss has 1/unit of the gradient: rate and bound follow. Adam and signs do not
        # feel the unit.
        "lr": raw * unit if optimiser == "sgd" else raw, "clip": setting.clip / unit,
        "schedule": {"explicit": pairs}, "log_every": 50, "save_every": 500, "max_loss": 0.0,
    }  # fmt: skip
    kind = f"{name}-{model.attention}-L{model.n_layers}-{optimiser}"
    folder = f"{kind}-{steps}-lr{raw:g}-{seed}"
    return nets.trained(run_config(setting.task, model, seed, settings), bench.out, folder)


def rate_of(bench: Bench, sizes: Sizes, name: str, optimiser: str, model: LinearConfig) -> float:
    """The authors' rate, or the best of the grid by the loss after 400 steps of the first seed."""
    if not sizes.searched:
        return SETTINGS[name].rates[optimiser]

    def after(rate: float) -> float:
        found = final_loss(run_of(bench, name, optimiser, model, bench.seeds[0], SEARCH_STEPS, rate))
        return found if math.isfinite(found) else math.inf

    return min(GRID, key=after)


def arm(
    bench: Bench, sizes: Sizes, name: str, optimiser: str, layers: int = 3, attention: str = "linear"
) -> list[Run]:
    """A run for each seed, as long as its kind of row asks for."""
    model = model_of(layers, attention)
    rate = rate_of(bench, sizes, name, optimiser, model)
    steps = sizes.steps if layers == 3 else sizes.depth_steps
    steps = sizes.softmax_steps if attention == "softmax" else steps
    return [run_of(bench, name, optimiser, model, seed, steps, rate) for seed in bench.seeds]


@torch.no_grad()
def final_loss(run: Run) -> float:
    """Squared error of the last checkpoint on 20000 prompts that every run of the seed shares."""
    batch = run.task.sample(run.config.data_seed, "final", 0, EVAL_PROMPTS)
    model = run.model("last")
    loss = float(run.task.loss(model(batch.inputs), batch).mean())
    return loss * label_variance(run)


def label_variance(run: Run) -> float:
    """The unit of the run's relative loss."""
    assert isinstance(run.task, InContextRegression)
    return run.task.label_variance


def path(run: Run) -> pd.DataFrame:
    """Gradient norm and directional smoothness of every true step on disk, in label units squared."""
    table = curvature_table(run, sharp=False)
    steps = table[table["metric"] == "directional smoothness"]
    true = steps.loc[steps["stride"] == 1, "step"]
    wide = table[table["step"].isin(true)].pivot(index="step", columns="metric", values="value")
    return wide * label_variance(run)


def path_fit(run: Run) -> SmoothnessFit:
    """(L0, L1) fit along a run."""
    found = path(run)
    columns = [torch.tensor(found[name].to_numpy()) for name in ("gradient norm", "directional smoothness")]
    return smoothness_fit(*columns)


def robust_condition(run: Run, step: int) -> float:
    """max |H_ii| / median |H_ii| at a checkpoint on 1000 fixed prompts, the zero rows counted as the
    authors do.
    """
    objective = run_objective(run, 1000)
    H = hessian(objective, objective.flat(run.folder.weights(step)))
    return conditioning(H).diagonal


def noise(
    bench: Bench, name: str, *, draws: int, batch: int, layers: int = 3, attention: str = "linear"
) -> Tail:
    """Tail of the gradient noise at the first seed's start."""
    task = SETTINGS[name].task
    model = build_model(model_of(layers, attention), task.interface, bench.seeds[0])
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    reference = reference_gradient(model, task, weights, prompts=100_000, seed=bench.seeds[0])
    found = batch_noise(
        model, task, weights, batch=batch, draws=draws, reference=reference, seed=bench.seeds[0]
    )
    return tail(found * task.label_variance)


def tail_ratio(top: Tail, bottom: Tail) -> Interval:
    """Ratio of two tail indices; the interval divides worst by best, so it covers more than it says."""
    a, b = top.q99_over_median, bottom.q99_over_median
    return Interval(a.value / b.value, a.low / b.high, a.high / b.low, a.n, "order statistics, draws")


@dataclass(frozen=True)
class Deep:
    """A deep net brought to a minimum: its model, its loss and the scalar floor's on the same fresh
    prompts.
    """

    model: LinearTransformer
    loss: float
    floor: float
    optimum: linear_depth.DepthOptimum
    covariance: Float[Tensor, "d d"]

    @property
    def steps(self) -> list[float]:
        """tr of the whitened preconditioners over d, layer by layer."""
        found = [whitened(r.preconditioner, self.covariance) for r in read_model(self.model)]
        return [float(torch.trace(A)) / len(A) for A in found]

    def distances(self, white: bool) -> list[float]:
        """Distance of each layer's preconditioner to the identity, whitened or as it stands."""
        found = [r.preconditioner for r in read_model(self.model)]
        return [distance_to_identity(whitened(A, self.covariance) if white else A) for A in found]


def blocks(named: dict[str, Tensor], layers: int, flatten: bool) -> list[tuple[Tensor, Tensor]]:
    """(B, A) of every layer out of named weights; B is 0 in family "gd"."""
    A = [named[f"blocks.{k}.attn.A"] for k in range(layers)]
    B = [named[f"blocks.{k}.attn.B"] if flatten else torch.zeros_like(A[k]) for k in range(layers)]
    return list(zip(B, A, strict=True))


def deep_fit(
    task: InContextRegression,
    layers: int,
    flatten: bool,
    seeds: Sequence[int],
    prompts: int,
    fixed_b: bool = False,
) -> Deep:
    """The best of several starts of matrices under the averaged loss on fixed covariates, in float64 by
    L-BFGS.

    `fixed_b` holds B at 0 in a net that has one: what refitting the preconditioners alone can win back.
    """
    law = nets.law_of(task)
    x = task.sample(seeds[0], "deep", 0, 2 * prompts).double().x[:, :-1]
    fitted, fresh = x[:prompts], x[prompts:]
    best: tuple[float, LinearTransformer] | None = None
    for seed in seeds:
        config = LinearConfig(
            n_layers=layers, family="gd++" if flatten else "gd", init_std=0.05, dtype="float64"
        )
        model = LinearTransformer(config, task.interface, seed)
        if fixed_b:
            for layer in model.layers:
                torch.nn.init.zeros_(layer.B)
        objective = Objective(model, task, task.sample(0, "unused", 0, 1).double())

        def loss(w: Tensor, x: Tensor = fitted, objective: Objective = objective) -> Tensor:
            pairs = blocks(objective.named(w), layers, flatten and not fixed_b)
            return linear_gram.averaged_loss(x, pairs, law.prior, law.covariance).mean().log()

        nets.minimised(model, loss, objective, evaluations=600)
        end = float(loss(objective.weights))
        if best is None or end < best[0]:
            best = (end, model)
    assert best is not None
    return _beside_floor(task, best[1], layers, flatten, fitted, fresh)


@torch.no_grad()
def _loss_on(model: LinearTransformer, task: InContextRegression, x: Float[Tensor, "batch n d"]) -> float:
    law = nets.law_of(task)
    return float(model.averaged_loss(x, law.prior, law.covariance).mean())


def _beside_floor(
    task: InContextRegression,
    model: LinearTransformer,
    layers: int,
    flatten: bool,
    fitted: Float[Tensor, "batch n d"],
    fresh: Float[Tensor, "batch n d"],
) -> Deep:
    """The net's loss and the scalar optimum's, both on fresh prompts, whitened where the law is not
    isotropic.
    """
    S = nets.law_of(task).covariance
    values, U = torch.linalg.eigh(S)
    white = U @ torch.diag(values.rsqrt()) @ U.T
    optimum = linear_depth.depth_optimum(fitted @ white, layers, flatten)
    lam = linear_depth.spectra(fresh @ white)
    parts = torch.tensor(optimum.steps), torch.tensor(optimum.flattening)
    floor = float(linear_depth.depth_loss(lam, *parts).mean())
    return Deep(model, _loss_on(model, task, fresh), floor, optimum, S)


@torch.no_grad()
def without_flattening(deep: Deep, task: InContextRegression, prompts: int, seed: int) -> float:
    """Loss of a GD++ net after its B are set to 0, over its loss before, on fresh prompts."""
    x = task.sample(seed, "ablation", 0, prompts).double().x[:, :-1]
    law = nets.law_of(task)
    pairs = blocks(dict(deep.model.named_parameters()), deep.model.config.n_layers, flatten=False)
    after = linear_gram.averaged_loss(x, pairs, law.prior, law.covariance).mean()
    return float(after) / _loss_on(deep.model, task, x)


def lemma_error(dtype: str, seed: int) -> float:
    """Largest difference between each layer's read-out and explicit preconditioned descent, random A, with
    hooks.
    """
    task, kind = SETTINGS["S1"].task, getattr(torch, dtype)
    config = LinearConfig.model_validate({"n_layers": 3, "family": "gd", "init_std": 0.15, "dtype": dtype})
    model = LinearTransformer(config, task.interface, seed)
    batch = task.sample(seed, "lemma", 0, 256)
    x, y = batch.x.to(kind), batch.y.to(kind)
    _, cache = model.run_with_cache(batch.inputs.to(kind))
    plain = model(batch.inputs.to(kind))[:, -1, 0]
    w, worst = torch.zeros_like(x[:, 0]), 0.0
    for layer, reading in enumerate(read_model(model)):
        left = torch.einsum("bnd,bd->bn", x[:, :-1], w) - y[:, :-1]
        w = w - torch.einsum("bn,bnd->bd", left, x[:, :-1]) / task.n @ reading.preconditioner.to(kind)
        read = -cache[f"blocks.{layer}.hook_resid_post"][:, -1, -1]
        worst = max(worst, float((read - (w * x[:, -1]).sum(-1)).abs().max()))
    return max(worst, float((plain - (w * x[:, -1]).sum(-1)).detach().abs().max()))
