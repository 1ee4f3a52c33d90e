"""Rows of the study on depth: the closure simulator, hops solved against layers, and reach by linear probe.

A net has 1 + layers sites at which its query stream is probed; the simulator says after how many layers each
symbol can be there at all. Cells of layers and hops come in two conditions: a few with several seeds, and a grid of
all with one smaller net each (`interp.studies.stacked_heads.runs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from interp.readouts.reach import reach
from interp.run import Run
from interp.studies.ledger import Row
from interp.studies.stacked_heads.measure import accuracy, solved
from interp.studies.stacked_heads.runs import Study, cell, grid, row
from probes.stats import Interval, share
from tasks.theory.closure import bound, layers_needed

MOST_HOPS = 41


def rows(study: Study, ic: Sequence[Run], cells: pd.DataFrame) -> list[Row]:
    """Rows on the depth bound; `cells` from `measured_cells`."""
    return [_simulated(study), _reach(study, reached([*ic, *cells["opened"]])), *_trained(study, cells)]


def reachable(layers: int) -> int:
    """Most hops that so many layers can answer by the bound 2 D <= 3^layers.

    >>> [reachable(layers) for layers in (1, 2, 3)]
    [1, 4, 13]
    """
    return (3**layers - 1) // 2


def measured_cells(study: Study) -> pd.DataFrame:
    """One row a run of the cells: condition ("depth", "grid"), layers, hops, seed, solved (hops answered), beyond
    (whether one that lies beyond the bound is), and the opened run.
    """
    conditions = {
        "depth": [run for one in study.budget.cells for run in cell(study, *one)],
        "grid": grid(study),
    }
    return pd.DataFrame([_cell(condition, run) for condition, runs in conditions.items() for run in runs])


def _cell(condition: str, run: Run) -> dict[str, Any]:
    model: Any = run.config.model
    right = solved(run)
    beyond = any(right[reachable(model.n_layers) :])
    at = {"condition": condition, "layers": model.n_layers, "hops": len(right), "seed": run.config.seed}
    return {**at, "solved": sum(right), "beyond": beyond, "opened": run}


def reached(runs: Sequence[Run]) -> pd.DataFrame:
    """`interp.readouts.reach.reach` at the last checkpoint of every run, with its layers and hops."""
    tables = []
    for number, run in enumerate(runs):
        table = reach(run.probe(steps="last").table, run.task)
        hops = table["position"].nunique()
        tables.append(table.assign(net=number, layers=table["depth"].max(), hops=hops))
    return pd.concat(tables, ignore_index=True)


def _simulated(study: Study) -> Row:
    """Share of hop counts for which the simulator needs exactly the bound's number of layers: no sampling."""
    agree = sum(layers_needed(hops) == bound(hops) for hops in range(1, MOST_HOPS + 1)) / MOST_HOPS
    exact = Interval(agree, agree, agree, MOST_HOPS, "exact")
    said = {"condition": "closure simulator, pair tokens, no mask", "budget": "no training"}
    return row(
        study, "closure-bound", exact, "ic", f"n counts hops 1 to {MOST_HOPS}; nothing is sampled", **said
    )


def _reach(study: Study, table: pd.DataFrame) -> Row:
    """Does a linear probe of the query's stream read a symbol above guessing before the simulator allows?"""
    early = table.groupby("net")["too_early"].any()
    largest = float(table.loc[table["depth"] < table["earliest"], "excess"].max())
    note = f"largest accuracy above guessing at a layer too early: {largest:.2f} of the way to 1"
    said = {"condition": "discrete, every hop in the target, and all cells of layers and hops"}
    return row(study, "information-reach", share(int(early.sum()), len(early)), "ic", note, **said)


def _trained(study: Study, cells: pd.DataFrame) -> list[Row]:
    """Hops solved at the end of training against the bound, over cells of layers and hops."""
    beyond = cells[cells["hops"] > cells["layers"].map(reachable)]
    each = cells.groupby(["condition", "layers", "hops"])["solved"].agg(list)
    counts = "; ".join(
        f"{condition} L={layers} D={hops}: {', '.join(map(str, n))}"
        for (condition, layers, hops), n in each.items()
    )
    one = cells[(cells["condition"] == "depth") & (cells["layers"] == 1) & (cells["hops"] == 2)]["opened"]
    first, second = ([accuracy(run)[hop] for run in one] for hop in (0, 1))
    steps = study.budget.steps
    said = {"condition": "cells beyond the bound", "budget": f"{steps['depth']} steps of 128 prompts (depth)"}
    if study.budget.grid is not None:
        said["budget"] += f", {steps['grid']} of 64 (grid)"
    necessity = share(int(beyond["beyond"].sum()), len(beyond))
    return [
        row(study, "depth-necessity", necessity, "depth", f"hops solved, a run each: {counts}", **said),
        row(study, "one-layer-hop-1", first, "depth", condition="L=1, D=2"),
        row(study, "one-layer", second, "depth", condition="L=1, D=2"),
    ]
