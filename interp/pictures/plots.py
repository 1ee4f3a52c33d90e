"""Figures for papers by matplotlib (the extra `plots`): a result's table drawn into axes, with its 95% intervals.

Each function takes the long table of an analysis and matplotlib's axes and returns these. Bands and bars are the
table's confidence limits and are absent where it has none; dashed levels are its controls. Of many curves the
`MOST_LINES` largest at the last checkpoint are drawn, and the legend's title says so. A module of one's own names its
function in the registry's entry (`plot`); without one, `series` draws any table of values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from interp.pictures.labels import relation_label, short_site
from tasks.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES, MOST_POINTS = 8, 24
NAMING = (
    "run", "group", "distribution", "position", "site", "layer", "head", "component", "sender", "receiver", "strategy",
    "algorithm", "member", "target", "statistic", "chain", "row", "column", "event", "subject", "query", "key",
    "condition", "rank", "role",
)  # fmt: skip
LEVELS = {
    "bayes_risk": "Bayes risk",
    "chance": "chance",
    "untrained": "untrained, highest",
    "uniform": "uniform",
}
PREFERRED = (
    "accuracy", "weight", "sharpness", "loss / label variance", "loss", "r2", "mse", "noise q99 / median",
    "distance to identity", "faithfulness",
)  # fmt: skip


def new_axes() -> Axes:
    """Axes of a new figure. Raises UserError where matplotlib is not installed."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise UserError("plots need matplotlib: pip install 'algoscope[plots]'") from None
    return plt.subplots(layout="constrained")[1]


def series(table: pd.DataFrame, ax: Axes) -> Axes:
    """Curves over training with bands; of a single checkpoint points with bars."""
    rows = _of_one_metric(table).reset_index(drop=True)
    rows = rows.astype({name: float for name in ("step", "value", "ci_low", "ci_high") if name in rows})
    own = rows[rows["control"] == "none"] if "control" in rows else rows
    own = own.dropna(subset=["value"] if "step" not in own else ["step", "value"])
    if own.empty:
        raise UserError("nothing to plot: the table holds no measured value")
    if "step" not in own or own["step"].nunique() < 2:
        return _points(own, ax)
    names = _names(own)
    last = own[own["step"] == own["step"].max()].assign(_name=names)
    most = last.groupby("_name", sort=False)["value"].max().abs().nlargest(MOST_LINES).index
    for name, curve in own.assign(_name=names).groupby("_name", sort=False):
        if name in most:
            _curve(ax, curve.sort_values("step"), "step", str(name))
    _levels(rows, ax)
    ax.set(xlabel="training step", ylabel=_label(own))
    return _legend(ax, names.nunique())


def _of_one_metric(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one metric: one that says most where there are several, else the first."""
    if "metric" not in table or table["metric"].nunique() < 2:
        return table
    there = list(dict.fromkeys(table["metric"]))
    units = table["unit"].nunique() if "unit" in table else 1
    chosen = next((name for name in PREFERRED if name in there), None)
    if chosen is None and units < 2:
        return table  # relations, patterns: curves of one unit, told apart by name
    return table[table["metric"] == (chosen or there[0])]


def _names(rows: pd.DataFrame) -> pd.Series:
    """What tells each row from the others of its checkpoint: the naming columns that vary."""
    metric = ["metric"] if "metric" in rows and rows["metric"].nunique() > 1 else []
    varying = [name for name in NAMING if name in rows and rows[name].nunique(dropna=False) > 1]
    if {"layer", "head"} & set(varying) and {"layer", "head"} <= set(rows):
        varying = [name for name in varying if name not in ("layer", "head")]
        parts = [[_head(*pair) for pair in zip(rows["layer"], rows["head"], strict=True)]]
    else:
        parts = []
    parts += [[_text(value) for value in rows[name]] for name in (*varying, *metric)]
    joined = [" ".join(part for part in each if part) for each in zip(*parts, strict=True)] if parts else None
    return pd.Series(joined if joined else _text_of(rows), index=rows.index, dtype=object)


def _text_of(rows: pd.DataFrame) -> str:
    return relation_label(str(rows["metric"].iloc[0])) if "metric" in rows else "value"


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float | int):
        return f"{value:g}"
    return short_site(relation_label(str(value)).replace("hook resid", "hook_resid"))


def _head(layer: float | int, head: float | int) -> str:
    return "" if layer < 0 else f"L{int(layer)}" + (f"H{int(head)}" if head >= 0 else "")


def _label(rows: pd.DataFrame) -> str:
    """The axis of values: what was measured, and its unit."""
    metric = relation_label(str(rows["metric"].iloc[0])) if "metric" in rows else "value"
    several = "metric" in rows and rows["metric"].nunique() > 1
    unit = str(rows["unit"].iloc[0]) if "unit" in rows and isinstance(rows["unit"].iloc[0], str) else ""
    if several:
        return unit or "value"
    return f"{metric} ({unit})" if unit and unit != metric else metric


def _curve(ax: Axes, rows: pd.DataFrame, x: str, name: str) -> None:
    (line,) = ax.plot(rows[x], rows["value"], label=name, marker="." if len(rows) < 12 else "")
    if "ci_low" in rows and rows["ci_low"].notna().any():
        ax.fill_between(rows[x], rows["ci_low"], rows["ci_high"], color=line.get_color(), alpha=0.25, lw=0)


def _levels(rows: pd.DataFrame, ax: Axes) -> None:
    """Controls that belong to no checkpoint, where all curves share one level; the highest of the untrained model's."""
    if "control" not in rows:
        return
    for control, part in rows[rows["step"].isna()].groupby("control", sort=False):
        values = part["value"].dropna()
        if control in LEVELS and len(values) and (control == "untrained" or values.nunique() == 1):
            ax.axhline(float(values.max()), color="grey", ls="--", lw=1, label=LEVELS[str(control)])


def _points(rows: pd.DataFrame, ax: Axes) -> Axes:
    """One checkpoint: a point and its interval for each row, the largest ones where there are many."""
    names = _names(rows)
    ordered = rows.assign(_name=names).loc[rows["value"].abs().nlargest(MOST_POINTS).sort_index().index]
    places = np.arange(len(ordered))[::-1]
    spans(ax, ordered, places)
    ax.set_yticks(places, list(ordered["_name"]))
    step = f", step {ordered['step'].iloc[0]:,.0f}" if "step" in ordered else ""
    more = f" ({len(ordered)} largest of {len(rows)})" if len(ordered) < len(rows) else ""
    ax.set(xlabel=f"{_label(rows)}{step}{more}")
    ax.axvline(0, color="grey", lw=0.8)
    return ax


def spans(ax: Axes, rows: pd.DataFrame, places: Sequence[float] | np.ndarray, value: str = "value") -> None:
    """Points along the x axis with their limits as bars; limits that are missing or infinite leave a bar out."""
    values = rows[value].to_numpy(float)
    low, high = (rows[name].to_numpy(float) if name in rows else values for name in ("ci_low", "ci_high"))
    widths = [np.where(np.isfinite(part), part, 0.0) for part in (values - low, high - values)]
    ax.errorbar(values, places, xerr=np.clip(widths, 0, None), fmt="o", ms=4, capsize=2, label="95% interval")


def _legend(ax: Axes, there: int) -> Axes:
    drawn = len([line for line in ax.get_lines() if line.get_linestyle() == "-"])
    title = f"{drawn} largest of {there}" if drawn < there else None
    ax.legend(frameon=False, fontsize="small", title=title)
    return ax
