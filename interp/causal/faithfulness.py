"""How much of a behaviour a circuit carries: faithfulness, completeness and minimality, beside random
circuits.

F(C) = (m(C) - m(empty)) / (m(full) - m(empty)), where everything outside C carries other prompts: 0 for the
empty circuit, 1 for the full one, and beyond either where a circuit overshoots. Completeness is 1 -
F(everything but C): 1 when nothing of the behaviour is left outside. Minimality is the smallest drop of F on
removing one edge: 0 or less says that some edge is not needed. Intervals are bootstraps over prompts, full
and empty resampled together with the circuit. Sources: Wang et al. (arXiv 2211.00593), section 4; Hanna et
al. (arXiv 2403.17806).
"""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.circuits import Circuit, connected, resampled_pair
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge
from interp.causal.metrics import Metric, metric_of, normalised
from interp.hooks.protocol import HookedModel
from probes.stats import DRAWS
from tasks.base import Pair, Task, generator

MAX_DRAWN = 50  # tries for a connected random circuit of one size


class Judge:
    """Measures circuits of one model on one set of prompts."""

    def __init__(self, model: HookedModel, pair: Pair, metric: Metric, draws: int = DRAWS):
        self.runs, self.metric, self.draws = (
            EdgeRuns(model, pair.clean.inputs, pair.corrupt.inputs),
            metric,
            draws,
        )
        self.every = frozenset(self.runs.known)
        self.full, self.empty = self.measure(self.every), self.measure(())

    def measure(self, circuit: Collection[Edge]) -> Float[Tensor, "batch"]:
        """The metric of each prompt through a circuit."""
        return self.metric(self.runs.outputs(circuit)).detach()

    def faithfulness(self, circuits: list[Collection[Edge]]) -> pd.DataFrame:
        """F of each circuit with its interval over prompts. Raises UserError when full and empty measure the
        same.
        """
        values = torch.stack([self.measure(c) for c in circuits], 1)
        found = normalised(values, self.full, self.empty, self.draws)
        columns = {"value": found.value.numpy(), "ci_low": found.low.numpy(), "ci_high": found.high.numpy()}
        return pd.DataFrame({"edges": [len(c) for c in circuits], **columns, "n": found.n})


def random_circuit(every: Collection[Edge], size: int, seed: int, draw: int) -> frozenset[Edge]:
    """`size` edges drawn at random from all of them; connected from embed to output if a few tries find such
    a one.
    """
    pool = sorted(every)
    source = generator(seed, "random circuit", draw)
    picked: frozenset[Edge] = frozenset()
    for _ in range(MAX_DRAWN):
        picked = frozenset(pool[i] for i in torch.randperm(len(pool), generator=source)[:size])
        if connected(picked):
            break
    return picked


def judge(
    model: HookedModel,
    task: Task,
    circuit: Circuit,
    *,
    pair: Pair | None = None,
    prompts: int = 128,
    seed: int = 1,
    metric: str = "loss",
    read: str | None = None,
    random: int = 8,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Faithfulness of a circuit, of the full and the empty one, of `random` circuits of its size; its
    completeness and minimality.

    One row a measurement (`metric` column). Judged on prompts other than those that found it, unless the seed
    is the same. Random circuits come as control "random", one row each.
    """
    pair = resampled_pair(task, seed, prompts) if pair is None else pair
    with torch.no_grad():
        measure = metric_of(task, pair, metric, read=read, clean_outputs=model(pair.clean.inputs))
    bench = Judge(model, pair, measure, draws)
    own = frozenset(circuit.edges)
    rest = bench.every - own
    drawn = [random_circuit(bench.every, len(own), seed, i) for i in range(random)]
    table = bench.faithfulness([own, bench.every, frozenset(), rest, *drawn])
    table["metric"] = [
        "faithfulness",
        "faithfulness",
        "faithfulness",
        "completeness",
        *["faithfulness"] * random,
    ]
    table["control"] = ["none", "full", "empty", "none", *["random"] * random]
    left = table["metric"] == "completeness"
    turned = 1 - table.loc[left, ["value", "ci_high", "ci_low"]]
    table.loc[left, ["value", "ci_low", "ci_high"]] = turned.to_numpy()
    table.loc[left, "edges"] = len(own)
    if own:
        weakest = minimality(bench, own).nsmallest(1, "value").assign(edges=len(own))
        weakest = weakest.drop(columns=["sender", "receiver"])
        table = pd.concat([table, weakest.assign(metric="minimality", control="none")])
    return table.assign(unit="share of the behaviour").reset_index(drop=True)


def minimality(bench: Judge, circuit: Collection[Edge]) -> pd.DataFrame:
    """Drop of faithfulness on removing each edge of a circuit, with its interval over prompts."""
    edges = sorted(circuit)
    whole = bench.measure(circuit)
    without = torch.stack([bench.measure(set(circuit) - {edge}) for edge in edges], 1)
    gap = bench.full - bench.empty
    found = normalised(whole[:, None] - without, gap, torch.zeros_like(gap), bench.draws)
    return pd.DataFrame(
        {
            "sender": [s for s, _ in edges],
            "receiver": [r for _, r in edges],
            "value": found.value.numpy(),
            "ci_low": found.low.numpy(),
            "ci_high": found.high.numpy(),
            "n": found.n,
        }
    )


def precision_recall(found: Collection[Edge], planted: Collection[Edge]) -> tuple[float, float]:
    """Share of the found that is planted, and share of the planted that is found (1 where there is nothing to
    miss).
    """
    both = len(set(found) & set(planted))
    return (both / len(set(found)) if found else 1.0), (both / len(set(planted)) if planted else 1.0)
