"""What the study of one step of descent trains: tasks, nets, and the sizes of each scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interp.config.model_linear import LinearConfig
from interp.config.run import RunConfig
from interp.run import Run
from interp.studies import linear_nets as nets
from interp.studies.context import StudyContext
from interp.studies.ledger import Scale
from interp.studies.linear_nets import run_config
from interp.studies.one_step_gd.claims import PLANNED, STARTS
from tasks.regression import InContextRegression

NAME = "one-step-gd"
SEEDS = {"quick": PLANNED, "cpu": 12, "paper": 12}
SPECTRUM = (3.0, 1.0, 0.5, 0.25, 2.0)


@dataclass(frozen=True)
class OneStepBudget:
    """Sizes of a scale: prompts of the Monte Carlo rows and of the L-BFGS fits, training steps, prompts a step, and
    small random starts in all. `fit_prompts` are those of a cell of the sweep; ReLU attention, whose fits scatter
    least, has a quarter of them, and targets that are not linear, whose fits scatter most, eight times as many.
    """

    prompts: int
    fit_prompts: int
    gd_steps: int
    full_steps: int
    batch: int
    sweep: tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]
    starts: int = STARTS

    @property
    def relu_prompts(self) -> int:
        """Prompts of a fit of ReLU attention."""
        return self.fit_prompts // 4

    @property
    def target_prompts(self) -> int:
        """Prompts of a fit on targets that are not linear."""
        return 8 * self.fit_prompts


GRID = ((5, 10, 20, 40), (3, 5, 10), (0.0, 0.5, 1.0))
BUDGETS = {
    "quick": OneStepBudget(400_000, 20_000, 2000, 4000, 512, GRID),
    "cpu": OneStepBudget(1_000_000, 40_000, 2000, 6000, 1024, GRID, 48),
    "paper": OneStepBudget(4_000_000, 80_000, 4000, 8000, 1024, GRID, 48),
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


Study = StudyContext[OneStepBudget]


def drawn_from(name: str) -> InContextRegression:
    """Isotropic prompts with another distribution of covariates."""
    return ISOTROPIC.model_copy(update={"law": name})


def target(name: str) -> InContextRegression:
    """Isotropic normal prompts with a non-linear target."""
    return ISOTROPIC.model_copy(update={"target": name, "hidden": 20})


ADAM: dict[str, Any] = {
    "optimiser": "adam",
    "betas": (0.9, 0.9),
    "decay": "cosine",
    "clip": 1.0,
    "log_every": 100,
}
ANALYSES = ("preconditioners",)


def gd_config(budget: OneStepBudget, seed: int) -> RunConfig:
    """One layer with a trained preconditioner alone."""
    settings = {**ADAM, "lr": 0.02, "steps": budget.gd_steps, "batch": 512, "save_every": 1000}
    return run_config(ISOTROPIC, GD, seed, settings)


def full_config(
    budget: OneStepBudget, task: InContextRegression, model: LinearConfig, seed: int
) -> RunConfig:
    """One layer with all of P and Q trained."""
    settings = {**ADAM, "lr": 0.01, "steps": budget.full_steps, "batch": budget.batch, "save_every": 1000}
    return run_config(task, model, seed, settings)


def gd_run(study: Study, seed: int) -> Run:
    """The run of `gd_config`: trained now, resumed, or found finished."""
    return nets.trained(gd_config(study.budget, seed), study.out, f"gd-{seed}")


def full_run(study: Study, task: InContextRegression, model: LinearConfig, name: str, seed: int) -> Run:
    """The run of `full_config`: trained now, resumed, or found finished."""
    return nets.trained(full_config(study.budget, task, model, seed), study.out, f"{name}-{seed}")


def starts(study: Study) -> range:
    """Seeds of the small random starts that may settle above the optimum."""
    return range(study.budget.starts)


def configs(scale: Scale) -> dict[str, RunConfig]:
    """The runs of a scale by the names of their folders."""
    sizes, seeds = BUDGETS[scale], range(SEEDS[scale])
    full = {"full": (NOISY, FULL, seeds), "aniso": (ANISOTROPIC, FULL, seeds)}
    full["trap"] = (ANISOTROPIC, TRAPPED, range(sizes.starts))
    return {
        **{f"gd-{seed}": gd_config(sizes, seed) for seed in seeds},
        **{
            f"{name}-{seed}": full_config(sizes, task, model, seed)
            for name, (task, model, own) in full.items()
            for seed in own
        },
    }


def planned(scale: Scale) -> dict[str, str]:
    """Settings hashes of the runs, by name, and the sizes of what is fitted without one."""
    return {**{name: config.hash for name, config in configs(scale).items()}, "fits": str(BUDGETS[scale])}
