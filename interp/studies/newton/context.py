"""A study of layers against Newton's method under way: its runs, the nets read of them, and how its rows are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from interp.config.model_lstm import LSTMConfig
from interp.config.model_transformer import TransformerConfig
from interp.readouts.algorithms import AlgorithmMatch
from interp.run import Run
from interp.studies.ledger import Row
from interp.studies.linear_common import Bench
from interp.studies.newton.claims import CLAIMS
from interp.studies.newton.nets import Net
from interp.studies.newton.runs import Budget, arm_config, arm_run, main_run
from probes.algorithms.iterates import Algorithm
from probes.stats import Interval
from tasks.regression import InContextRegression

NAME = "newton"
OLS, OGD = Algorithm("ols"), Algorithm("ogd")


@dataclass
class Study:
    """A study under way: where its runs are, what was read of them."""

    bench: Bench
    budget: Budget
    nets: dict[str, Net] = field(default_factory=dict)

    def settings(self, filters: int) -> AlgorithmMatch:
        return AlgorithmMatch(
            chunks=self.budget.chunks, filter_prompts=filters, weight_prompts=48, draws=self.budget.draws
        )

    @property
    def mains(self) -> list[Net]:
        """The seeds of the main arm, read with a filter verdict."""
        return [self._net(f"main-{seed}", lambda s=seed: self._main(s), True) for seed in self.bench.seeds]

    def _main(self, seed: int) -> Run:
        return main_run(self.budget, self.bench.out, seed)

    def arm(self, name: str) -> Net:
        """The one run of an arm."""
        return self._net(name, lambda: self.run(name), False)

    def run(self, name: str) -> Run:
        """The run of an arm, not read yet."""
        return arm_run(self.budget, self.bench.out, name, self.bench.seeds[0])

    def _net(self, name: str, run: Callable[[], Run], filters: bool) -> Net:
        if name not in self.nets:
            self.bench.say(f"{NAME}: {name}")
            settings = self.settings(self.budget.filter_prompts if filters else 2)
            self.nets[name] = Net.of(run(), settings)
        return self.nets[name]

    def main_row(self, claim: str, figure: Callable[[Net], float], note: str = "") -> Row:
        """A row of the main arm: one figure a seed."""
        return self.row(claim, [figure(net) for net in self.mains], "main", note)

    def row(self, claim: str, found: Interval | list[float], arm: str, note: str = "") -> Row:
        """A row; where a figure does not exist it is NaN, and the claim is not reproduced."""
        if not isinstance(found, Interval) and any(math.isnan(value) for value in found):
            each = ", ".join(f"{value:.3g}" for value in found)
            note = "; ".join(part for part in (note, f"not defined in every seed: {each}") if part)
            found = Interval(math.nan, math.nan, math.nan, len(found), "none")
        return self.bench.row(CLAIMS[claim], found, arm=arm, budget=self.words(arm), note=note)

    def words(self, arm: str) -> str:
        """The budget of an arm (or of several, joined by " and ") as a row says it."""
        if arm == "main":
            return str(self.budget.main)
        if arm.startswith("closed form"):
            return "no training"
        config = arm_config(self.budget, arm.split(" and ")[-1], 0)
        model, task = config.model, config.task
        assert isinstance(model, TransformerConfig | LSTMConfig)
        assert isinstance(task, InContextRegression)
        heads = f", {model.n_heads} heads" if isinstance(model, TransformerConfig) else " LSTM"
        size = f"{model.n_layers} layers x {model.d_model}{heads}"
        return f"d {task.d}, n {task.n}, {size}, {config.train.steps} steps"


def task_of(run: Run) -> InContextRegression:
    """The regression task of a run."""
    assert isinstance(run.task, InContextRegression)
    return run.task


def exact(value: float) -> Interval:
    """A figure without sampling error."""
    return Interval(value, value, value, 1, "exact")


def quotient(top: Interval, bottom: Interval) -> Interval:
    """A quotient of two positive figures; its ends are quotients of the ends, so it is conservative."""
    if not (bottom.low > 0):
        return Interval(top.value / bottom.value, math.nan, math.nan, 1, "none: the divisor may be 0")
    return Interval(
        top.value / bottom.value,
        top.low / bottom.high,
        top.high / bottom.low,
        1,
        "bounds over prompts, one seed",
    )


def listed(values: torch.Tensor) -> str:
    """Figures on one line."""
    return ", ".join(f"{value:.2g}" for value in values.tolist())


def best_of(*nets: Net) -> str:
    """Best Newton steps by layer, for a row's note."""
    return "best Newton steps " + " and ".join(str(net.match("newton").best[1:]) for net in nets)
