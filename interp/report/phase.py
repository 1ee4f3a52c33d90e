"""The phase diagram of runs that differ in the size of their pool of tasks: which strategy leads, by pool and step.

The table is that of notebook 12 (`interp.emergence.phase_diagram`), here as cells of an SVG drawn on the server, with
the same in words and as a table. Where there are many checkpoints some stand for all.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from interp.analysis.base import Progress
from interp.analysis.registry import build, entry
from interp.emergence.phase_diagram import phase_table
from interp.report.cells import JsonRow, given, rows_of
from interp.run import Run
from interp.runs.conditions import differing, without_seeds
from tasks.errors import UserError

SETTING = "task.pool"
MOST_STEPS = 24
LEFT, WIDE, ROW, GAP, TOP = 64, 1050, 22, 14, 22  # of a row of maps, in units of its own


def phases(runs: Sequence[Run], progress: Progress | None = None) -> list[JsonRow]:
    """One diagram a distribution of prompts, or why there is none; empty unless the runs differ in their pool and have
    strategies."""
    settings = [without_seeds(run.config.settings) for run in runs]
    if differing(settings) != [SETTING]:
        return []
    if not all(entry("strategies").applies_to(run.config.model, run.task) for run in runs):
        return []
    try:
        tables = [run.tables([build("strategies")], "all", progress)["strategies"] for run in runs]
    except UserError as why:  # a copy without weights whose table is not whole
        return [{"missing": str(why)}]
    pools = [run.config.settings["task"]["pool"] for run in runs]
    table = pd.concat(
        [t.assign(**{SETTING: pool}) for t, pool in zip(tables, pools, strict=True)], ignore_index=True
    )
    names = list(dict.fromkeys(table["distribution"].dropna()))
    return [_diagram(phase_table(table, SETTING, str(name)), str(name)) for name in names]


def _diagram(table: pd.DataFrame, distribution: str) -> JsonRow:
    steps = sorted(table["step"].unique())
    shown = steps if len(steps) <= MOST_STEPS else _spread(steps)
    rows = table[table["step"].isin(shown)]
    pools, strategies = sorted(table[SETTING].unique()), list(dict.fromkeys(table["strategy"]))
    wide = (WIDE - GAP * (len(strategies) - 1)) / len(strategies)
    maps = []
    for place, strategy in enumerate(strategies):
        left = LEFT + place * (wide + GAP)
        own = rows[rows["strategy"] == strategy]
        cells = [_cell(row, left, wide / len(shown), pools, shown) for row in rows_of(own)]
        ends = [{"x": round(left, 1), "text": f"{shown[0]:,}", "anchor": "start"},
                {"x": round(left + wide, 1), "text": f"{shown[-1]:,}", "anchor": "end"}]  # fmt: skip
        maps.append({"name": strategy, "x": round(left, 1), "cells": cells, "ends": ends[: len(set(shown))]})
    return {
        "distribution": distribution, "maps": maps, "bottom": TOP + ROW * len(pools),
        "pools": [{"y": TOP + ROW * (i + 0.7), "text": f"{pool:,}"} for i, pool in enumerate(pools)],
        "conclusion": _said(table, distribution, pools, steps[-1]), "table": _leading(rows, pools, shown),
        "seeds": int(table["n"].max()), "left_out": len(steps) - len(shown),
    }  # fmt: skip


def _spread(steps: Sequence[int]) -> list[int]:
    last = len(steps) - 1
    return [steps[i] for i in sorted({round(k * last / (MOST_STEPS - 1)) for k in range(MOST_STEPS)})]


def _cell(row: JsonRow, left: float, wide: float, pools: Sequence[int], steps: Sequence[int]) -> JsonRow:
    """A cell as dark as the strategy's mean weight, with the number of seeds in which it leads."""
    pool, step, leads = row[SETTING], row["step"], int(row["leads in"])
    word = "range " if "range" in str(row["method"]) else ""
    limits = f" [{word}{row['ci_low']:.2f}, {row['ci_high']:.2f}]" if given(row["ci_low"]) else ""
    return {
        "x": round(left + wide * steps.index(step), 1), "y": TOP + ROW * pools.index(pool),
        "width": round(wide - 1, 1), "height": ROW - 1, "weight": round(float(row["value"]), 3), "leads": leads,
        "text": f"pool {pool:,}, step {step:,}: {row['strategy']} {row['value']:.2f}{limits}, leads in {leads} of "
        f"{int(row['n'])}",
    }  # fmt: skip


def _leaders(table: pd.DataFrame, pool: int, step: int) -> str:
    """Who leads in how many seeds, at one pool and step."""
    at = table[(table[SETTING] == pool) & (table["step"] == step) & (table["leads in"] > 0)]
    return ", ".join(f"{row['strategy']} {row['leads in']:.0f} of {row['n']:.0f}" for _, row in at.iterrows())


def _said(table: pd.DataFrame, distribution: str, pools: Sequence[int], last: int) -> str:
    parts = [f"{pool:,}: {_leaders(table, pool, last) or 'none'}" for pool in pools]
    return f"Strategy that leads at step {last:,} on {distribution}, in how many seeds, by pool: {'; '.join(parts)}."


def _leading(table: pd.DataFrame, pools: Sequence[int], steps: Sequence[int]) -> JsonRow:
    rows = [[f"{pool:,}", *(_leaders(table, pool, step) or "none" for step in steps)] for pool in pools]
    return {"columns": ["pool", *(f"step {step:,}" for step in steps)], "rows": rows, "left_out": 0}
