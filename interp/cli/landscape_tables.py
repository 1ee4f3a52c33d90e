"""What `interp curvature` prints of its tables."""

from __future__ import annotations

import pandas as pd


def refused(table: pd.DataFrame) -> list[tuple[int, str]]:
    """Checkpoints whose chains were rejected, and why."""
    if "note" not in table:
        return []
    rows = table[table["note"].fillna("") != ""]
    return [(int(step), str(why)) for step, why in zip(rows["step"], rows["note"], strict=True)]


def by_step(table: pd.DataFrame) -> pd.DataFrame:
    """One line a checkpoint, one column a metric; `stride`: steps to the next checkpoint, used by smoothness."""
    wide = table.pivot(index="step", columns="metric", values="value")
    wide = wide[list(dict.fromkeys(table["metric"]))]
    strides = table.dropna(subset=["stride"]).set_index("step")["stride"] if "stride" in table else None
    if strides is not None:
        wide["stride"] = strides
    return wide.reset_index().rename_axis(columns=None)
