"""The nets of the study of layers against Newton's method, read once each, and how its rows are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from interp.config.model_lstm import LSTMConfig
from interp.config.model_transformer import TransformerConfig
from interp.readouts.algorithms import AlgorithmMatch
from interp.run import Run
from interp.studies.context import StudyContext
from interp.studies.ledger import Claim, Row
from interp.studies.newton.measure import MatchedNet
from interp.studies.newton.runs import BUDGETS, NewtonBudget, condition_config, condition_run, main_run
from probes import stats
from probes.algorithms.iterates import Algorithm
from probes.stats import Interval
from tasks.regression import InContextRegression

OLS, OGD = Algorithm("ols"), Algorithm("ogd")


Study = StudyContext[NewtonBudget]


def settings(study: Study, whole: bool) -> AlgorithmMatch:
    """What every net is read with; only where `whole` with a filter verdict and induced weights, which cost most."""
    sizes = study.budget
    filters, weights = (sizes.filter_prompts, 48) if whole else (2, 2)
    return AlgorithmMatch(
        chunks=sizes.chunks, filter_prompts=filters, weight_prompts=weights, draws=sizes.draws
    )


def mains(study: Study) -> list[MatchedNet]:
    """The seeds of the main condition, read with a filter verdict."""
    return [
        _net(study, f"main-{seed}", lambda s=seed: main_run(study.budget, study.out, s), True)
        for seed in study.seeds
    ]


def nets_of(study: Study, condition: str) -> list[MatchedNet]:
    """The nets of a condition, one a seed."""
    return [
        _net(study, f"{condition}-{seed}", lambda s=seed: _side(study, condition, s), False)
        for seed in _side_seeds(study)
    ]


def runs_of(study: Study, condition: str) -> list[Run]:
    """The runs of a condition, one a seed, not read yet."""
    return [_side(study, condition, seed) for seed in _side_seeds(study)]


def deep_nets(study: Study, condition: str) -> list[MatchedNet]:
    """The nets of a deeper problem, read with a filter verdict."""
    return [
        _net(study, f"{condition}-{seed}", lambda s=seed: _side(study, condition, s), True)
        for seed in _side_seeds(study)
    ]


def _side_seeds(study: Study) -> tuple[int, ...]:
    return study.seeds[: study.budget.side_seeds]


def _side(study: Study, condition: str, seed: int) -> Run:
    return condition_run(study.budget, study.out, condition, seed)


def _net(study: Study, name: str, run: Callable[[], Run], whole: bool) -> MatchedNet:
    def read() -> MatchedNet:
        study.progress(name)
        return MatchedNet.of(run(), settings(study, whole))

    return study.remembered(name, read)


def forget(study: Study) -> None:
    """Let go of nets that no later part asks for; each holds the predictions of every rival on every prompt."""
    for name in [name for name in study.memory if not name.startswith(("main-", "base-"))]:
        del study.memory[name]


def main_row(study: Study, claim: str, figure: Callable[[MatchedNet], float], note: str = "") -> Row:
    """A row of the main condition: one figure a seed."""
    return row(study, claim, [figure(net) for net in mains(study)], "main", note)


def row(
    study: Study, claim: str | Claim, found: Interval | Sequence[float], condition: str, note: str = "",
    scale: stats.Scale = "linear",
) -> Row:  # fmt: skip
    """A row; where a figure does not exist in every seed it is NaN, and the claim is not measured."""
    if not isinstance(found, Interval) and any(math.isnan(value) for value in found):
        each = ", ".join(f"{value:.3g}" for value in found)
        note = "; ".join(part for part in (note, f"not defined in every seed: {each}") if part)
        found = Interval(math.nan, math.nan, math.nan, len(found), "")
    budget = words(study.budget, condition)
    return study.row(claim, found, condition=condition, budget=budget, note=note, scale=scale)


def words(budget: NewtonBudget, condition: str) -> str:
    """The budget of a condition (or of several, joined by " and ") as a row says it."""
    if condition == "main":
        return str(budget.main)
    if condition.startswith("closed form"):
        return "no training"
    config = condition_config(budget, condition.split(" and ")[-1], 0)
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


def lacks(study: Study, *conditions: str) -> bool:
    """Whether this scale leaves out one of the conditions."""
    return not set(conditions) <= set(study.budget.conditions)


def untested(study: Study, *claims: str, why: str) -> list[Row]:
    """Rows of claims that this scale does not test; `why`: what they would need."""
    steps = BUDGETS["cpu"].side.steps
    need = f"{why}: --scale cpu, {BUDGETS['cpu'].side_seeds} nets of {steps} steps a condition"
    command = f"interp study {study.study} --scale cpu"
    return [study.claims[claim].not_testable(would_need=need, command=command) for claim in claims]


def listed(values: torch.Tensor) -> str:
    """Figures on one line."""
    return ", ".join(f"{value:.2g}" for value in values.tolist())


def best_of(*nets: MatchedNet) -> str:
    """Best Newton steps by layer, for a row's note."""
    return "best Newton steps " + " and ".join(str(net.match("newton").best[1:]) for net in nets)
