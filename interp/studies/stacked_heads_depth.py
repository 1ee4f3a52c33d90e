"""Rows of the study on depth: the closure simulator, hops solved against layers, and reach by linear probe."""

from __future__ import annotations

from collections.abc import Sequence

from interp.develop.reach import reach
from interp.run import Run
from interp.studies.ledger import Row
from interp.studies.stacked_heads_readings import accuracy, solved
from interp.studies.stacked_heads_runs import Bench
from probes.stats import Interval, share, student
from tasks.theory.closure import bound, layers_needed

MOST_HOPS = 41


def rows(bench: Bench, ic: Sequence[Run]) -> list[Row]:
    """Rows on the depth bound."""
    return [_simulated(bench), _reach(bench, ic), *_trained(bench)]


def _simulated(bench: Bench) -> Row:
    """Share of hop counts for which the simulator needs exactly the bound's number of layers: no sampling."""
    agree = sum(layers_needed(hops) == bound(hops) for hops in range(1, MOST_HOPS + 1)) / MOST_HOPS
    exact = Interval(agree, agree, agree, MOST_HOPS, "exact")
    said = {"arm": "closure simulator, pair tokens, no mask", "budget": "no training"}
    return bench.row(
        "closure-bound", exact, "ic", f"n counts hops 1 to {MOST_HOPS}; nothing is sampled", **said
    )


def _reach(bench: Bench, runs: Sequence[Run]) -> Row:
    """Does a linear probe of the query's stream read a symbol above guessing before the simulator allows?"""
    early, largest = [], 0.0
    for run in runs:
        table = reach(run.probe(steps="last").table, run.task)
        early.append(bool(table["too_early"].any()))
        largest = max(largest, float(table.loc[table["depth"] < table["earliest"], "excess"].max()))
    note = f"largest accuracy above guessing at a layer too early: {largest:.2f} of the way to 1"
    return bench.row("information-reach", share(sum(early), len(early)), "ic", note)


def _trained(bench: Bench) -> list[Row]:
    """Hops solved at the end of training against the bound, over cells of layers and hops."""
    beyond, counts, first, second = [], [], [], []
    for layers, hops in bench.budget.cells:
        runs = bench.cell(layers, hops)
        found = [solved(run) for run in runs]
        counts.append(f"L={layers} D={hops}: {[int(sum(each)) for each in found]}")
        limit = (3**layers - 1) // 2
        beyond += [any(each[limit:]) for each in found if hops > limit]
        if (layers, hops) == (1, 2):
            first, second = ([accuracy(run)[hop] for run in runs] for hop in (0, 1))
    note = f"hops solved a run: {'; '.join(counts)}"
    return [
        bench.row(
            "depth-necessity", share(sum(beyond), len(beyond)), "depth", note, arm="cells beyond the bound"
        ),
        bench.row("one-layer-hop-1", student(first), "depth", arm="L=1, D=2"),
        bench.row("one-layer", student(second), "depth", arm="L=1, D=2"),
    ]
