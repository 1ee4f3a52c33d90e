"""Which strategy is followed at which step, over a setting that a sweep varies (a phase diagram): its table.

Owns the means over seeds of every strategy's weight at every value of the setting and step, and in how many seeds it
leads. Input are tables of "strategies" (`interp.readouts.strategies`) with a column for the setting, as a sweep gathers
them. Limits are over seeds (`probes.stats.over_seeds`: a range up to three), each cell alone. What it does not show:
boundaries between cells are known up to the grid.
"""

from __future__ import annotations

from collections import Counter

import pandas as pd

from interp.emergence.strategies import leaders
from probes.stats import over_seeds
from tasks.errors import UserError

SINGLE = ("run", "seed")


def phase_table(table: pd.DataFrame, setting: str, distribution: str) -> pd.DataFrame:
    """One row for a value of the setting, a step and a strategy: mean weight over seeds with its limits, seeds in which
    the strategy leads, and how many seeds there are (`n`). Steps that not every run has are left out.

    Raises UserError where the table lacks the setting, or has no rows of the distribution.
    """
    if setting not in table:
        raise UserError(f"the table has no column {setting!r}: give the tables of a sweep over it")
    own = table[(table["distribution"] == distribution) & table["step"].notna()]
    if own.empty:
        known = list(dict.fromkeys(table["distribution"].dropna()))
        raise UserError(f"no rows of the distribution {distribution!r}: there are {known}")
    runs = dict(iter(own.groupby([setting, *_runs(own)], sort=True)))
    leading: Counter[tuple[object, int, str]] = Counter()
    for (value, *_), rows in runs.items():
        leading.update((value, step, name) for step, name in leaders(rows, distribution) if name)
    steps = set.intersection(*(set(rows["step"]) for rows in runs.values()))
    weights = own[(own["metric"] == "weight") & own["step"].isin(steps)]
    found = []
    for (value, step, name), rows in weights.groupby([setting, "step", "strategy"], sort=False):
        mean = over_seeds(rows["value"].clip(0, 1).tolist(), 0.0, 1.0)
        found.append(
            {setting: value, "step": int(step), "strategy": name, **mean.row(), "method": mean.method,
             "leads in": leading[(value, step, name)]}
        )  # fmt: skip
    return pd.DataFrame(found)


def _runs(table: pd.DataFrame) -> list[str]:
    return [next(name for name in SINGLE if name in table)]
