"""What `interp emergence` prints: onsets of one run, and of several runs in their order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from interp.analysis.base import Progress
from interp.analysis.result import Result
from interp.cli import results, show
from interp.cli.wide import relation_label
from interp.emergence import curriculum
from interp.emergence.choices import Of
from interp.run import Run
from tasks.errors import UserError


def edge_onsets(table: pd.DataFrame) -> pd.DataFrame:
    """One line an edge: the step at which it emerged, or that it did not (its ablation alone has no effect)."""
    late = "not emerged by " + table["last"].astype("Int64").astype(str)
    step = table["step"].astype(object).where(table["step"].notna(), late)
    step = step.where(table["state"] != "transient", "transient")
    ends = zip(table["ci_low"], table["ci_high"], strict=True)
    between = [f"({low:.0f}, {high:.0f}]" if pd.notna(low) else "" for low, high in ends]
    return table[["subject"]].rename(columns={"subject": "edge"}).assign(step=step, between=between)


def over_seeds(runs: list[Run], of: Of, steps: str, advance: Any, out: Path | None, json: bool) -> int:
    """Onsets of several runs: medians over seeds, their order, and pairwise precedence."""
    tables = seeds(runs, of, steps, advance)
    result = Result("emergence", tables.pop("events"), "Onsets by run; medians and shares are over runs.")
    results.keep(result, out)
    if json:
        records = {name: show.records(table) for name, table in tables.items()}
        show.document(
            {
                "analysis": result.name,
                "caption": result.caption,
                "rows": show.records(result.table),
                **records,
            }
        )
        return 0
    for name, table in tables.items():
        show.table(table, name)
    show.note(result.caption)
    return 0


def seeds(runs: Sequence[Run], of: Of, steps: str, advance: Progress | None) -> dict[str, pd.DataFrame]:
    """Events of several runs, their medians, and pairwise precedence. Raises UserError for runs whose checkpoints
    differ where both have some.
    """
    _refuse_other_schedules(runs)
    found = curriculum.events({run.name: run.emergence(steps, advance, of=of).table for run in runs})
    hops = [name for name in dict.fromkeys(found["event"]) if re.fullmatch(r"hop \d+", str(name))]
    medians = curriculum.over_seeds(found).assign(event=lambda t: t["event"].map(relation_label))
    tables = {"events": found, "onset of each event, median over runs": medians}
    if len(hops) > 1:
        hops = sorted(hops, key=lambda name: int(str(name).split()[1]))
        tables["order of the hops"] = curriculum.order(found, hops)
        tables["pairwise precedence"] = curriculum.precedence(found, hops)
    if of == "landscape":
        tables["pairwise precedence"] = curriculum.precedence(found)
    return tables


def _refuse_other_schedules(runs: Sequence[Run]) -> None:
    for run in runs[1:]:
        both = min(runs[0].steps[-1], run.steps[-1])
        seen = [[step for step in each.steps if step <= both] for each in (runs[0], run)]
        if seen[0] != seen[1]:
            odd = min(set(seen[0]) ^ set(seen[1]))
            raise UserError(
                f"{runs[0].path} and {run.path}: different checkpoints (step {odd} is in one alone); onsets over"
                " seeds need one schedule"
            )
