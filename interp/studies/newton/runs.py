"""What the study of layers against Newton's method trains: conditions, the budget of each scale.

Every run is an ordinary run folder: a finished one is reused, a broken-off one resumed. Conditions differ from
"base" in the settings named here and in nothing else; the main one has more examples a prompt and several seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from interp.config.run import RunConfig, configure
from interp.run import Run, load
from interp.studies.ledger import Scale
from interp.studies.newton.claims_conditions import SEEDS
from interp.train import train

NAME = "newton"
MUON: Mapping[str, Any] = MappingProxyType(
    {"train.schedule": {"log": 8, "every": 200}, "train.save_every": 200, "train.batch": 64}
)
LSTM: Mapping[str, Any] = MappingProxyType({"train.optimiser": "adam", "train.lr": 1e-2})
AS_PUBLISHED: Mapping[str, Any] = MappingProxyType(
    {
        "train.optimiser": "adam",
        "train.lr": 1e-4,
        "train.betas": [0.9, 0.999],
        "train.clip": 0.0,
        "train.warmup": 0,
        "train.decay": "none",
        "train.schedule": {"log": 20, "every": 20_000},
        "train.save_every": 1000,
        "train.batch": 64,
    }
)


CONDITIONS: Mapping[str, dict[str, Any]] = {
    "base": {},
    "lstm": {},
    "kappa-10": {"task.kappa": 10.0, "task.basis": "prompt"},
    "kappa-100": {"task.kappa": 100.0, "task.basis": "prompt"},
    "noise": {"task.noise": 0.1},
    "any-length": {"model.positions": "token_type"},
    "one-head": {"model.n_heads": 1},
    "half-depth": {},
    "relu-net": {"task.target": "relu"},
    "tanh-net": {"task.target": "tanh"},
}
# asked of few seeds at few steps these decide nothing: slopes are read off two or three layers, targets that are nets
# want longer training, and longer prompts are no claim of the paper
DECISIVE = ("base", "lstm", "kappa-10", "kappa-100", "noise")


DEEP: Mapping[str, dict[str, Any]] = {
    "d-10": {},
    "d-10-kappa-10": {"task.kappa": 10.0, "task.basis": "prompt"},
}


@dataclass(frozen=True)
class NetSizes:
    """The task and the transformer of a condition, and its training steps."""

    d: int
    n: int
    layers: int
    heads: int
    width: int
    steps: int

    def settings(self) -> dict[str, Any]:
        """Changes to the preset "regression"."""
        return {
            "task.d": self.d, "task.n": self.n, "model.n_layers": self.layers, "model.n_heads": self.heads,
            "model.d_model": self.width, "train.steps": self.steps, "train.warmup": min(100, self.steps // 10),
        }  # fmt: skip

    def __str__(self) -> str:
        return f"d {self.d}, n {self.n}, {self.layers} layers x {self.width}, {self.heads} heads, {self.steps} steps"


@dataclass(frozen=True)
class NewtonBudget:
    """Sizes and seeds of a scale. `widths` are those of the one-head nets of the width claim, `filter_prompts` what a
    filter verdict asks, `chunks` of 256 prompts what matching and readouts see. `preset`: the main nets are the preset
    "newton" as it ships. `conditions`: those that are trained at this scale; `to_the_end`: long enough to ask what
    nets reach at last; `deep`: nets that solve problems of more dimensions, if any.
    """

    seeds: int
    main: NetSizes
    side: NetSizes
    widths: tuple[int, ...]
    narrow_steps: int
    lstm_layers: int
    lstm: Mapping[str, Any]
    chunks: int
    filter_prompts: int
    draws: int
    recipe: Mapping[str, Any] = field(default_factory=lambda: MUON)
    side_seeds: int = SEEDS
    conditions: tuple[str, ...] = tuple(CONDITIONS)
    to_the_end: bool = True
    preset: bool = False
    deep: NetSizes | None = None


BUDGETS: dict[Scale, NewtonBudget] = {
    "quick": NewtonBudget(
        5,
        NetSizes(5, 20, 6, 4, 64, 1600),
        NetSizes(5, 10, 6, 4, 64, 1000),
        (4, 32),
        800,
        3,
        {**LSTM, "train.steps": 1500},
        8,
        512,
        200,
        conditions=DECISIVE,
        to_the_end=False,
    ),
    "cpu": NewtonBudget(
        5,
        NetSizes(5, 20, 8, 4, 64, 4000),
        NetSizes(5, 10, 6, 4, 64, 4000),
        (4, 8, 16, 32),
        4000,
        3,
        {**LSTM, "train.steps": 20_000},
        16,
        512,
        300,
        preset=True,
        deep=NetSizes(10, 20, 8, 4, 64, 10_000),
    ),
    "paper": NewtonBudget(
        4,
        NetSizes(20, 40, 12, 8, 256, 500_001),
        NetSizes(20, 40, 12, 8, 256, 500_001),
        (8, 16, 32, 64),
        500_001,
        10,
        {},
        24,
        1024,
        300,
        AS_PUBLISHED,
    ),
}


def condition_names(budget: NewtonBudget) -> tuple[str, ...]:
    """Every condition besides the main one that a scale trains, the narrow nets by their width."""
    deep = DEEP if budget.deep else ()
    return (*budget.conditions, *deep, *(f"width-{width}" for width in budget.widths))


def main_config(budget: NewtonBudget, seed: int) -> RunConfig:
    """One seed of the main condition."""
    if budget.preset:
        return configure("newton", seed=seed)
    return configure("regression", seed=seed, changes={**budget.recipe, **budget.main.settings()})


def condition_config(budget: NewtonBudget, condition: str, seed: int) -> RunConfig:
    """One seed of a condition."""
    sizes = budget.deep if condition in DEEP and budget.deep else budget.side
    changes = {**budget.recipe, **sizes.settings(), **_changes(budget, condition)}
    if condition == "lstm":
        changes = {key: value for key, value in changes.items() if not key.startswith("model.")}
        changes |= budget.lstm
        changes["model"] = {"kind": "lstm", "n_layers": budget.lstm_layers, "d_model": budget.side.width}
    return configure("regression", seed=seed, changes=changes)


def _changes(budget: NewtonBudget, condition: str) -> dict[str, Any]:
    if condition.startswith("width-"):
        width = int(condition.removeprefix("width-"))
        return {"model.d_model": width, "model.n_heads": 1, "train.steps": budget.narrow_steps}
    if condition in DEEP:
        return {**DEEP[condition], "train.schedule.every": 1000}
    return {"model.n_layers": budget.side.layers // 2} if condition == "half-depth" else CONDITIONS[condition]


def main_run(budget: NewtonBudget, out: Path, seed: int) -> Run:
    """A seed of the main condition: trained now, gone on with, or found finished."""
    return _trained(main_config(budget, seed), out / f"main-{seed}")


def condition_run(budget: NewtonBudget, out: Path, condition: str, seed: int) -> Run:
    """The run of a condition: trained now, gone on with, or found finished."""
    return _trained(condition_config(budget, condition, seed), out / f"{condition}-{seed}")


def _trained(config: RunConfig, path: Path) -> Run:
    train(config, path)
    return load(path)


ANALYSES = ("algorithms",)


def planned(scale: Scale) -> dict[str, str]:
    """Settings hashes of the runs, by name, and what a net is read with."""
    sizes = BUDGETS[scale]
    runs = {name: config.hash for name, config in configs(scale).items()}
    return {**runs, "read": f"{sizes.chunks} {sizes.filter_prompts} {sizes.draws}"}


def configs(scale: Scale) -> dict[str, RunConfig]:
    """The runs of a scale by the names of their folders."""
    sizes = BUDGETS[scale]
    main = {f"main-{seed}": main_config(sizes, seed) for seed in range(sizes.seeds)}
    side = {
        f"{name}-{seed}": condition_config(sizes, name, seed)
        for name in condition_names(sizes)
        for seed in range(sizes.side_seeds)
    }
    return {**main, **side}
