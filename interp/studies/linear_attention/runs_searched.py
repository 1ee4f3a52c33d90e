"""Runs at searched learning rates that fall to zero as a cosine, for rows on which optimiser ends lower at its best.

The rate of an arm is the best of a ladder of factors of two that is climbed from a first guess until its best rung has
a worse neighbour on either side, so that the optimum never lies at an end; seeds of the search are its own. A loss is
the median over the last checkpoints; a run that diverged, or whose loss is no number, has an infinite one and so loses
to any that came to its end. What it does not show: rates between rungs, or that another schedule would not do better.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import torch

from interp.run import Run
from interp.studies import linear_nets as nets
from interp.studies.linear_attention.runs import (
    EVAL_PROMPTS,
    EVERY,
    SETTINGS,
    LandscapeNet,
    Study,
    config_of,
    label_variance,
    name_of,
)

SEARCH = (1000, 1001)  # seeds that no row judges
LATE = 5  # checkpoints of which a loss is the median
LEAST, MOST = 1e-4, 20.0  # ends of the ladder, of either optimiser
FIRST = {"sgd": 0.08, "adam": 0.02}  # where a search begins: four times the rate, and the rate, of S1


def searched_run(
    study: Study, name: str, optimiser: str, model: LandscapeNet, seed: int, steps: int, rate: float
) -> Run:
    """A run at a rate that falls to zero."""
    config = config_of(name, optimiser, model, seed, steps, rate, decay="cosine")
    return nets.trained(config, study.out, name_of(name, optimiser, model, seed, steps, rate) + "-falling")


@torch.no_grad()
def late_loss(run: Run) -> float:
    """Median over the last checkpoints of the squared error on held-out prompts; infinite for a run that diverged."""
    if run.folder.diverged is not None:
        return math.inf
    batch = run.task.sample(run.config.data_seed, "final", 0, EVAL_PROMPTS)
    late = [step for step in run.steps if step % EVERY == 0 or step == run.steps[-1]][-LATE:]
    found = [float(run.task.loss(run.model(step)(batch.inputs), batch).mean()) for step in late]
    return statistics.median(found) * label_variance(run) if all(map(math.isfinite, found)) else math.inf


def climbed(loss: Callable[[float], float], first: float, factor: float = 2.0) -> float:
    """The argument of the least loss on a ladder of factors through `first`, with a worse rung on either side.

    The ladder is gone down from where the loss is infinite. An end of it (`LEAST`, `MOST`) stands where it is best.

    >>> climbed(lambda rate: (rate - 0.7) ** 2, 0.1, 2.0)
    0.8
    """
    known: dict[float, float] = {}

    def at(rate: float) -> float:
        if rate not in known:
            known[rate] = loss(rate) if LEAST <= rate <= MOST else math.inf
        return known[rate]

    best = first
    while not math.isfinite(at(best)) and best / factor >= LEAST:
        best /= factor
    while True:
        better = min((best / factor, best * factor), key=at)
        if at(better) >= at(best):
            return best
        best = better


def best_rate(study: Study, name: str, optimiser: str, model: LandscapeNet, steps: int) -> float:
    """The rate of an arm: the least mean logarithm of the late losses of the seeds of the search."""

    def loss(rate: float) -> float:
        runs = [searched_run(study, name, optimiser, model, seed, steps, rate) for seed in SEARCH]
        losses = [late_loss(run) for run in runs]
        return statistics.fmean(map(math.log, losses)) if max(losses) < math.inf else math.inf

    key = f"rate {name} {optimiser} {model.n_layers} {steps}"
    first = FIRST[optimiser] if name != "sphere" else SETTINGS[name].rates[optimiser]
    return study.remembered(key, lambda: climbed(loss, first))


def searched_gap(
    study: Study, name: str, model: LandscapeNet, steps: int, seeds: Sequence[int]
) -> tuple[list[float], str]:
    """SGD's late loss over Adam's, seed by seed (0, infinite or NaN where an arm diverged), and the rates in words."""
    rates = {arm: best_rate(study, name, arm, model, steps) for arm in ("sgd", "adam")}
    losses = [
        {
            arm: late_loss(searched_run(study, name, arm, model, seed, steps, rate))
            for arm, rate in rates.items()
        }
        for seed in seeds
    ]
    said = f"rates SGD/Adam {rates['sgd']:g}/{rates['adam']:g}, falling to 0, searched on other seeds"
    return [one["sgd"] / one["adam"] for one in losses], said
