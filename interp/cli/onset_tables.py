"""What `interp emergence` prints: onsets of one run, and of several runs in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from interp.analysis.result import Result
from interp.cli import results, show
from interp.emergence.choices import Of
from interp.run import Run
from interp.sweep.compare import onsets_result
from interp.sweep.onsets import onset_tables


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
    tables = onset_tables(runs, of, steps, advance)
    medians = onsets_result(tables)
    result = Result("emergence", tables.pop("events"), "Onsets by run; medians and shares are over runs.")
    results.keep(result, out)
    if json:
        records = {name: show.records(table) for name, table in tables.items()}
        show.document(
            {
                "analysis": result.name,
                "conclusion": [sentence.text for sentence in medians.conclusion],
                "caption": result.caption,
                "rows": show.records(result.table),
                **records,
            }
        )
        return 0
    results.concluded(medians)
    for name, table in tables.items():
        show.table(table, name)
    show.note(result.caption)
    return 0
