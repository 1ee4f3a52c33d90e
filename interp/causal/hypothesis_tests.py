"""Tests of a found circuit: equivalence, independence and minimality, with p values corrected for their number.

Equivalence. Null: on a random prompt the circuit scores better than the whole model with a probability within `EPSILON`
of 1/2. Two-sided sign test, its p value the largest over that null, ties left out. Rejected: the circuit does
not do what the model does (as a rule it does it worse).
Independence. Null: the outputs of everything outside the circuit (the circuit resample-ablated) do not depend on the
whole model's outputs. HSIC permutation test. Rejected: something that the model puts out gets past the circuit. Shi
et al. compare scores; two scores share how hard a prompt's answer is even where nothing gets past, so outputs are
compared here, for which the null is exact.
Minimality, for each edge. Null: removing it changes the score more than removing an edge that a random path brought in
(`interp.causal.inflated`) in at most `QUANTILE` of draws. Binomial test. Rejected: the edge is needed more than
edges are by chance. A circuit is minimal when it is rejected for every edge.

Holm's correction over equivalence and independence together, and over the edges of minimality: in each family any false
rejection has a probability of at most `LEVEL`. Not rejecting proves nothing: a test of few prompts rejects little. Size
and power are measured in `interp.calibration.circuit_sizes`. Source: Shi et al. (arXiv 2410.13032), section 3, with
their tolerances.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.stats import binom
from torch import Tensor

from interp.causal.behaviour import resampled_pair
from interp.causal.curve import Judge
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge
from interp.causal.inflated import inflated_effects
from interp.causal.metrics import metric_of
from interp.causal.pruning import ablation_effects
from interp.hooks.protocol import HookedModel
from probes.independence import PERMUTATIONS, holm, independence
from tasks.base import Pair, Task

LEVEL = 0.05
EPSILON = 0.1  # of a probability: how far from 1/2 still counts as equivalent
QUANTILE = 0.9  # of the edges that random paths bring in
INFLATED = 100  # inflated circuits
ROUNDING = 1e-6  # of a prompt's difference between full and empty circuit: less is a tie
SENTENCES = {
    ("equivalence test", True): "rejected: the circuit's score differs from the whole model's",
    ("equivalence test", False): "not rejected",
    ("independence test", True): "rejected: outputs of the model get past the circuit",
    ("independence test", False): "not rejected",
    ("minimality test", True): "needed",
    ("minimality test", False): "not shown to be needed more than edges of random paths",
}


def equivalence(
    circuit: Float[Tensor, "prompt"],
    model: Float[Tensor, "prompt"],
    *,
    epsilon: float = EPSILON,
    least: float = 0.0,
) -> tuple[float, float, int]:
    """Share of prompts on which the circuit has the higher metric, the p value of equivalence, and the prompts that
    are no tie (differences of at most `least` are).

    The p value is 1 where every prompt is a tie.
    """
    apart = (circuit - model).double()
    apart = apart[apart.abs() > least]
    n, higher = len(apart), int((apart > 0).sum())
    if n == 0:
        return 0.5, 1.0, 0
    most = max(higher, n - higher)
    tails = binom.sf(most - 1, n, 0.5 + epsilon) + binom.cdf(n - most, n, 0.5 + epsilon)
    return higher / n, float(min(1.0, tails)), n


def minimality_p(
    effect: float, inflated: Float[Tensor, "draw"], *, quantile: float = QUANTILE
) -> tuple[float, float]:
    """Share of inflated circuits whose added edge changes less than `effect`, and the p value that it is at most
    `quantile`. Without any inflated circuit nothing is shown: p value 1.
    """
    draws = len(inflated)
    if draws == 0:
        return float("nan"), 1.0
    below = int((inflated < effect).sum())
    return below / draws, float(binom.sf(below - 1, draws, quantile))


def check_circuit(
    model: HookedModel,
    task: Task,
    circuit: Collection[Edge],
    *,
    prompts: int = 128,
    seed: int = 2,
    metric: Any = "loss",
    output: str | None = None,
    pair: Pair | None = None,
    inflated: int = INFLATED,
    permutations: int = PERMUTATIONS,
) -> pd.DataFrame:
    """The three tests of a circuit: one row for equivalence, one for independence, one an edge for minimality.

    Columns: metric ("equivalence test", "independence test", "minimality test"), sender and receiver (minimality),
    `value` the corrected p value, `test_statistic` (share of prompts on which the circuit has the higher metric; HSIC
    as a share of its largest value; share of inflated circuits that change less), `n` (prompts, or inflated circuits),
    `note` the result in words. `prompts` are others than those of the search unless `seed` says otherwise. Raises
    UserError for edges that the model does not have.
    """
    pair = resampled_pair(task, seed, prompts, "circuit, tests") if pair is None else pair
    with torch.no_grad():
        measure = metric_of(task, pair, metric, output=output, clean_outputs=model(pair.clean.inputs))
    bench = Judge(model, pair, measure)
    own = frozenset(circuit)
    whole = [_equivalence(bench, own), _independence(bench, own, permutations, seed)]
    edges = _minimality(bench, own, inflated, seed)
    for family in (whole, edges):
        for row, p in zip(family, holm([row["value"] for row in family]), strict=True):
            row |= {"value": p, "note": SENTENCES[row["metric"], p <= LEVEL]}
    return pd.DataFrame([*whole, *edges]).assign(unit="p value, corrected", edges=len(own))


def _equivalence(bench: Judge, circuit: frozenset[Edge]) -> dict[str, Any]:
    share, p, n = equivalence(bench.measure(circuit), bench.full, least=_rounding(bench))
    return {"metric": "equivalence test", "value": p, "test_statistic": share, "n": n}


def _rounding(bench: Judge) -> float:
    """Differences of a prompt's metric that count as none."""
    return ROUNDING * float((bench.empty - bench.full).double().abs().mean())


def _independence(bench: Judge, circuit: frozenset[Edge], permutations: int, seed: int) -> dict[str, Any]:
    """Outputs at the positions that the metric looks at: those of the whole model, and those past the circuit."""
    where = list(bench.metric.positions)
    with torch.no_grad():
        past, full = (
            bench.runs.outputs(edges)[:, where].flatten(1) for edges in (bench.every - circuit, bench.every)
        )
    hsic, p = independence(past, full, permutations=permutations, seed=seed)
    return {"metric": "independence test", "value": p, "test_statistic": hsic, "n": len(full)}


def _minimality(bench: Judge, circuit: frozenset[Edge], inflated: int, seed: int) -> list[dict[str, Any]]:
    if not circuit:
        return []
    assert isinstance(bench.runs, EdgeRuns)  # of all edges: circuits among a few nodes are not tested
    null, least = inflated_effects(bench.runs, circuit, bench.metric, inflated, seed), _rounding(bench)
    rises = ablation_effects(bench.runs, circuit, [bench.metric])[0]
    rows = []
    for sender, receiver in sorted(rises):
        effect = float(rises[sender, receiver].double().abs().mean())
        share, p = minimality_p(effect if effect > least else 0.0, null)
        rows.append({
            "metric": "minimality test", "sender": sender, "receiver": receiver, "value": p, "test_statistic": share,
            "n": len(null),
        })  # fmt: skip
    return rows


def rejected(table: pd.DataFrame, test: str) -> np.ndarray:
    """Which rows of a test ("equivalence", "independence", "minimality") are rejected at `LEVEL`."""
    return (table.loc[table["metric"] == f"{test} test", "value"] <= LEVEL).to_numpy()
