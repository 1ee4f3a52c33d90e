"""Long tables as grids with named axes: which columns are axes, which rows are one variable, what does not fit.

A variable is what one analysis measured under one `metric` and `control`; its axes are those of (run, seed, step,
layer, head, position) that its rows have, then whatever other columns tell its rows apart. Cells without a row are NaN.
Positions of a prompt, which are numbers, are an axis of their own, "prompt_position".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

AXES = ("run", "seed", "step", "layer", "head", "position", "prompt_position")
FURTHER = (
    "site", "target", "algorithm", "k", "statistic", "readout", "split", "distribution", "strategy", "pair", "chain",
    "row", "column", "component", "sender", "receiver", "eigenvalue", "draw", "gamma", "step_size", "edges",
)  # fmt: skip # columns that may tell rows apart, in the order in which they are tried
LIMITS = ("value", "ci_low", "ci_high")
MOST_CELLS = 4_000_000
Labels = dict[str, list[Any]]


@dataclass(frozen=True)
class Grid:
    """One variable: its name, the axes of its values, these and their limits by column, and what it is in words."""

    name: str
    axes: tuple[str, ...]
    rows: pd.DataFrame
    attributes: Mapping[str, str]


def grids(name: str, table: pd.DataFrame, about: Mapping[str, str]) -> tuple[list[Grid], list[str]]:
    """The variables of an analysis, and one line for each part of its table that does not fit.

    `table`: its rows over all runs, with the columns run and seed. `about`: attributes that its variables share.
    """
    if "value" not in table:
        return [], [f"{name}: its table has no value a row"]
    table = _positions(table)
    found, left = [], []
    parts = [key for key in ("metric", "control") if key in table]
    for keys, rows in table.groupby(parts, sort=False, dropna=False) if parts else [((), table)]:
        words = [str(key) for key in (keys if isinstance(keys, tuple) else (keys,))]
        shown = [word for word in words if word not in ("none", "nan")]
        for suffix, part in _alike(rows):
            axes = _axes(part)
            if axes is None:
                left.append(f"{name}: {' '.join(shown)} has several rows of one name")
                continue
            units = part["unit"].dropna().unique() if "unit" in part else []
            said = {"long_name": " ".join([*shown, *suffix]), "units": "; ".join(map(str, units))}
            called = "_".join([_plain(name), *map(_plain, shown), *map(_plain, suffix)])
            found.append(Grid(called, axes, part, {**said, **about}))
    return found, left


def _positions(table: pd.DataFrame) -> pd.DataFrame:
    """Positions of a prompt in a column of their own, as numbers."""
    if "position" not in table:
        return table
    text = table["position"]
    numbers = text.where(text.str.fullmatch(r"\d+").fillna(False).astype(bool))
    if numbers.notna().any():
        table = table.assign(prompt_position=numbers.astype("float64"), position=text.where(numbers.isna()))
    return table


def _alike(rows: pd.DataFrame) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """Parts whose rows have the same axes; of several the largest first, without a word behind its name."""
    has = pd.DataFrame({axis: _given(rows, axis) for axis in AXES[2:]}, index=rows.index)
    sizes = sorted(has.groupby(list(has)), key=lambda each: -len(each[1]))
    for place, (pattern, part) in enumerate(sizes):
        axes = [axis for axis, there in zip(has, pattern, strict=True) if there]
        yield (
            (["by", *axes] if place else []),
            rows.loc[part.index, [c for c in rows if c not in _none(axes)]],
        )


def _given(rows: pd.DataFrame, axis: str) -> pd.Series:
    if axis not in rows:
        return pd.Series(False, index=rows.index)
    return rows[axis] >= 0 if axis in ("layer", "head") else rows[axis].notna()


def _none(axes: Sequence[str]) -> set[str]:
    return {axis for axis in AXES[2:] if axis not in axes}


def _axes(rows: pd.DataFrame) -> tuple[str, ...] | None:
    """The axes that tell the rows apart; None where none do."""
    axes = [axis for axis in AXES if axis in rows]
    left = int(rows.duplicated(axes).sum())
    for column in FURTHER:
        if left and column in rows and rows[column].nunique(dropna=False) > 1:
            fewer = int(rows.duplicated([*axes, column]).sum())
            if fewer < left:
                axes, left = [*axes, column], fewer
    return None if left else tuple(axes)


def labels(found: Sequence[Grid]) -> Labels:
    """The places along every axis: numbers in order, words as they come."""
    every: Labels = {}
    for grid in found:
        for axis in grid.axes:
            every[axis] = list(dict.fromkeys([*every.get(axis, []), *map(_label, grid.rows[axis])]))
    return {axis: places if axis == "run" else _ordered(places) for axis, places in every.items()}


def _label(value: Any) -> Any:
    """A place along an axis: a whole number as such, what is missing as an empty word."""
    if isinstance(value, str):
        return value
    if value is None or value != value:
        return ""
    return int(value) if float(value).is_integer() else float(value)


def _ordered(places: list[Any]) -> list[Any]:
    if all(isinstance(place, str) for place in places):
        return places
    return [str(place) for place in places] if any(isinstance(p, str) for p in places) else sorted(places)


def cells(grid: Grid, places: Labels) -> dict[str, np.ndarray]:
    """Values and limits on the grid, NaN where there is none; no limits where no row has one.

    Empty for a grid of more than `MOST_CELLS`.
    """
    shape = tuple(len(places[axis]) for axis in grid.axes)
    if np.prod(shape, dtype=float) > MOST_CELLS:
        return {}
    at = []
    for axis in grid.axes:
        where = {str(place): i for i, place in enumerate(places[axis])}
        at.append([where[str(_label(value))] for value in grid.rows[axis]])
    found = {}
    for column in LIMITS:
        if column in grid.rows and (column == "value" or grid.rows[column].notna().any()):
            held = np.full(shape, np.nan)
            held[tuple(at)] = grid.rows[column].to_numpy(float)
            found[column] = held
    return found


def _plain(text: str) -> str:
    """A name as Python writes one.

    >>> _plain("query -> link_1")
    'query_link_1'
    """
    return re.sub(r"\W+", "_", text).strip("_")
