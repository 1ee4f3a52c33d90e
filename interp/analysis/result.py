"""The result of an analysis: what it concludes, the table, a sentence on how to read it, a picture in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from interp.analysis.conclusion import Sentence
from interp.analysis.registry import conclusion_of, plot_of
from interp.analysis.schema import whole
from interp.analysis.table import Table

if TYPE_CHECKING:
    from interp.pictures.svg import Picture

GROUP = "group"  # the column that says whose rows they are, of a result by groups (`interp.run.groups`)


@dataclass(frozen=True, repr=False)
class Result:
    """A long table with a caption. `table` is the DataFrame; in a notebook conclusion and picture are shown above it.

    `name` is the analysis that made it and determines conclusion and picture. `named`: the rows that the
    conclusion may name, where these are not all.

    >>> result = Result("heads", pd.DataFrame({"layer": [0], "value": [0.5]}), "Attention mass.")
    >>> print(result)
    Attention mass.
     layer  value
         0    0.5
    """

    name: str
    table: pd.DataFrame
    caption: str
    rows_shown: int = 40
    named: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", Table(self.table))

    @property
    def conclusion(self) -> tuple[Sentence, ...]:
        """What the table says in one or two sentences; empty for a table without measured checkpoints."""
        return conclusion_of(self.name, self.table if self.named is None else self.named)

    def plot(self, ax: Any = None) -> Any:
        """The table drawn by matplotlib with its intervals, into `ax` or a new figure; returns the axes, for papers.

        Raises UserError where matplotlib is missing (the extra `plots`), and where there is nothing to draw.
        """
        from interp.pictures.plots import new_axes

        return plot_of(self.name)(self.table, new_axes() if ax is None else ax)

    def picture(self) -> Picture | None:
        """The picture shown in a notebook; None for a result that is only a table, or holds nothing to draw."""
        from interp.pictures.charts import CHARTS

        return CHARTS[self.name](self.table) if self.name in CHARTS else None

    def __repr__(self) -> str:
        shown = self._shown().to_string(index=False, float_format=lambda v: f"{v:.4g}")
        return "\n".join([*map(str, self.conclusion), self.caption, shown]) + self._rest()

    def _repr_html_(self) -> str:
        picture = self.picture()
        shown = self._shown().astype(object).where(self._shown().notna(), "–")
        table = shown.to_html(index=False, escape=True, float_format="{:.4g}".format)
        tall = f'<div style="max-height:24em;overflow:auto">{table}{html.escape(self._rest())}</div>'
        said = " ".join(map(str, self.conclusion))
        first = f"<p><b>{html.escape(said)}</b></p>" if said else ""
        drawn = picture._repr_html_() if picture else ""
        return f"{first}<p>{html.escape(self.caption)}</p>{drawn}{tall}"

    def _shown(self) -> pd.DataFrame:
        return whole(self.table.head(self.rows_shown))

    def _rest(self) -> str:
        left = len(self.table) - self.rows_shown
        return f"\n... and {left} more rows" if left > 0 else ""


def parted(result: Result) -> Iterator[tuple[str, Result]]:
    """The groups of a result with their labels; the result itself, with an empty one, where it has none."""
    if GROUP not in result.table:
        yield "", result
        return
    for label, rows in result.table.groupby(GROUP, sort=False):
        table = rows.drop(columns=GROUP).reset_index(drop=True)
        yield str(label), Result(result.name, table, result.caption)
