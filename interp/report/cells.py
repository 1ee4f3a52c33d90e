"""Cells and rows of tables as the page's JSON has them: five digits, null where nothing was measured."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

JsonRow = dict[str, Any]


def number(value: Any) -> float | None:
    """Five significant digits, or None where there is no finite number."""
    return float(f"{float(value):.5g}") if given(value) and math.isfinite(value) else None


def given(value: Any) -> bool:
    """Whether a table's cell holds anything."""
    return value is not None and bool(pd.notna(value))


def rows_of(table: pd.DataFrame) -> list[JsonRow]:
    """A table's rows as dictionaries."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
