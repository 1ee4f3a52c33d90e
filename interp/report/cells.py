"""Cells of tables as a page's script takes them: finite numbers or null, rows as dicts."""

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
