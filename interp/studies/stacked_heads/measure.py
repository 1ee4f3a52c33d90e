"""What the rows of the study read off finished runs: onsets, final accuracies, survival."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from interp.emergence import curriculum
from interp.run import Run
from interp.studies.context import nothing, quotient
from probes.stats import Interval, median, share

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


def emerged(runs: Sequence[Run], event: str) -> Interval:
    """Share of runs in which an event emerged and was sustained."""
    return share(int((onsets(runs, event) < math.inf).sum()), len(runs))


def survival_words(runs: Sequence[Run], event: str) -> str:
    """The survival curve in words."""
    steps = curriculum.survival(events(runs), event)
    jumps = steps[steps["value"].diff().fillna(0) > 0]
    said = ", ".join(f"{row.value:.0%} by step {row.step}" for row in jumps.itertuples())
    return f"{event} learned: {said or 'by no run'} (watched to step {int(steps['budget'].iloc[0])})"


def accuracy(run: Run) -> list[float]:
    """Accuracy of every output at the last checkpoint."""
    table = run.scores(steps="last").table
    return table[(table["metric"] == "accuracy") & (table["control"] == "none")]["value"].tolist()


def solved(run: Run) -> list[bool]:
    """Which hops are answered more than half-way from the best guess without following a link to always."""
    task: Any = run.task
    guess = task.elimination().value.tolist()
    return [a > g + (1 - g) / 2 for a, g in zip(accuracy(run), guess, strict=True)]


def delay(changed: Sequence[Run], usual: Sequence[Run], event: str) -> Interval:
    """Median onset of an event in changed runs over that in the usual ones (see `onset_ratio`)."""
    watched = np.array([run.steps[-1] for run in changed], dtype=float)
    return onset_ratio(onsets(changed, event), onsets(usual, event), watched)


def onset_ratio(after: np.ndarray, before: np.ndarray, watched: np.ndarray) -> Interval:
    """Median of `after` over that of `before`, with the limits of both medians; infinite: not emerged.

    A run in which the event did not emerge is right-censored: it counts from the step to which it was `watched` on, so
    that the value is then a lower bound (and the upper limit infinite). No value where the usual runs do not have the
    event, or have it from the start; a range where either has fewer than six runs.
    """
    if not np.isfinite(np.median(before)) or np.median(before) == 0:
        return nothing(len(after), "no onset in the condition to compare with")
    base, late = curriculum.censored_median(before), curriculum.censored_median(after)
    floor = median(np.where(np.isfinite(after), after, watched))
    found = quotient(Interval(floor.value, floor.low, late.high, len(after), floor.method), base)
    return replace(found, method="range" if "range" in (base.method, floor.method) else found.method)
