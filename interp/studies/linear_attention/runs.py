"""What the study of the optimiser's landscape trains: settings, learning rates, runs, final losses.

Losses are carried in label units squared (the task's loss times its label variance), gradients and
curvature too, so that learning rates and clipping bounds are the papers' own although the toolkit's loss is
relative. A run that diverged has an infinite final loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from interp.config.model_linear import FeatureLinearConfig, LinearConfig
from interp.config.run import RunConfig
from interp.run import Run
from interp.studies import linear_nets as nets
from interp.studies.context import StudyContext
from interp.studies.ledger import Scale
from interp.studies.linear_attention.claims import FEW, OWN, STARTS, WIDE
from interp.studies.linear_nets import run_config
from tasks.regression import InContextRegression

NAME = "linear-attention"
SEEDS = {"quick": OWN, "cpu": 9, "paper": 9}
EVAL_PROMPTS = 20_000
LandscapeNet = LinearConfig | FeatureLinearConfig


@dataclass(frozen=True)
class DataSetting:
    """A data setting with the learning rates of the authors' code, its bound on the gradient's norm, and the
    prompts of a step.
    """

    task: InContextRegression
    rates: dict[str, float]
    clip: float = 1.0
    batch: int = 1000

    def task_of(self, seed: int) -> InContextRegression:
        """The task of a seed: where targets share a frozen net, every seed has its own."""
        return (
            self.task.model_copy(update={"basis_seed": seed}) if self.task.target == "features" else self.task
        )


def _task(n: int, **settings: object) -> InContextRegression:
    return InContextRegression.model_validate({"d": 5, "n": n, "layout": "merged", **settings})


SETTINGS = {
    "S1": DataSetting(_task(20), {"sgd": 0.02, "adam": 0.02, "sign": 0.002}),
    "S2": DataSetting(_task(5), {"sgd": 0.01, "adam": 0.005}),
    "S3": DataSetting(_task(20, law="gamma-sphere"), {"sgd": 0.02, "adam": 0.02}),
    "sphere": DataSetting(_task(20, law="sphere"), {"sgd": 5.0, "adam": 0.1}, clip=0.1),
    "mlp": DataSetting(_task(20, target="features", hidden=10), {"sgd": 0.05, "adam": 0.01}, batch=2000),
}
LINEAR = ("S1", "S2", "S3", "sphere")
GRID = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SHORT_GRID = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


@dataclass(frozen=True)
class LandscapeBudget:
    """Sizes of a scale. `searched`: learning rates of the authors' settings are the best of `GRID` instead of
    the authors'; where the authors give none (softmax) they always are the best of a grid, of `SHORT_GRID` unless
    `searched`. `heavy_steps`: of S3 at constant rates; `gap_steps`: of S3 at searched rates that fall to zero
    (`runs_searched`), as all runs of `depth_steps` and of the gap with features are. Steps of 0: not at this scale.
    `starts`: starts a seed and kind of the GD++ fits. `wide` and `few`: seeds of the conditions that need more than the
    study's own (see `seeds_of`); `noisy`: starts at which gradient noise is drawn.
    """

    steps: int
    heavy_steps: int
    gap_steps: int
    depth_steps: int
    softmax_steps: int
    mlp_steps: int
    noise_draws: int
    spectra: int
    restarts: int
    starts: int
    search_steps: int
    searched: bool
    wide: int = WIDE
    few: int = FEW
    noisy: int = STARTS


SIZES = {
    "quick": LandscapeBudget(2000, 1300, 600, 0, 0, 0, 375, 6_000, 1, 1, 200, False),
    "cpu": LandscapeBudget(10_000, 10_000, 4000, 2000, 4000, 4000, 2500, 20_000, 3, 8, 400, True),
    "paper": LandscapeBudget(10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 2500, 40_000, 5, 16, 400, True),
}
EVERY = 50
HESSIANS = (250, 750, 1250)
ASKED = 3  # seeds that a search of rates asks


def model_of(layers: int = 3, attention: str = "linear") -> LinearConfig:
    """The paper's net: block-sparse P and Q, normal start of standard deviation .05."""
    return LinearConfig.model_validate({"n_layers": layers, "family": "gd++", "attention": attention})


FEATURES = FeatureLinearConfig(n_layers=3, family="full", corner="random", init_std=0.1, hidden=30)


def net_of(name: str, layers: int = 3, attention: str = "linear") -> LandscapeNet:
    """The net of a setting."""
    return FEATURES if name == "mlp" else model_of(layers, attention)


Study = StudyContext[LandscapeBudget]


def run_of(
    study: Study,
    name: str,
    optimiser: str,
    model: LandscapeNet,
    seed: int,
    steps: int,
    rate: float | None = None,
) -> Run:
    """A trained run of a setting (see `config_of`)."""
    raw = SETTINGS[name].rates[optimiser] if rate is None else rate
    config = config_of(name, optimiser, model, seed, steps, raw)
    return nets.trained(config, study.out, name_of(name, optimiser, model, seed, steps, raw))


def name_of(name: str, optimiser: str, model: LandscapeNet, seed: int, steps: int, rate: float) -> str:
    """The folder of a run."""
    kind = f"{name}-{model.attention}-L{model.n_layers}-{optimiser}"
    return f"{kind}-{steps}-lr{rate:g}-{seed}"


