"""The table of a result: a DataFrame that answers an old name of a column, or an old value in a query, in one line.

Owns nothing but these refusals (`tasks.renamed`): selections and copies of the table are plain DataFrames.
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from tasks.errors import UserError
from tasks.renamed import RENAMED, line

VALUES = {kind: RENAMED[kind] for kind in ("control", "metric", "split")}
_QUOTED = re.compile(r"(\w+)\s*[!=]=\s*(['\"])([^'\"]*)\2")


class Table(pd.DataFrame):
    """A long table of results.

    >>> Table({"first_loss": [3]})["fell"]
    Traceback (most recent call last):
    KeyError: 'column fell is first_loss since 0.2'
    """

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str) and key in RENAMED["column"] and key not in self.columns:
            raise KeyError(line(f"column {key}", RENAMED["column"][key]))
        return super().__getitem__(key)

    def query(self, expr: str, **kwargs: Any) -> Any:
        """Rows for which an expression holds. Raises UserError for an old value, which no row has."""
        for column, _, value in _QUOTED.findall(expr):
            if value in VALUES.get(column, {}) and value not in set(self[column]):
                raise UserError(line(f"{column} {value!r}", repr(VALUES[column][value])))
        return super().query(expr, **kwargs)
