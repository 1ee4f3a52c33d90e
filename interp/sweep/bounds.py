"""Between which values a measured quantity can lie, by its metric and unit: what intervals over seeds keep inside of.

A quantity that is not listed has no bounds, and neither has one whose values contradict them (float error, a score of a
user's own under a name of ours).
"""

from __future__ import annotations

import math

import pandas as pd

SHARES = {"accuracy", "overlap", "filter posterior"}
SHARE_UNITS = {"share", "share of prompts", "attention", "eigenvalue share", "share of the norms' product"}
SIMILARITIES = {"SimE", "SimW"}
AT_MOST_ONE = {"r2", "partial r2"}
NOT_NEGATIVE = {"loss", "mse", "relative L2", "gradient norm", "noise median", "noise q99 / median"}


def possible(rows: pd.DataFrame) -> tuple[float, float]:
    """Least and largest possible value of the rows of one measurement (columns metric, unit, value)."""
    metric, unit = (str(rows[name].iloc[0]) if name in rows else "" for name in ("metric", "unit"))
    least, most = _bounds(metric, unit)
    inside = least <= rows["value"].min() and rows["value"].max() <= most
    return (least, most) if inside else (-math.inf, math.inf)


def _bounds(metric: str, unit: str) -> tuple[float, float]:
    if metric in SHARES or unit in SHARE_UNITS:
        return 0.0, 1.0
    if metric in SIMILARITIES:
        return -1.0, 1.0
    if metric in AT_MOST_ONE:
        return -math.inf, 1.0
    return (0.0, math.inf) if metric in NOT_NEGATIVE or unit == "heads" else (-math.inf, math.inf)
