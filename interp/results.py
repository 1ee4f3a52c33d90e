"""What an analysis hands back: a table, one sentence on how to read it, and a picture in a notebook."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True, repr=False)
class Result:
    """A long table with a caption. `table` is the DataFrame; in a notebook the picture stands above it.

    >>> result = Result("heads", pd.DataFrame({"layer": [0], "value": [0.5]}), "Attention mass.")
    >>> print(result)
    Attention mass.
     layer  value
         0    0.5
    """

    name: str
    table: pd.DataFrame
    caption: str
    figure: Callable[[pd.DataFrame], Any] | None = None
    rows_shown: int = 40

    def plot(self) -> Any:
        """The picture as a plotly figure; None for a result that is only a table."""
        return None if self.figure is None else self.figure(self.table)

    def __repr__(self) -> str:
        shown = self.table.head(self.rows_shown).to_string(index=False, float_format=lambda v: f"{v:.4g}")
        rest = len(self.table) - self.rows_shown
        return f"{self.caption}\n{shown}" + (f"\n... and {rest} more rows" if rest > 0 else "")

    def _repr_html_(self) -> str:
        figure = self.plot()
        picture = "" if figure is None else figure.to_html(full_html=False, include_plotlyjs="require")
        table = self.table.head(self.rows_shown).to_html(index=False, escape=True, float_format="%.4g")
        return f"<p>{html.escape(self.caption)}</p>{picture}{table}"
