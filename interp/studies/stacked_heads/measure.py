"""What the rows of the study read off finished runs: onsets, final accuracies, survival."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from interp.emergence import curriculum
from interp.run import Run
from interp.studies.context import nothing
from probes.stats import Interval, share

HOPS = ("hop 1", "hop 2", "hop 3")


def events(runs: Sequence[Run]) -> pd.DataFrame:
    """Onsets of hops and roles of every run."""
    return curriculum.events({run.name: _dated(run) for run in runs})


@lru_cache(maxsize=256)
def _dated(run: Run) -> pd.DataFrame:
    """Onset table of an opened run: many rows ask for it, and dating takes a second."""
    return run.emergence().table


def onsets(runs: Sequence[Run], event: str) -> np.ndarray:
    """Onset of an event in every run, in the order of the runs; infinite where it did not come."""
    found = events(runs)
    steps = found[found["event"] == event].set_index("run")["step"]
    return steps.reindex([run.name for run in runs]).to_numpy(dtype=float, na_value=math.inf)


def came(runs: Sequence[Run], event: str) -> Interval:
    """Share of runs in which an event came for good."""
    return share(int((onsets(runs, event) < math.inf).sum()), len(runs))


def survival_words(runs: Sequence[Run], event: str) -> str:
    """The survival curve in words."""
    steps = curriculum.survival(events(runs), event)
    jumps = steps[steps["value"].diff().fillna(0) > 0]
    said = ", ".join(f"{row.value:.0%} by step {row.step}" for row in jumps.itertuples())
    return f"{event} learned: {said or 'by no run'} (watched to step {int(steps['budget'].iloc[0])})"


def accuracy(run: Run) -> list[float]:
    """Accuracy of every read at the last checkpoint."""
    table = run.scores(steps="last").table
    return table[(table["metric"] == "accuracy") & (table["control"] == "none")]["value"].tolist()


def solved(run: Run) -> list[bool]:
    """Which hops are answered more than half-way from the best guess without following a link to always."""
    task: Any = run.task
    guess = task.elimination().value.tolist()
    return [a > g + (1 - g) / 2 for a, g in zip(accuracy(run), guess, strict=True)]


def delay(changed: Sequence[Run], usual: Sequence[Run], event: str) -> Interval:
    """Onset of an event in changed runs over its median onset in the usual ones; a run in which it never came
    counts as later than all. No value where the usual runs do not have it, or have it from the start.
    """
    median = float(np.median(onsets(usual, event)))
    if not math.isfinite(median) or median == 0:
        return nothing(len(changed), f"{event} has no onset in the condition to compare with")
    return curriculum.censored_median(onsets(changed, event) / median)
