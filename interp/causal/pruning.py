"""Circuits by pruning: take edges away from the whole model, one after the other, as long as the behaviour stays.

Where heads stand in for each other no single edge is needed and a search by single edges finds nothing; pruning leaves
one way through. Edges are visited from the weakest single effect up. An edge goes when the loss without it, given all
that went before, rises by less than `threshold` of the whole behaviour and the circuit keeps the faithfulness asked
for. Which of two equal ways is kept depends on that order, so pruned circuits of redundant nets are one answer among
several: look at their overlap over seeds. Source: ACDC, Conmy et al. 2023 (arXiv 2304.14997).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from jaxtyping import Float
from torch import Tensor

from interp.causal.edge_runs import EdgeRuns
from interp.causal.metrics import Metric

Edge = tuple[str, str]
Trim = Callable[[Collection[Edge]], set[Edge]]


def prune(
    runs: EdgeRuns,
    metric: Metric,
    full: Float[Tensor, "batch"],
    empty: Float[Tensor, "batch"],
    value: Mapping[Edge, float],
    threshold: float,
    faithfulness: float,
    connected: Trim,
) -> set[Edge]:
    """The edges left after pruning; `value` are single-edge scores, used for the order only.

    `connected` drops edges that lie on no way from `embed` to `output`. The behaviour must be there (empty above full).
    """
    gap = float((empty - full).double().mean())
    kept, loss = set(runs.known), float(full.double().mean())
    limit = loss + (1 - faithfulness) * gap
    for edge in sorted(runs.known, key=lambda e: (abs(value[e]), e)):
        if edge not in kept:
            continue
        without = connected(kept - {edge})
        risen = float(metric(runs.outputs(without)).double().mean())
        if risen - loss < threshold * gap and risen <= limit:
            kept, loss = without, risen
    return connected(kept)
