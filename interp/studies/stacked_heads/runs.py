"""Runs of the study of stacked heads: budgets by scale, and the bench that trains an arm or finds it done.

Every run is an ordinary run of a sweep under `out`: finished ones are reused, broken-off ones resumed.
Symbols, number of chains, widths and budgets are this project's choice (the paper states none of the first
two). Intervals are over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from interp.config.run import RunConfig
from interp.landscape.llc import LearningCoefficient
from interp.run import Run, load
from interp.studies.ledger import Row, Scale
from interp.studies.stacked_heads.claims import CLAIMS
from interp.sweep.engine import run_sweep
from interp.sweep.plan import SweepPlan, cells
from interp.train import train
from probes.stats import Interval
from tasks import UserError

NAME = "stacked-heads"
Say = Callable[[str], None]
GAUSSIAN = {"task.symbols": "gaussian"}
FINAL = {"task.target": "final"}
ARMS: Mapping[str, Mapping[str, Any]] = {
    "ic": {},
    "gaussian-ic": GAUSSIAN,
    "mix": {"task.target": "mix"},
    "no-hop-1": {"task.weights": (0.0, 1.0, 1.0)},
    "final": FINAL,
    "gaussian-final": {**GAUSSIAN, **FINAL},
}  # what sets an arm apart from the preset; depth cells are made from the budget
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
class Budget:
    """Seeds and steps of a scale. `order_seeds`: those of the arm on which the order is counted; the others
    have `seeds`. `steps`: of every arm, of `cells` (layers, hops; "depth") and of the `grid` (every
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
QUICK = Budget(
    8, 3,
    {"ic": 1500, "gaussian-ic": 1200, "mix": 1500, "no-hop-1": 1500, "final": 2500, "gaussian-final": 3000,
     "depth": 2000, "grid": 800, "clamped": 1000},
    ((1, 2), (2, 6)), (LAYERS, (1, 3, 5)),
)  # fmt: skip
CPU = Budget(
    16, 8,
    {"ic": 2000, "gaussian-ic": 5000, "mix": 6000, "no-hop-1": 6000, "final": 20_000, "gaussian-final": 20_000,
     "depth": 6000, "grid": 6000, "clamped": 2000},
    WIDE,
)  # fmt: skip
BUDGETS = {"quick": QUICK, "cpu": CPU, "paper": replace(CPU, order_seeds=64, seeds=64)}


@dataclass(frozen=True)
class Bench:
    """Where a study's runs are, and how its rows say what they come from."""

    scale: Scale
    out: Path
    say: Say
    budget: Budget
    shift: int = 0

    def arm(self, name: str) -> list[Run]:
        """The runs of one of `ARMS`."""
        seeds = self.budget.order_seeds if name == "ic" else self.budget.seeds
        return self.runs(name, seeds, {"train.steps": self.budget.steps[name], **ARMS[name]})

    def cell(self, layers: int, hops: int) -> list[Run]:
        """The runs of one cell of layers and hops."""
        settings = {"train.steps": self.budget.steps["depth"], "model.n_layers": layers, "task.hops": hops}
        return self.runs(f"depth-L{layers}-D{hops}", self.budget.seeds, settings)

    def grid(self) -> list[Run]:
        """One small net for every combination of layers and hops; none where the budget has no grid."""
        if self.budget.grid is None:
            return []
        layers, hops = self.budget.grid
        every = {"model.n_layers": layers, "task.hops": hops}
        return self.runs("grid", 1, {"train.steps": self.budget.steps["grid"], **SMALL}, every)

    def runs(
        self,
        arm: str,
        seeds: int,
        settings: Mapping[str, Any],
        every: Mapping[str, Sequence[Any]] | None = None,
    ) -> list[Run]:
        """The runs of an arm, trained if they are not there yet; one for every combination of `every` and seed.

        Raises UserError when one of them fails.
        """
        self.say(f"{NAME}: {arm}, {seeds} seeds, {settings['train.steps']} steps")
        merged = {"train.save_every": 500, **settings, **dict(self.budget.shape)}
        chosen = tuple(range(self.shift, self.shift + seeds))
        axes = {key: tuple(values) for key, values in (every or {}).items()}
        plan = SweepPlan(
            config="retrieval", set=merged, grid=axes, seeds=chosen, analyses=("scores", "heads")
        )
        if self.budget.workers == 1:
            return [_in_process(self.out / arm / cell.name, cell.config) for cell in cells(plan)]
        found = run_sweep(plan, self.out / arm, workers=self.budget.workers)
        for name, reason in found.failures.items():
            raise UserError(f"{found.path / name}: {reason}")
        return found.runs

    def words(self, arm: str) -> dict[str, str]:
        """What a row says of its arm and budget."""
        return {"arm": WORDS.get(arm, arm), "budget": f"{self.budget.steps[arm]} steps of 128 prompts"}

    def row(self, claim: str, found: Interval, of: str, note: str = "", **changes: str) -> Row:
        """A ledger row from an interval, measured on arm `of`; `changes` replace what it says of arm and budget."""
        command = f"interp study {NAME} --scale {self.scale}"
        said = {**self.words(of), **changes}
        return CLAIMS[claim].measured(
            found.value, found.low, found.high, found.n, command=command, note=note, **said
        )


def _in_process(path: Path, config: RunConfig) -> Run:
    """Train one run in this process: a single worker needs no cluster."""
    train(config, path)
    return load(path)


def bench_of(scale: Scale, out: Path, say: Say, seeds: Sequence[int] | None = None) -> Bench:
    """The bench of a scale. `seeds` (consecutive numbers) replaces the scale's own choice in every arm."""
    if seeds is None:
        return Bench(scale, out, say, BUDGETS[scale])
    budget = replace(BUDGETS[scale], order_seeds=len(seeds), seeds=len(seeds))
    return Bench(scale, out, say, budget, min(seeds))
