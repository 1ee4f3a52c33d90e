"""Long tables: one row a measurement, the columns of every table in one order.

Owns: turning a grid of intervals into rows and putting columns in their order. Columns that do not apply are
left out; columns of a table's own (a readout's name, a note) come last.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from probes.stats import Intervals
from tasks.errors import UserError

Row = dict[str, Any]  # one measurement by its columns
COLUMNS = (
    *("run", "seed", "step", "layer", "head", "position", "site", "metric", "algorithm", "k"),
    *("target", "control", "split", "value", "unit", "ci_low", "ci_high", "n"),
)


def frame(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """A data frame of `rows`, known columns first and in the order of `COLUMNS`."""
    table = pd.DataFrame(list(rows))
    known = [c for c in COLUMNS if c in table]
    return table.loc[:, [*known, *(c for c in table if c not in COLUMNS)]]


def grid(
    intervals: Intervals, axes: Mapping[str, Sequence[object]], **constant: object
) -> list[dict[str, object]]:
    """One row a cell of `intervals`, labelled by the coordinates of `axes` (axis name to its labels, in
    order).

    Raises UserError when the labels do not fit the cells.
    """
    shape = tuple(len(labels) for labels in axes.values())
    if tuple(intervals.value.shape) != shape:
        raise UserError(f"labels for {list(shape)} cells do not fit a table of {list(intervals.value.shape)}")
    rows = []
    for cell in itertools.product(*(range(size) for size in shape)):
        labels = {name: values[i] for (name, values), i in zip(axes.items(), cell, strict=True)}
        rows.append({**constant, **labels, **intervals[cell].row()})
    return rows
