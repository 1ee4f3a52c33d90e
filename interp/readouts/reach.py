"""How far information has come: which symbol of the chain a layer's query stream holds, against the earliest
layer at which it could.

The readouts of a retrieval run (`interp.readouts.readouts`) say how often a linear map reads s_k at the query
after each layer; the closure simulator (`tasks.theory.closure`) says after how many layers of attention s_k
can be there at all, whatever is learned. `excess` is (accuracy - guess) / (1 - guess): 0 for the best guess
that follows no link, 1 for always right, negative below the guess. Source: depth bound of arXiv 2411.12118,
Theorem 1; the test by probe is ours. A causal mask can only make information later, so that the simulator's
layer for no mask is a bound for every mask.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from tasks import Task, UserError
from tasks.theory.closure import earliest_layers

READABLE = 0.5  # excess from which a symbol counts as readable


def reach(table: pd.DataFrame, task: Task) -> pd.DataFrame:
    """One row a checkpoint, hop and depth: columns step, position, depth (layers of attention passed),
    earliest (layers the simulator needs), value (accuracy), guess, excess, readable, too_early.

    `table` is that of the probe. Raises UserError for a task that is no retrieval of discrete symbols with a
    read a hop.
    """
    if task.kind != "retrieval" or getattr(task, "symbols", "") != "discrete" or len(task.output_names) < 1:
        raise UserError(f"reach is for retrieval of discrete symbols, not for {task.kind!r}")
    settled: Any = task
    if settled.target == "mix":
        raise UserError("reach needs an output a hop: target 'mix' has one for all")
    legal = earliest_layers(settled.hops, settled.layout)
    guess = dict(zip(task.output_names, settled.elimination().value.tolist(), strict=True))
    rows = table[(table["control"] == "none") & (table["metric"] == "accuracy")]
    found = rows[[c for c in ("run", "seed", "step", "position", "value") if c in rows]].copy()
    found["depth"] = rows["site"].map(depth_of)
    found["earliest"] = [legal[int(read.removeprefix("hop "))] for read in found["position"]]
    found["guess"] = found["position"].map(guess)
    found["excess"] = (found["value"] - found["guess"]) / (1 - found["guess"])
    found["readable"] = found["excess"] > READABLE
    found["too_early"] = found["readable"] & (found["depth"] < found["earliest"])
    return found.reset_index(drop=True)


def first_readable(table: pd.DataFrame) -> pd.DataFrame:
    """One row a checkpoint and hop: the earliest layer by theory, the first at which it is readable (missing:
    at none), and how many layers the run takes more than it needs.
    """
    keys = [key for key in ("run", "seed", "step", "position") if key in table]
    found = table.assign(first=table["depth"].where(table["readable"]))
    found = found.groupby(keys, sort=False).agg({"earliest": "first", "first": "min"}).reset_index()
    found["first"] = found["first"].astype("float64")
    return found.assign(late=found["first"] - found["earliest"])


def depth_of(site: str) -> int:
    """Layers of attention before a residual site.

    >>> depth_of("blocks.0.hook_resid_pre"), depth_of("blocks.2.hook_resid_post")
    (0, 3)
    """
    return 0 if site.endswith("resid_pre") else int(site.split(".")[1]) + 1
