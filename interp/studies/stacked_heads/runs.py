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
from interp.studies.stacked_heads.claims import CLAIMS, ORDERED, SEEDS
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
    have `seeds`. `steps`: of every condition (0: not run at this scale), of `cells` (layers, hops; "depth") and of the
    `grid` (every combination of these layers and hops, one small net each, see `SMALL`). `shape`: changes to every run
    (the tests' toy size).
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
    ORDERED, SEEDS,
    {"ic": 1500, "gaussian-ic": 0, "mix": 1500, "no-hop-1": 1500, "final": 1500, "gaussian-final": 0,
     "depth": 1500, "grid": 800, "clamped": 1000},
    ((1, 2), (2, 6)), (LAYERS, (1, 3, 5)),
)  # fmt: skip
CPU = StackedBudget(
    24, 12,
    {"ic": 2000, "gaussian-ic": 5000, "mix": 6000, "no-hop-1": 6000, "final": 20_000, "gaussian-final": 20_000,
     "depth": 6000, "grid": 6000, "clamped": 2000},
    WIDE,
)  # fmt: skip
BUDGETS = {"quick": QUICK, "cpu": CPU, "paper": replace(CPU, order_seeds=64, seeds=64)}


PERFECT, UNIFORM = "hop-1-perfect", "layer-0-uniform"


def interventions_of(condition: str, heads: int) -> list[dict[str, Any]]:
    """The interventions of a condition, as settings of a run."""
    if condition == PERFECT:
        return [{"site": "L0H0.pattern", "to": "relation", "relation": "query -> link_1"}]
    return [{"site": f"L0H{head}.pattern", "to": "uniform"} for head in range(heads)]


def settings_of(budget: StackedBudget, condition: str) -> dict[str, Any]:
    """The settings of a condition with interventions."""
    heads = dict(budget.shape).get("model.n_heads", 4)
    return {"train.steps": budget.steps["clamped"], "train.clamps": interventions_of(condition, heads)}


Study = StudyContext[StackedBudget]
ANALYSES = ("scores", "heads", "probe", "ablation", "roles", "mechanism", "circuit", "edges")


def study_of(scale: Scale, out: Path, report: Report, seeds: Sequence[int] | None = None) -> Study:
    """The study at a scale. `seeds` (consecutive numbers) replaces the scale's own choice in every condition."""
    budget = BUDGETS[scale]
    if seeds is not None:
        budget = replace(budget, order_seeds=len(seeds), seeds=len(seeds))
    first = min(seeds or (0,))
    chosen = tuple(range(first, first + budget.order_seeds))
    return StudyContext(NAME, scale, Path(out), chosen, report, budget, CLAIMS)


Planned = tuple[str, int, Mapping[str, Any], Mapping[str, Sequence[Any]]]


def _condition(budget: StackedBudget, name: str) -> Planned:
    seeds = budget.order_seeds if name == "ic" else budget.seeds
    return name, seeds, {"train.steps": budget.steps[name], **CONDITIONS[name]}, {}


def _cell(budget: StackedBudget, layers: int, hops: int) -> Planned:
    settings = {"train.steps": budget.steps["depth"], "model.n_layers": layers, "task.hops": hops}
    return f"depth-L{layers}-D{hops}", budget.seeds, settings, {}


def _grid(budget: StackedBudget) -> Planned:
    layers, hops = budget.grid or ((), ())
    every = {"model.n_layers": layers, "task.hops": hops}
    return "grid", 1, {"train.steps": budget.steps["grid"], **SMALL}, every


def condition(study: Study, name: str) -> list[Run]:
    """The runs of one of `CONDITIONS`."""
    return runs_of(study, *_condition(study.budget, name))


def cell(study: Study, layers: int, hops: int) -> list[Run]:
    """The runs of one cell of layers and hops."""
    return runs_of(study, *_cell(study.budget, layers, hops))


def grid(study: Study) -> list[Run]:
    """One small net for every combination of layers and hops; none where the budget has no grid."""
    return runs_of(study, *_grid(study.budget)) if study.budget.grid else []


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
    plan = plan_of(study.budget, study.seeds[0], seeds, settings, every)
    if study.budget.workers == 1:
        return [_in_process(study.out / name / one.name, one.config) for one in cells(plan)]
    found = run_sweep(plan, study.out / name, workers=study.budget.workers)
    for failed, reason in found.failures.items():
        raise UserError(f"{found.path / failed}: {reason}")
    return found.runs


def plan_of(
    budget: StackedBudget, first: int, seeds: int, settings: Mapping[str, Any],
    every: Mapping[str, Sequence[Any]] | None = None,
) -> SweepPlan:  # fmt: skip
    """The sweep of a condition."""
    merged = {"train.save_every": 500, **settings, **dict(budget.shape)}
    axes = {key: tuple(values) for key, values in (every or {}).items()}
    return SweepPlan(
        config="retrieval", set=merged, grid=axes, seeds=tuple(range(first, first + seeds)),
        analyses=("scores", "heads"),
    )  # fmt: skip


def planned(scale: Scale) -> dict[str, str]:
    """Settings hashes of all runs, by condition and run."""
    budget = BUDGETS[scale]
    plans = [_condition(budget, name) for name in CONDITIONS if budget.steps[name]]
    plans += [_cell(budget, *one) for one in budget.cells]
    plans += [_grid(budget)] if budget.grid else []
    plans += [(name, budget.seeds, settings_of(budget, name), {}) for name in (PERFECT, UNIFORM)]
    return {
        f"{name}/{one.name}": one.config.hash
        for name, seeds, settings, every in plans
        for one in cells(plan_of(budget, 0, seeds, settings, every))
    }


def row(
    study: Study, claim: str, found: Interval | Sequence[float], of: str, note: str = "", **changes: str
) -> Row:
    """A ledger row from an interval or one value a seed, in condition `of`; `changes` replace what it says of it."""
    said = {
        "condition": WORDS.get(of, of),
        "budget": f"{study.budget.steps[of]} steps of 128 prompts",
    } | changes
    return study.row(claim, found, condition=said["condition"], budget=said["budget"], note=note)


def _in_process(path: Path, config: RunConfig) -> Run:
    """Train one run in this process: a single worker needs no cluster."""
    train(config, path)
    return load(path)
