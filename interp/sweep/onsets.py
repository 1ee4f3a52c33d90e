"""Onsets of several runs at one schedule: events by run, medians over runs, the order of hops, pairwise precedence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from interp.analysis.base import Progress
from interp.emergence import curriculum
from interp.emergence.choices import Of
from interp.pictures.labels import relation_label
from interp.run import Run
from tasks.errors import UserError

MEDIANS = "onset of each event, median over runs"


def onset_tables(
    runs: Sequence[Run], of: Of, steps: Any, advance: Progress | None
) -> dict[str, pd.DataFrame]:
    """Events of several runs, their medians, and pairwise precedence. Raises UserError for runs whose checkpoints
    differ where both have some.
    """
    _refuse_other_schedules(runs)
    found = curriculum.events({run.name: run.emergence(steps, advance, of=of).table for run in runs})
    hops = [name for name in dict.fromkeys(found["event"]) if re.fullmatch(r"hop \d+", str(name))]
    medians = curriculum.over_seeds(found).assign(event=lambda t: t["event"].map(relation_label))
    tables = {"events": found, MEDIANS: medians}
    if len(hops) > 1:
        hops = sorted(hops, key=lambda name: int(str(name).split()[1]))
        tables["order of the hops"] = curriculum.order(found, hops)
        tables["pairwise precedence"] = curriculum.precedence(found, hops)
    if of == "landscape":
        tables["pairwise precedence"] = curriculum.precedence(found)
    return tables


def _refuse_other_schedules(runs: Sequence[Run]) -> None:
    for run in runs[1:]:
        kinds = [each.config.task.kind for each in (runs[0], run)]
        if kinds[0] != kinds[1]:
            raise UserError(f"{' and '.join(kinds)}: runs must be of one task and differ in the seed only")
        both = min(runs[0].steps[-1], run.steps[-1])
        seen = [[step for step in each.steps if step <= both] for each in (runs[0], run)]
        if seen[0] != seen[1]:
            odd = min(set(seen[0]) ^ set(seen[1]))
            raise UserError(
                f"{runs[0].path} and {run.path}: different checkpoints (step {odd} is in one alone); onsets over"
                " seeds need one schedule"
            )
