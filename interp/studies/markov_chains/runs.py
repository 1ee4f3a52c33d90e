"""Runs of the study of Markov chains: conditions, sizes of a scale, and training one or finding it done.

All are the preset `markov` but for what a condition changes. Usual and doubly stochastic chains share a seed's initial
weights; their prompts differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.config.run import RunConfig, configure
from interp.run import Run
from interp.studies.context import Report, StudyContext
from interp.studies.ledger import Scale
from interp.studies.linear_nets import trained
from interp.studies.markov_chains.claims import CLAIMS, SEEDS

NAME = "markov-chains"
ANALYSES = ("strategies", "scores", "heads")
USUAL, DOUBLY, SECOND = "usual", "doubly-stochastic", "order-2"
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    USUAL: {},
    DOUBLY: {"task.chains": "doubly stochastic"},
    SECOND: {"task.order": 2, "task.symbols": 2, "model.n_layers": 3, "train.lr": 3e-3},
}


@dataclass(frozen=True)
class MarkovBudget:
    """Seeds of a scale, steps of its runs, steps between checkpoints; `second` steps of chains of order 2 (0: none).

    `prompts`: of path patching. `shape`: changes to every run (the tests' toy size).
    """

    seeds: int
    steps: int
    every: int = 10
    second: int = 0
    prompts: int = 256
    shape: tuple[tuple[str, Any], ...] = ()


BUDGETS = {
    "quick": MarkovBudget(SEEDS, 400),
    "cpu": MarkovBudget(32, 600, second=6000),
    "paper": MarkovBudget(64, 1000, second=20_000),
}
Study = StudyContext[MarkovBudget]


def study_of(scale: Scale, out: Path, report: Report, seeds: Sequence[int] | None = None) -> Study:
    """The study at a scale; `seeds` replaces the scale's own."""
    chosen = tuple(range(BUDGETS[scale].seeds)) if seeds is None else tuple(seeds)
    return StudyContext(NAME, scale, Path(out), chosen, report, BUDGETS[scale], CLAIMS)


def config_of(budget: MarkovBudget, condition: str, seed: int) -> RunConfig:
    """One run of a condition."""
    steps, every = (budget.second, 100) if condition == SECOND else (budget.steps, budget.every)
    changes = {
        **CONDITIONS[condition], "train.steps": steps, "train.save_every": steps, "train.schedule.every": every,
        **dict(budget.shape),
    }  # fmt: skip
    return configure("markov", seed=seed, changes=changes)


def runs_of(study: Study, condition: str) -> list[Run]:
    """The runs of a condition: trained now, resumed, or found finished."""
    study.progress(f"{condition}, {len(study.seeds)} seeds")

    def read() -> list[Run]:
        return [
            trained(config_of(study.budget, condition, seed), study.out, f"{condition}-{seed}")
            for seed in study.seeds
        ]

    return study.remembered(condition, read)


def planned(scale: Scale) -> dict[str, str]:
    """Settings hashes of the runs, by name."""
    budget = BUDGETS[scale]
    conditions = [name for name in CONDITIONS if name != SECOND or budget.second]
    return {
        f"{name}-{seed}": config_of(budget, name, seed).hash
        for name in conditions
        for seed in range(budget.seeds)
    }


def configs(scale: Scale) -> dict[str, RunConfig]:
    """The runs of a scale by the names of their folders."""
    budget = BUDGETS[scale]
    conditions = [name for name in CONDITIONS if name != SECOND or budget.second]
    return {
        f"{name}-{seed}": config_of(budget, name, seed) for name in conditions for seed in range(budget.seeds)
    }
