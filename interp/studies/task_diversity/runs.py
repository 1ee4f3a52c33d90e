"""Runs of the study of task diversity: pools, sizes of a scale, and training one or finding it done.

All are the preset `task-diversity` with another pool; a seed decides weights, prompts and the pool's members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.config.run import RunConfig, configure
from interp.run import Run
from interp.studies.context import Report, StudyContext
from interp.studies.ledger import Scale
from interp.studies.linear_nets import trained
from interp.studies.task_diversity.claims import CLAIMS, SEEDS

NAME = "task-diversity"
ANALYSES = ("strategies", "scores")
LONG = {"train.decay": "none", "train.schedule.every": 1000}


@dataclass(frozen=True)
class PoolBudget:
    """Pools and seeds of a scale, and steps of its runs; `lasting`: pools that are trained `long` steps at a constant
    rate (none at quick). `shape`: changes to every run (the tests' toy size).
    """

    seeds: int
    steps: int
    pools: tuple[int, ...]
    lasting: tuple[int, ...] = ()
    long: int = 0
    shape: tuple[tuple[str, Any], ...] = ()


BUDGETS = {
    "quick": PoolBudget(SEEDS, 4000, (8, 16, 32, 64, 128)),
    "cpu": PoolBudget(6, 6000, (4, 8, 16, 32, 64, 128, 256, 1024), (16, 32), 40_000),
    "paper": PoolBudget(6, 100_000, tuple(2**k for k in range(2, 15)), (16, 32, 64), 500_000),
}
Study = StudyContext[PoolBudget]


def study_of(scale: Scale, out: Path, report: Report, seeds: Sequence[int] | None = None) -> Study:
    """The study at a scale; `seeds` replaces the scale's own."""
    chosen = tuple(range(BUDGETS[scale].seeds)) if seeds is None else tuple(seeds)
    return StudyContext(NAME, scale, Path(out), chosen, report, BUDGETS[scale], CLAIMS)


def config_of(budget: PoolBudget, pool: int, seed: int, long: bool = False) -> RunConfig:
    """One run on a pool."""
    steps = budget.long if long else budget.steps
    changes = {
        "task.pool": pool, "task.pool_seed": seed, "train.steps": steps, "train.schedule.every": steps // 10,
        **(LONG if long else {}),
    }  # fmt: skip
    return configure("task-diversity", seed=seed, changes={**changes, **dict(budget.shape)})


def runs_of(study: Study, pool: int, long: bool = False) -> list[Run]:
    """The runs on a pool, one a seed: trained now, resumed, or found finished."""
    name = f"{'long' if long else 'pool'}-{pool}"

    def read() -> list[Run]:
        study.progress(f"{name}, {len(study.seeds)} seeds")
        return [
            trained(config_of(study.budget, pool, seed, long), study.out, f"{name}-{seed}")
            for seed in study.seeds
        ]

    return study.remembered(name, read)


def planned(scale: Scale) -> dict[str, str]:
    """Settings hashes of the runs, by name."""
    budget = BUDGETS[scale]
    asked = [(f"pool-{pool}", pool, False) for pool in budget.pools]
    asked += [(f"long-{pool}", pool, True) for pool in budget.lasting]
    return {
        f"{name}-{seed}": config_of(budget, pool, seed, long).hash
        for name, pool, long in asked
        for seed in range(budget.seeds)
    }


def configs(scale: Scale) -> dict[str, RunConfig]:
    """The runs of a scale by the names of their folders."""
    budget = BUDGETS[scale]
    asked = [(f"pool-{pool}", pool, False) for pool in budget.pools]
    asked += [(f"long-{pool}", pool, True) for pool in budget.lasting]
    return {
        f"{name}-{seed}": config_of(budget, pool, seed, long)
        for name, pool, long in asked
        for seed in range(budget.seeds)
    }
