"""How much of a behaviour a circuit carries: faithfulness, completeness and minimality, beside matched random
circuits and along the curve of sizes.

F(C) = (m(C) - m(empty)) / (m(full) - m(empty)), where everything outside C carries other prompts: 0 for the
empty circuit, 1 for the full one, and beyond either where a circuit overshoots. Completeness is 1 -
F(everything but C): 1 when nothing of the behaviour is left outside. Minimality is the smallest drop of F on
removing one edge: 0 or less says that some edge is not needed. Intervals are bootstraps over prompts, full
and empty resampled together with the circuit. Sources: Wang et al. (arXiv 2211.00593), section 4; Hanna et
al. (arXiv 2403.17806).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from interp.causal.behaviour import resampled_pair
from interp.causal.circuit import Circuit
from interp.causal.curve import Judge
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge
from interp.causal.metrics import metric_of, normalised
from interp.causal.pairs import part
from interp.causal.pruning import ablation_effects
from interp.causal.random_circuits import (
    ALONE,
    LEAST_OTHERS,
    band_of,
    empirical_p,
    kind_of,
    matched_circuit,
    other_circuits,
)
from interp.hooks.protocol import HookedModel
from probes.stats import DRAWS
from tasks.base import Pair, Task
from tasks.renamed import keywords

RANDOM = 100  # matched random circuits
RANDOM_PROMPTS = 8  # that those are run on where edges are among a few nodes of a large model
MATCHED = "random"  # the control of matched random circuits in tables


@keywords
def judge(
    model: HookedModel,
    task: Task,
    circuit: Circuit,
    *,
    pair: Pair | None = None,
    prompts: int = 128,
    seed: int = 1,
    metric: str | Callable[..., Tensor] = "loss",
    output: str | None = None,
    random: int = RANDOM,
    draws: int = DRAWS,
) -> pd.DataFrame:
    """Faithfulness of a circuit, of the full and the empty one, and of `random` matched circuits
    (`interp.causal.random_circuits`); its completeness and minimality; every size of its curve.

    One row a measurement (`metric` column). Judged on prompts other than those that found it, unless the seed
    is the same. Matched random circuits come as control "random", one row each, and "empirical p" says how often they
    carry as much; it has no value where fewer than `LEAST_OTHERS` other circuits match, and where none does there
    are no random ones. Rows of control "curve" are the sizes of the search's curve, `note` marks the one chosen. Of a
    circuit among a few nodes (`interp.causal.coarse`) 1 is the whole model and 0 the run without any edge among them;
    the row "kept" has the share of the behaviour that is there without any, random circuits are run on 8 prompts, and
    there is no minimality.
    """
    pair = resampled_pair(task, seed, prompts) if pair is None else pair
    with torch.no_grad():
        measure = metric_of(task, pair, metric, output=output, clean_outputs=model(pair.clean.inputs))
    among = circuit.settings.get("nodes")
    bench = Judge(model, pair, measure, draws, among)
    own, kind = frozenset(circuit.edges), kind_of if among is None else band_of(len(model.blocks))
    others = other_circuits(bench.every, own, kind) if random else 0
    asked, random = random, random if others else 0
    drawn = [matched_circuit(bench.every, own, seed, i, kind) for i in range(random)]
    sizes = [] if circuit.curve is None else list(circuit.curve.circuits)
    fewer = bench if among is None else _fewer(bench, model, task, pair, metric, output)
    beside = fewer.faithfulness([own, *drawn])  # on the same prompts as the drawn ones
    parts_of = bench.faithfulness([own, bench.every, frozenset(), bench.every - own, *sizes])
    table = pd.concat([parts_of[:4], beside[1:], parts_of[4:]], ignore_index=True)
    controls = ["none", "full", "empty", "none", *[MATCHED] * random, *["curve"] * len(sizes)]
    table = table.assign(metric="faithfulness", control=controls, note="")
    table = _completed(table, 3, len(own))
    if circuit.curve is not None:
        table.loc[4 + random + circuit.curve.chosen, "note"] = "chosen"
        heads = circuit.curve.table()["heads"].tolist()
        table["heads"] = [float("nan")] * (4 + random) + [float(h) for h in heads]
    parts = [table.assign(unit="share of the behaviour")]
    if asked:
        parts.append(_compared(beside["value"], len(own), others))
    if among is not None:
        parts.append(_kept(bench, model, pair))
    elif own:
        weakest = minimality(bench, own).nsmallest(1, "value").drop(columns=["sender", "receiver"])
        weakest = weakest.assign(edges=len(own), metric="minimality", control="none", note="")
        parts.append(weakest.assign(unit="share of the behaviour"))
    return pd.concat(parts, ignore_index=True)


def _fewer(
    bench: Judge, model: HookedModel, task: Task, pair: Pair, metric: Any, output: str | None
) -> Judge:
    """The same on the first `RANDOM_PROMPTS` prompts: a hundred runs of a large model take most of the time."""
    some = part(pair, torch.arange(min(RANDOM_PROMPTS, len(pair.clean))))
    with torch.no_grad():
        measure = metric_of(task, some, metric, output=output, clean_outputs=model(some.clean.inputs))
    return Judge(model, some, measure, bench.draws, bench.among)


def _kept(bench: Judge, model: HookedModel, pair: Pair) -> pd.DataFrame:
    """What is left of the behaviour (0: the run on the other prompts, 1: the clean one) without any of these edges."""
    with torch.no_grad():
        ends = bench.full, bench.metric(model(pair.corrupt.inputs))
    row = normalised(bench.empty[:, None], *ends, bench.draws)[0].row()
    return pd.DataFrame([{"metric": "kept", "control": "empty", "edges": 0, **row, "note": ""}]).assign(
        unit="share of the behaviour"
    )


def _compared(values: pd.Series, edges: int, others: int) -> pd.DataFrame:
    """The row of the empirical p value: without a value where there is next to nothing to draw from."""
    p, note, random = math.nan, ALONE, len(values) - 1
    if others >= LEAST_OTHERS:
        p, note = empirical_p(values[0], values[1:].tolist()), ""
    elif others:
        note = f"only {others} other circuits have as many edges of each kind: too few for a p value"
    row = {"metric": "empirical p", "control": MATCHED, "edges": edges, "value": p, "n": random, "note": note}
    return pd.DataFrame([{**row, "unit": "probability"}])


def _completed(table: pd.DataFrame, row: int, edges: int) -> pd.DataFrame:
    """The faithfulness of everything outside the circuit, turned into completeness."""
    value, low, high = 1 - table.loc[row, ["value", "ci_high", "ci_low"]].astype(float)
    table.loc[row, ["metric", "edges", "value", "ci_low", "ci_high"]] = [
        "completeness",
        edges,
        value,
        low,
        high,
    ]
    return table


def minimality(bench: Judge, circuit: Collection[Edge]) -> pd.DataFrame:
    """Drop of faithfulness on removing each edge of a circuit, with its interval over prompts."""
    assert isinstance(bench.runs, EdgeRuns)
    rises = ablation_effects(bench.runs, circuit, [bench.metric])[0]
    edges = sorted(rises)
    gap = bench.empty - bench.full
    found = normalised(torch.stack([rises[e] for e in edges], 1), gap, torch.zeros_like(gap), bench.draws)
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
    """Share of the found that is planted, and share of the planted that is found; NaN of nothing."""
    both = len(set(found) & set(planted))
    return (both / len(set(found)) if found else math.nan), (
        both / len(set(planted)) if planted else math.nan
    )
