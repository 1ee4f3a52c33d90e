"""What the rows of the study of task diversity read off finished runs: distances to predictors, losses, thresholds.

Distances are squared differences of predictions over the variance of a label without noise, losses in label variances,
both means over output positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from interp.run import Run
from tasks.risk import risk

POOL, FRESH = "pool tasks", "fresh tasks"


@lru_cache(maxsize=256)
def weighed(run: Run, prompts: int = 256) -> pd.DataFrame:
    """The table of strategies of an opened run: several rows ask for it."""
    return run.strategies(prompts=prompts).table


def distance(run: Run, strategy: str, distribution: str) -> pd.Series:
    """Distance to a strategy at every checkpoint, a mean over output positions."""
    return _series(weighed(run), "distance", strategy, distribution)


def weight(run: Run, strategy: str, distribution: str) -> pd.Series:
    """Weight of a strategy at every checkpoint."""
    return _series(weighed(run), "weight", strategy, distribution)


def _series(rows: pd.DataFrame, metric: str, strategy: str, distribution: str) -> pd.Series:
    own = (rows["metric"] == metric) & (rows["strategy"] == strategy) & (rows["distribution"] == distribution)
    return rows[own & rows["step"].notna()].groupby("step")["value"].mean().sort_index()


def nearness(run: Run) -> float:
    """log(distance to dMMSE / distance to ridge) on tasks of the pool at the end: below 0 nearer to dMMSE."""
    to = [float(distance(run, name, POOL).iloc[-1]) for name in ("dMMSE", "ridge")]
    return math.log(to[0] / to[1])


def nearnesses(runs: Sequence[Run]) -> list[float]:
    """The same of one seed's run on every pool, in the order of the pools."""
    return [nearness(run) for run in runs]


def excess(run: Run, strategy: str, distribution: str, prompts: int = 2048) -> float:
    """Loss of the last checkpoint over the loss of a strategy, both on a distribution of the run's task."""
    task = run.task.distributions[distribution]
    batch = task.sample(0, "pool losses", 0, prompts)
    outputs = run.model("last")(batch.inputs).detach()
    return float(run.task.loss(outputs, batch).mean() / risk(run.task, strategy, distribution).value.mean())


def slope(pools: Sequence[int], values: Sequence[float]) -> float:
    """Change of a value with every doubling of the pool, by least squares."""
    return float(np.polyfit(np.log2(pools), values, 1)[0])


def threshold(pools: Sequence[int], values: Sequence[float], level: float = 0.0) -> float:
    """log2 of the pool at which rising values cross a level, between the last pool below it and the next; not a number
    where they do not.

    >>> threshold([8, 16, 32], [-1.0, -0.5, 0.5])
    4.5
    """
    below = np.flatnonzero(np.asarray(values) < level)
    if not len(below) or below[-1] + 1 == len(values):
        return math.nan
    i = int(below[-1])
    return float(np.interp(level, values[i : i + 2], np.log2(pools[i : i + 2])))


def share(run: Run) -> float:
    """Weight of dMMSE over that of dMMSE and ridge together, on tasks of the pool at the end."""
    own, other = (float(weight(run, name, POOL).iloc[-1]) for name in ("dMMSE", "ridge"))
    return own / (own + other) if own + other > 0 else math.nan


def width(pools: Sequence[int], shares: Sequence[float]) -> float:
    """Doublings of the pool between a share of three quarters and one of a quarter."""
    others = [1 - value for value in shares]
    return threshold(pools, others, 0.75) - threshold(pools, others, 0.25)


def turned(run: Run) -> float:
    """Distance to ridge on fresh tasks at the end, over the least of any checkpoint."""
    found = distance(run, "ridge", FRESH)
    return float(found.iloc[-1] / found.min())