def config_of(
    name: str, optimiser: str, model: LandscapeNet, seed: int, steps: int, rate: float, decay: str = "none"
) -> RunConfig:
    """A run of a setting; checkpoints come in pairs every 50 steps, so that true steps are on disk."""
    setting, task = SETTINGS[name], SETTINGS[name].task_of(seed)
    unit = task.label_variance
    pairs = sorted({s for k in range(0, steps, EVERY) for s in (k, k + 1)})
    settings = {
        "steps": steps, "batch": setting.batch, "optimiser": optimiser, "momentum": 0.9, "betas": (0.9, 0.9),
        # The relative loss has 1/unit of the gradient: rate and bound follow. Adam and signs do not
        # feel the unit.
        "lr": rate * unit if optimiser == "sgd" else rate, "clip": setting.clip / unit,
        "schedule": {"explicit": pairs}, "log_every": 50, "save_every": 500, "max_loss": 0.0,
        "decay": decay,
    }  # fmt: skip
    return run_config(task, model, seed, settings)


def rate_of(study: Study, name: str, optimiser: str, model: LandscapeNet, steps: int) -> float:
    """The authors' rate, or the best of a grid: the lowest of the seeds' worst losses after `search_steps`, among the
    rates at which every seed's run of all `steps` comes to its end; the lowest of all where none does. The first
    `ASKED` seeds are asked.
    """
    theirs = model.n_layers == 3 and model.attention == "linear"
    if theirs and not study.budget.searched:
        return SETTINGS[name].rates[optimiser]

    def worst(rate: float, length: int) -> float:
        return max(
            final_loss(run_of(study, name, optimiser, model, s, length, rate)) for s in study.seeds[:ASKED]
        )

    length = min(steps, study.budget.search_steps)
    rates = sorted(GRID if study.budget.searched else SHORT_GRID, key=lambda rate: worst(rate, length))
    return next((rate for rate in rates if math.isfinite(worst(rate, steps))), rates[0])


def steps_of(sizes: LandscapeBudget, model: LandscapeNet, name: str) -> int:
    """How long runs of a kind are."""
    if name == "mlp":
        return sizes.mlp_steps
    if name == "S3":
        return sizes.heavy_steps
    if model.attention == "softmax":
        return sizes.softmax_steps
    return sizes.steps if model.n_layers == 3 else sizes.depth_steps


def condition(
    study: Study, name: str, optimiser: str, layers: int = 3, attention: str = "linear"
) -> list[Run]:
    """A run for each seed, as long as its kind of row asks for."""
    model = net_of(name, layers, attention)
    steps = steps_of(study.budget, model, name)
    rate = rate_of(study, name, optimiser, model, steps)
    seeds = seeds_of(study, name, layers, attention)
    return [run_of(study, name, optimiser, model, seed, steps, rate) for seed in seeds]


def seeds_of(study: Study, name: str, layers: int = 3, attention: str = "linear") -> tuple[int, ...]:
    """The seeds of a condition: as many as its criteria need to have power, and at least the study's own."""
    few = name == "mlp" or attention == "softmax"
    wide = name in ("S1", "S2", "S3") and layers == 3 and not few
    return first_seeds(study, study.budget.few if few else study.budget.wide if wide else 0)


def first_seeds(study: Study, count: int) -> tuple[int, ...]:
    """So many consecutive seeds from the study's first on; the study's own where those are more."""
    first = study.seeds[0]
    return study.seeds if count <= len(study.seeds) else tuple(range(first, first + count))


@torch.no_grad()
def final_loss(run: Run) -> float:
    """Squared error of the last checkpoint on 20000 prompts that every run of the seed shares; infinite for a run
    that diverged or whose loss is no number.
    """
    if run.folder.diverged is not None:
        return math.inf
    batch = run.task.sample(run.config.data_seed, "final", 0, EVAL_PROMPTS)
    model = run.model("last")
    loss = float(run.task.loss(model(batch.inputs), batch).mean())
    return loss * label_variance(run) if math.isfinite(loss) else math.inf


def label_variance(run: Run) -> float:
    """The unit of the run's relative loss."""
    assert isinstance(run.task, InContextRegression)
    return run.task.label_variance


ANALYSES = ("preconditioners",)


def configs(scale: Scale) -> dict[str, RunConfig]:
    """The runs at the authors' rates by the names of their folders; what is searched first is not among them."""
    sizes, found = SIZES[scale], {}
    for name in () if sizes.searched else LINEAR:
        count = SEEDS[scale] if name == "sphere" else max(sizes.wide, SEEDS[scale])
        steps, model = steps_of(sizes, net_of(name), name), net_of(name)
        for optimiser, rate in SETTINGS[name].rates.items():
            for seed in range(count):
                one = (name, optimiser, model, seed, steps, rate)
                found[name_of(*one)] = config_of(*one)
    return found


def planned(scale: Scale) -> dict[str, str]:
    """Settings hashes of the runs at the authors' rates, by name, and the sizes of what is fitted or searched."""
    found = {name: config.hash for name, config in configs(scale).items()}
    return {**found, "sizes": f"{SIZES[scale]} {SEEDS[scale]}"}
