"""Runs of the study of stacked heads: conditions, budgets by scale, and training a condition or finding it done.

Every run is an ordinary run of a sweep under the study's folder: finished ones are reused, interrupted ones resumed.
Symbols, number of chains, widths and budgets are this project's choice (the paper states none of the first
two). Intervals are over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from interp.config.run import RunConfig
from interp.landscape.llc import LearningCoefficient
from interp.run import Run, load
from interp.studies.context import Report, StudyContext
from interp.studies.ledger import Row, Scale
from interp.studies.stacked_heads.claims import CLAIMS
from interp.sweep.engine import run_sweep
from interp.sweep.plan import SweepPlan, cells
from interp.train import train
from probes.stats import Interval
from tasks import UserError

NAME = "stacked-heads"
GAUSSIAN = {"task.symbols": "gaussian"}
FINAL = {"task.target": "final"}
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "ic": {},
    "gaussian-ic": GAUSSIAN,
    "mix": {"task.target": "mix"},
    "no-hop-1": {"task.weights": (0.0, 1.0, 1.0)},
    "final": FINAL,
    "gaussian-final": {**GAUSSIAN, **FINAL},
}  # what sets a condition apart from the preset; depth cells are made from the budget
WORDS = {
    "ic": "discrete, every hop in the target",
    "gaussian-ic": "gaussian, every hop in the target",
    "mix": "discrete, one announced hop a prompt",
    "no-hop-1": "discrete, weights 0, 1, 1",
    "final": "discrete, last hop only",
    "gaussian-final": "gaussian, last hop only",
}

SMALL = {
    "task.chains": 3, "task.vocab": 24, "model.d_model": 32, "train.batch": 64, "train.lr": 4e-3,
    "train.schedule.every": 100,
}  # fmt: skip  # a net of the grid: a tenth of the time of the preset's


@dataclass(frozen=True)
class StackedBudget:
    """Seeds and steps of a scale. `order_seeds`: those of the condition on which the order is counted; the others
    have `seeds`. `steps`: of every condition, of `cells` (layers, hops; "depth") and of the `grid` (every
    combination of these layers and hops, one small net each, see `SMALL`). `shape`: changes to every run (the
    tests\' toy size).
    """

    order_seeds: int
    seeds: int
    steps: Mapping[str, int]
    cells: tuple[tuple[int, int], ...]
    grid: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    llc: LearningCoefficient = field(default_factory=LearningCoefficient)
    workers: int = 2
    shape: tuple[tuple[str, Any], ...] = ()


LAYERS, HOPS = (1, 2, 3, 4), (1, 2, 3, 4, 5, 6)
WIDE = tuple(product(LAYERS, HOPS))
QUICK = StackedBudget(
    8, 3,
    {"ic": 1500, "gaussian-ic": 1200, "mix": 1500, "no-hop-1": 1500, "final": 2500, "gaussian-final": 3000,
     "depth": 2000, "grid": 800, "clamped": 1000},
    ((1, 2), (2, 6)), (LAYERS, (1, 3, 5)),
)  # fmt: skip
CPU = StackedBudget(
    16, 8,
    {"ic": 2000, "gaussian-ic": 5000, "mix": 6000, "no-hop-1": 6000, "final": 20_000, "gaussian-final": 20_000,
     "depth": 6000, "grid": 6000, "clamped": 2000},
    WIDE,
)  # fmt: skip
BUDGETS = {"quick": QUICK, "cpu": CPU, "paper": replace(CPU, order_seeds=64, seeds=64)}


Study = StudyContext[StackedBudget]


def study_of(scale: Scale, out: Path, report: Report, seeds: Sequence[int] | None = None) -> Study:
    """The study at a scale. `seeds` (consecutive numbers) replaces the scale's own choice in every condition."""
    budget = BUDGETS[scale]
    if seeds is not None:
        budget = replace(budget, order_seeds=len(seeds), seeds=len(seeds))
    first = min(seeds or (0,))
    chosen = tuple(range(first, first + budget.order_seeds))
    return StudyContext(NAME, scale, Path(out), chosen, report, budget, CLAIMS)


def condition(study: Study, name: str) -> list[Run]:
    """The runs of one of `CONDITIONS`."""
    seeds = study.budget.order_seeds if name == "ic" else study.budget.seeds
    return runs_of(study, name, seeds, {"train.steps": study.budget.steps[name], **CONDITIONS[name]})


def cell(study: Study, layers: int, hops: int) -> list[Run]:
    """The runs of one cell of layers and hops."""
    settings = {"train.steps": study.budget.steps["depth"], "model.n_layers": layers, "task.hops": hops}
    return runs_of(study, f"depth-L{layers}-D{hops}", study.budget.seeds, settings)


def grid(study: Study) -> list[Run]:
    """One small net for every combination of layers and hops; none where the budget has no grid."""
    if study.budget.grid is None:
        return []
    layers, hops = study.budget.grid
    every = {"model.n_layers": layers, "task.hops": hops}
    return runs_of(study, "grid", 1, {"train.steps": study.budget.steps["grid"], **SMALL}, every)


def runs_of(
    study: Study,
    name: str,
    seeds: int,
    settings: Mapping[str, Any],
    every: Mapping[str, Sequence[Any]] | None = None,
) -> list[Run]:
    """The runs of a condition, trained if they are not there yet; one for every combination of `every` and seed.

    Raises UserError when one of them fails.
    """
    study.progress(f"{name}, {seeds} seeds, {settings['train.steps']} steps")
    plan = plan_of(study, seeds, settings, every)
    if study.budget.workers == 1:
        return [_in_process(study.out / name / one.name, one.config) for one in cells(plan)]
    found = run_sweep(plan, study.out / name, workers=study.budget.workers)
    for failed, reason in found.failures.items():
        raise UserError(f"{found.path / failed}: {reason}")
    return found.runs


def plan_of(
    study: Study, seeds: int, settings: Mapping[str, Any], every: Mapping[str, Sequence[Any]] | None = None
) -> SweepPlan:
    """The sweep of a condition."""
    merged = {"train.save_every": 500, **settings, **dict(study.budget.shape)}
    first = study.seeds[0]
    axes = {key: tuple(values) for key, values in (every or {}).items()}
    return SweepPlan(
        config="retrieval", set=merged, grid=axes, seeds=tuple(range(first, first + seeds)),
        analyses=("scores", "heads"),
    )  # fmt: skip


def row(study: Study, claim: str, found: Interval, of: str, note: str = "", **changes: str) -> Row:
    """A ledger row from an interval, measured in condition `of`; `changes` replace what it says of it."""
    said = {
        "condition": WORDS.get(of, of),
        "budget": f"{study.budget.steps[of]} steps of 128 prompts",
    } | changes
    return study.row(claim, found, condition=said["condition"], budget=said["budget"], note=note)


def _in_process(path: Path, config: RunConfig) -> Run:
    """Train one run in this process: a single worker needs no cluster."""
    train(config, path)
    return load(path)
