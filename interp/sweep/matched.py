"""Heads and circuits of several seeds side by side, matched by what they do: a head's number means nothing elsewhere.

Of every relation the strongest head of each run, and how many heads of a role are needed; of circuits, which share
edges by number only, size, faithfulness and overlap, beside the overlap of matched random circuits of the same sizes.
Limits are over runs (`probes.seeds`): of the overlap of every two, over pairs. Rows of single runs name their run.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.analysis.base import Progress
from interp.analysis.result import Result
from interp.causal.graph import edges as edges_of
from interp.causal.over_training import circuit_at
from interp.causal.random_circuits import jaccard_of, matched_circuit
from interp.pictures.over_runs import EACH, NEEDED, OVERLAP, STRONGEST
from interp.run import Run
from interp.sweep.bounds import possible
from probes.interval import Interval
from probes.seeds import over_pairs, over_seeds

DRAWS = 50  # random circuits of each run
Edges = Collection[tuple[str, str]]


def caption(n: int, what: str = "Mean", how: str = "") -> str:
    """What the limits over n runs are."""
    limits = (
        "their range (too few runs for a 95% interval)"
        if n < 4
        else f"95% intervals{f' {how}' if how else ''}"
    )
    return f"{what.capitalize()} over {n} runs; limits are {limits}."


def means(tables: Sequence[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """Mean over runs of what all of them have, by `keys`, with limits and what these are."""
    joined = pd.concat([table.assign(_run=i) for i, table in enumerate(tables)], ignore_index=True)
    rows = []
    for values, part in joined.groupby(keys, sort=False, dropna=False):
        part = part.dropna(subset=["value"])
        if part["_run"].nunique() == len(tables):
            found = over_seeds(part["value"].tolist(), *possible(part))
            unit = part["unit"].iloc[0] if "unit" in part else ""
            named = dict(zip(keys, values, strict=True))
            rows.append({**named, **_limited(found), "unit": unit})
    return pd.DataFrame(rows)


def _limited(found: Interval) -> dict[str, Any]:
    return {**found.row(), "method": found.method}


def roles(runs: Sequence[Run], step: int, progress: Progress | None = None) -> Result:
    """The strongest head on each relation, and how many heads of each role are needed, at one checkpoint."""
    scored, needed = [], []
    for run in runs:
        table = run.heads(step, progress)
        every = table.table if table.named is None else table.named  # those that can affect an output
        own = every[(every["control"] == "none") & every["value"].notna()]
        best = own.loc[own.groupby("metric", sort=False)["value"].idxmax()]
        scored.append(best.rename(columns={"metric": "role"})[["role", "layer", "head", "value", "unit"]])
        found = run.roles(step, progress).table
        counts = found[found["role"] != ""].assign(value=(found["verdict"] == "needed").astype(float))
        needed.append(counts.groupby("role", sort=False, as_index=False)["value"].sum())
    every = list(dict.fromkeys(role for table in needed for role in table["role"]))
    full = [t.set_index("role")["value"].reindex(every, fill_value=0.0).reset_index() for t in needed]
    counted = [t.assign(unit="heads", layer=-1, head=-1) for t in full]
    parts = [means(scored, ["role"]).assign(metric=STRONGEST)]
    if every:
        parts.append(means(counted, ["role"]).assign(metric=NEEDED))
    for name, tables in ((STRONGEST, scored), (NEEDED, counted)):
        parts += [t.assign(metric=name + EACH, run=run.name) for run, t in zip(runs, tables, strict=True)]
    table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    table[["layer", "head"]] = table[["layer", "head"]].fillna(-1).astype(int)
    return Result("roles over runs", table.assign(step=float(step), control="none"), caption(len(runs)))


def circuits(runs: Sequence[Run], step: int, progress: Progress | None = None) -> Result:
    """Each run's circuit, their mean size and faithfulness, and the mean overlap of every two."""
    rows, found = [], []
    for run in runs:
        table = run.circuit(steps=step, progress=progress).table
        own = table[(table["metric"] == "faithfulness") & (table["control"] == "none")]
        circuit = circuit_at(table, step)
        found.append(circuit.edges)
        limits = (
            own[["value", "ci_low", "ci_high", "n"]].iloc[0].to_dict()
            if len(own)
            else {"value": float("nan")}
        )
        rows.append({"run": run.name, "metric": "faithfulness", "edges": float(len(circuit.edges)), **limits})
    table = pd.DataFrame(rows).assign(control="none", unit="share of the behaviour")
    if all(found):
        carried = over_seeds(table["value"].tolist())
        sizes = over_seeds([float(len(circuit)) for circuit in found], 0.0)
        alike = [
            {
                "metric": "mean faithfulness",
                "control": "none",
                "unit": "share of the behaviour",
                **_limited(carried),
            },
            {"metric": "mean size", "control": "none", "unit": "edges", **_limited(sizes)},
            *overlaps(edges_of(runs[0].untrained_model()), found),
        ]
        table = pd.concat([table, pd.DataFrame(alike)], ignore_index=True)
    words = "Circuit of each run (95% CI over prompts), and overlap of every two; head numbers permute over seeds."
    return Result("circuits over runs", table.assign(step=float(step)), f"{words} {caption(len(runs))}")


def overlaps(every: Edges, circuits: Sequence[Edges]) -> list[dict[str, Any]]:
    """Mean overlap (Jaccard) of every two circuits with its limits over pairs, and that of matched random ones: their
    mean over `DRAWS` for each pair.
    """
    drawn = []
    for draw in range(DRAWS):
        some = [matched_circuit(every, c, 0, draw * len(circuits) + i) for i, c in enumerate(circuits)]
        drawn.append(_jaccards(some))
    shared = {"metric": OVERLAP, "unit": "Jaccard"}
    return [
        {**shared, "control": "none", **_limited(over_pairs(_jaccards(circuits), 0, 1))},
        {**shared, "control": "matched random", **_limited(over_pairs(np.mean(drawn, axis=0), 0, 1))},
    ]


def _jaccards(circuits: Sequence[Edges]) -> Float[np.ndarray, "run run"]:
    found = np.eye(len(circuits))
    for (i, a), (j, b) in itertools.combinations(enumerate(circuits), 2):
        found[i, j] = found[j, i] = jaccard_of(a, b)
    return found
