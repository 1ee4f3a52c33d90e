"""What the rows of the study of Markov chains read off finished runs: stages, attention, the path between the layers.

Steps are those of checkpoints; a crossing is interpolated between the last checkpoint below a level and the next one,
so that it is sustained. What never happened is infinitely late. Losses and effects are in nats, over the second half
of the positions.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from interp.causal.behaviour import resampled_pair
from interp.causal.edge_effects import exact_edges
from interp.causal.metrics import metric_of
from interp.emergence.strategies import stages
from interp.run import Run

READ = "second half"
PATH = ("L0H0", "L1H0.k")
PREVIOUS, SUCCESSORS = "previous token", "follows the same symbol"


@lru_cache(maxsize=256)
def weighed(run: Run) -> pd.DataFrame:
    """The table of strategies of an opened run: several rows ask for it."""
    return run.strategies().table


@lru_cache(maxsize=256)
def staged(run: Run) -> pd.DataFrame:
    """Stages of an opened run."""
    return stages(weighed(run))


def onset(run: Run, strategy: str) -> float:
    """First step of the first stage of a strategy, infinite where there is none."""
    found = staged(run)
    steps = found.loc[found["strategy"] == strategy, "step"]
    return float(steps.iloc[0]) if len(steps) else math.inf


def followed_at_end(run: Run) -> str:
    """The strategy that leads the last checkpoint, "" where there is none."""
    found = staged(run)
    last = found[found["state"] == "sustained"]
    return str(last["strategy"].iloc[-1]) if len(last) else ""


def distances(run: Run, strategy: str) -> pd.Series:
    """KL to a strategy at every checkpoint."""
    rows = weighed(run)
    own = (rows["metric"] == "distance") & (rows["strategy"] == strategy) & (rows["position"] == READ)
    return rows[own & rows["step"].notna()].set_index("step")["value"].sort_index()


def attention(run: Run, relation: str, layer: int) -> pd.Series:
    """Mass of a layer's strongest head on a relation at every checkpoint."""
    rows = run.heads().table
    own = (rows["metric"] == relation) & (rows["layer"] == layer) & (rows["control"] == "none")
    return rows[own].groupby("step")["value"].max().sort_index()


def path(run: Run, prompts: int) -> pd.DataFrame:
    """At every checkpoint the loss, and its rise when the path from the first layer into the keys of the second alone
    carries other prompts (both paired: the same prompts everywhere)."""
    pair = resampled_pair(run.task, 0, prompts)
    measure = metric_of(run.task, pair, "loss", output=READ)
    found = []
    for step in run.steps:
        model = run.model(step)
        rise = exact_edges(model, pair.clean.inputs, pair.corrupt.inputs, measure, only=[PATH])
        with torch.no_grad():
            loss = float(measure(model(pair.clean.inputs)).mean())
        found.append({"step": step, "loss": loss, "effect": float(rise.values[0].mean())})
    return pd.DataFrame(found).set_index("step")


def head_lead(run: Run) -> float:
    """Steps from half the final mass on the previous token to the onset of the bigram predictor, both between two
    checkpoints: an onset dated at the later one would lead by half their distance where nothing does.
    """
    mass = attention(run, PREVIOUS, 0)
    half = (mass.iloc[0] + mass.iloc[-1]) / 2
    return between(run, "bigram") - crossed(mass.index.to_numpy(dtype=float), mass.to_numpy(), half)


def between(run: Run, strategy: str) -> float:
    """The middle of the interval of a strategy's first onset, infinite where there is none."""
    found = staged(run)
    own = found[found["strategy"] == strategy]
    return float(own[["ci_low", "ci_high"]].iloc[0].mean()) if len(own) else math.inf


def crossed(steps: Float[np.ndarray, " step"], values: Float[np.ndarray, " step"], level: float) -> float:
    """Step from which on a curve stays above a level, interpolated; not a number where it ends below it.

    >>> crossed(np.array([0.0, 10.0, 20.0]), np.array([0.0, 0.0, 1.0]), 0.5)
    15.0
    """
    below = np.flatnonzero(values < level)
    if not len(below):
        return float(steps[0])
    i = int(below[-1])
    if i + 1 == len(values):
        return math.nan
    return float(np.interp(level, values[i : i + 2], steps[i : i + 2]))
