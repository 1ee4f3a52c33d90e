"""What tables over several runs say: final scores, order of onsets, heads of each role, and how alike circuits are."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from interp.analysis.conclusion import (
    MOST_NAMED,
    Sentence,
    at,
    few,
    figures,
    first_middle_last,
    interval,
    limits,
    measured,
    of,
)
from interp.pictures.labels import natural, relation_label
from interp.pictures.over_runs import EACH, ONSET


def scores(table: pd.DataFrame) -> list[Sentence]:
    """Scores at the last checkpoint that all runs have, with limits over runs."""
    metric = "accuracy" if (table["metric"] == "accuracy").any() else "loss"
    own = measured(table[table["metric"] == metric])
    if own.empty:
        return []
    shown = own if len(own) <= MOST_NAMED else own.iloc[first_middle_last(len(own))]
    digits = ".1%" if metric == "accuracy" else ".3g"
    parts = [f"{row.position} {over(row, digits)}" for row in shown.itertuples()]
    found = {k: v for row in shown.itertuples() for k, v in figures(row, str(row.position)).items()}
    return [Sentence(f"{at(own)}, mean {metric} over {_runs(own)}: {', '.join(parts)}.", found)]


def over(row: Any, digits: str) -> str:
    """A value with its limits, which are called a range where they are no 95% interval."""
    word = " [range " if "range" in str(getattr(row, "method", "")) else " ["
    return interval(row, digits).replace(" [", word)


def _runs(rows: pd.DataFrame) -> str:
    return f"{int(of(rows.iloc[0], 'n'))} runs"


def emergence(table: pd.DataFrame) -> list[Sentence]:
    """Median onsets in order; how many runs each event is right-censored in; how firmly the order of hops is kept."""
    own = table[table["metric"] == ONSET]
    numbered = sorted(range(len(own)), key=lambda i: natural(str(own["event"].iloc[i])))
    own = own.iloc[numbered].sort_values("value", kind="stable")
    rose = own[own["value"].map(math.isfinite)]
    parts = [f"{row.event} {_when(row)}" for row in rose.itertuples()]
    found = {str(row.event): float(row.value) for row in rose.itertuples()}
    none = [str(event) for event in own["event"][~own["value"].map(math.isfinite)]]
    first = f"Median onset over {_runs(own)} (training step): {few(parts)}." if parts else ""
    late = f"Right-censored in half of the runs or more: {few(none)}." if none else ""
    strict = table[table["metric"] == "strictly in order"]
    order = [f"Strictly in the order {r.order}: {interval(r, '.0%')} of runs." for r in strict.itertuples()]
    return [Sentence(text, found) for text in (first, late, *order) if text]


def _when(row: Any) -> str:
    """A median step with its limits; "never" where the upper one is a run in which it did not emerge."""
    low, high = limits(row)
    if math.isnan(low):
        return f"{row.value:,.0f}"
    word = "range " if "range" in str(row.method) else ""
    return f"{row.value:,.0f} [{word}{low:,.0f}, {'never' if math.isinf(high) else f'{high:,.0f}'}]"


def roles(table: pd.DataFrame) -> list[Sentence]:
    """The strongest head of each relation over runs, and how many heads of each role are needed."""
    own = measured(table)
    strongest = own[(own["metric"] == "strongest head") & ~own["role"].astype(str).str.startswith("rival")]
    strongest = strongest.sort_values("value", ascending=False, kind="stable")
    needed = own[own["metric"] == "needed heads"]
    first = [f"{relation_label(str(row.role))} {over(row, '.2f')}" for row in strongest.itertuples()]
    second = [f"{relation_label(str(row.role))} {over(row, '.2g')}" for row in needed.itertuples()]
    over_runs = own[~own["metric"].astype(str).str.endswith(EACH)]
    found = {str(row.role): float(row.value) for row in over_runs.itertuples()}
    texts = [f"{at(own)}: strongest head of each run, mean over {_runs(own)}: {few(first)}."] if first else []
    texts += [f"Needed heads of each role: {few(second)}."] if second else []
    return [Sentence(text, found) for text in texts]


def circuits(table: pd.DataFrame) -> list[Sentence]:
    """Size and faithfulness of the runs' circuits, and their overlap against that of random ones."""
    own = table[(table["metric"] == "faithfulness") & table["value"].notna()]
    if own.empty:
        return [Sentence("No run has a behaviour to explain: there is no circuit.")]
    sizes, carried = own["edges"], own["value"]
    found = {
        "fewest edges": float(sizes.min()),
        "most edges": float(sizes.max()),
        "least faithful": float(carried.min()),
    }
    text = (
        f"{len(own)} circuits of {sizes.min():.0f} to {sizes.max():.0f} edges, faithfulness {carried.min():.2f} to "
        f"{carried.max():.2f}"
    )
    overlap = {str(row.control): row for row in table[table["metric"] == "edge overlap"].itertuples()}
    if {"none", "matched random"} <= set(overlap):
        both, chance = overlap["none"], overlap["matched random"]
        found |= {"overlap": of(both, "value"), "by chance": of(chance, "value")}
        text += (
            f"; two of them share {over(both, '.2f')} of their edges (matched random {over(chance, '.2f')})"
        )
    return [Sentence(f"{text}.", found)]
