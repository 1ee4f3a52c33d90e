"""Schemas of tables: one set of columns a table name, one type a column name, held to when rows are made or read.

Owns the check, and the written dictionary: `python -m interp.analysis.schema > docs/columns.md`. A table of the
package has exactly the columns that its entry lists, in that order, whatever was measured; an unknown one is an error
in the code and raises. Others' tables may have further columns, and ours with our types.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from interp.analysis.columns import COLUMNS, EMPTY, RESULTS, TYPES, Column, column
from interp.analysis.entry import IDENTITY
from interp.analysis.shipped import SHIPPED
from tasks.errors import UserError

_OURS = {entry.name: entry.columns for entry in SHIPPED} | RESULTS


def conformed(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """A table with the types, and where the package makes it the columns, that the dictionary says.

    Raises UserError for a column of ours that holds something else than it is for, and TypeError for a column that a
    table of the package should not have.
    """
    known = _OURS.get(name)
    found = {str(key): _typed(name, str(key), table[key]) for key in table.columns}
    if known is not None:
        listed = [key for key in IDENTITY if key in found] + _spread(known, found)
        if odd := [key for key in found if key not in listed]:
            raise TypeError(f"analysis {name}: column {odd[0]!r} is not among those of its entry")
        length = len(table)
        found = {key: found[key] if key in found else _missing(key, length) for key in listed}
    return pd.DataFrame(found, index=table.index if found else None)


def _spread(listed: tuple[str, ...], found: dict[str, pd.Series]) -> list[str]:
    """The columns of an entry by name, numbered ones as many as there are."""
    numbered = [key for key in found if key.startswith("draw ")]
    return [key for name in listed for key in (numbered if name == "draw *" else [name])]


def _missing(name: str, length: int) -> pd.Series:
    known = column(name)
    assert known is not None, f"{name} is not in the dictionary of columns"
    fill: Any = "" if name in EMPTY else -1 if known.kind == "index" else np.nan
    return pd.Series([fill] * length, dtype=TYPES[known.kind])


def _typed(table: str, name: str, values: pd.Series) -> pd.Series:
    """A column in its type, where it can be had without loss."""
    known = column(name)
    if known is None or (
        str(values.dtype) == TYPES[known.kind] and name not in EMPTY and known.kind != "count"
    ):
        return values
    try:
        return _cast(known, values)
    except (TypeError, ValueError):
        kind = {"text": "text", "index": "whole numbers (-1: none)", "count": "whole numbers (missing: NaN)"}
        raise UserError(
            f"analysis {table}: column {name!r} is for {kind.get(known.kind, 'numbers')}, not for {values.dtype} such "
            f"as {values.iloc[0]!r}; give yours another name"
        ) from None


def _cast(known: Column, values: pd.Series) -> pd.Series:
    dtype = TYPES[known.kind]
    if known.kind == "text":
        if any(not isinstance(value, str) for value in values.dropna()):
            raise TypeError
        return values.astype(dtype).fillna("") if known.name in EMPTY else values.astype(dtype)
    plain = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if not plain and any(isinstance(value, str | bool | np.bool_) for value in values.dropna()):
        raise TypeError
    numbers = values.astype("float64")
    if known.kind in ("index", "count") and (numbers.dropna() % 1).any():
        raise ValueError
    return (numbers.fillna(-1) if known.kind == "index" else numbers).astype(dtype)


def upgraded(table: pd.DataFrame) -> pd.DataFrame:
    """A table of version 0.1, where patches had heads as text: "all", 3, or 2-3 for what two heads share."""
    if "head" not in table or pd.api.types.is_numeric_dtype(table["head"]):
        return table
    ends = table["head"].str.extract(r"^(?P<first>\d+)(?:-(?P<last>\d+))?$").astype("float64")
    first, last = ends["first"], ends["last"].fillna(ends["first"])
    return table.assign(
        head=first.fillna(-1).astype("int64"), shared=(last - first + 1).fillna(1).astype("int64")
    )


def whole(table: pd.DataFrame) -> pd.DataFrame:
    """For people and JSON: counts as whole numbers, which are floats in tables since some are missing."""
    counts = [
        key for key in table.columns
        if (known := column(str(key))) and known.kind == "count" and table[key].dtype == "float64"
        and not (table[key].dropna() % 1).any()
    ]  # fmt: skip
    return table.astype(dict.fromkeys(counts, "Int64"))


def markdown() -> str:
    """The dictionary as a page: every column, then the columns of every table."""
    lines = [
        "# Tables and columns", "",
        "Written by `python -m interp.analysis.schema > docs/columns.md`. A column has one meaning and one type in "
        "every table. Numbers that may be missing are float64 with NaN; `layer`, `head` and `draw` are int64, -1 where "
        "there is none. Every table begins with `run`, `seed`, `step`.", "",
        "| column | type | unit | meaning |", "| --- | --- | --- | --- |",
        *(f"| `{c.name}` | {TYPES[c.kind]} | {c.unit} | {c.meaning} |" for c in COLUMNS), "",
        "## Tables", "", "| table | columns | how it reads |", "| --- | --- | --- |",
    ]  # fmt: skip
    for entry in SHIPPED:
        named = ", ".join(f"`{name}`" for name in entry.columns)
        lines.append(f"| `{entry.name}` | {named} | {entry.caption} |")
    for name, columns in RESULTS.items():
        lines.append(f"| `{name}` (not kept) | {', '.join(f'`{each}`' for each in columns)} | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
