"""Circuits each inside the one before, by pruning: what is least needed goes first, given all that has gone.

Every pass measures what each remaining edge is worth while all the other remaining ones stay
(`interp.causal.edge_batches`), takes the weakest away together as long as the loss moves by less than a step, and
measures again. Measuring again is what redundancy needs: where two heads stand in for each other both are worthless
until one is gone. Which of two equal ways is kept depends on the order, so pruned circuits of redundant nets are one
answer among several: look at their overlap over seeds. Source: ACDC, Conmy et al. 2023 (arXiv 2304.14997), here with
edges visited from the weakest up and many at a time.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal import cost
from interp.causal.edge_batches import Removals
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge, connected
from interp.causal.metrics import Metric

STEP = 0.01  # of the behaviour: what one pass may take away while all of it is there
COARSER = 0.25  # of what has been lost already, where that is more
FEWEST_AT_ONCE = 0.02  # of the remaining edges go in any pass
FINER = 16  # most circuits between two passes
LEAST = 0.5  # of the behaviour: where the way down ends
Rises = Mapping[Edge, float]


def measured(
    metric: Metric, at_outputs: Float[Tensor, "edge batch output d_out"], runs: EdgeRuns
) -> Float[Tensor, "edge batch"]:
    """The metric of many runs of the same prompts, from their outputs at the metric's positions."""
    count, batch = at_outputs.shape[:2]
    outputs = at_outputs.new_zeros(count * batch, runs.inputs.shape[1], at_outputs.shape[-1])
    outputs[:, sorted(metric.positions)] = at_outputs.flatten(0, 1)
    return metric(outputs, torch.arange(batch).repeat(count)).detach().unflatten(0, (count, batch))


def ablation_effects(
    runs: EdgeRuns, circuit: Collection[Edge], metrics: Sequence[Metric], only: Collection[Edge] | None = None
) -> list[dict[Edge, Tensor]]:
    """For each metric its change [batch] when one edge of a circuit is taken away, for every edge or `only` some."""
    held = Removals(runs, circuit, sorted({p for metric in metrics for p in metric.positions}))
    here = [measured(metric, held.outputs[None], runs)[0] for metric in metrics]
    found: list[dict[Edge, Tensor]] = [{} for _ in metrics]
    asked = [e for e in runs.order if e in held.circuit and (only is None or e in only)]
    pulse = cost.Pulse(f"exact effects of {len(asked):,} edges")
    for edges, outputs in held.without(asked):
        pulse.beat(len(found[0]), len(asked))
        for into, metric, base in zip(found, metrics, here, strict=True):
            into |= dict(zip(edges, measured(metric, outputs, runs) - base, strict=True))
    order = {edge: i for i, edge in enumerate(asked)}
    return [dict(sorted(into.items(), key=lambda item: order[item[0]])) for into in found]


class Descent:
    """Prunes one model on one set of prompts. `gap`: loss of the other prompts' run less that of the whole model."""

    def __init__(
        self, runs: EdgeRuns, metric: Metric, full: Float[Tensor, "batch"], empty: Float[Tensor, "batch"]
    ):
        self.runs, self.metric = runs, metric
        self.whole, self.gap = float(full.double().mean()), float((empty - full).double().mean())
        self.passes = 0

    def faithfulness(self, circuit: Collection[Edge]) -> float:
        """Share of the behaviour that a circuit carries on these prompts."""
        loss = float(self.metric(self.runs.outputs(circuit)).double().mean())
        return 1 - (loss - self.whole) / self.gap

    def rises(self, circuit: Collection[Edge]) -> Rises:
        """What each edge of a circuit is worth there, as a share of the behaviour; the sign is the loss's."""
        return {
            e: float(v.double().mean()) / self.gap
            for e, v in ablation_effects(self.runs, circuit, [self.metric])[0].items()
        }

    def nested(self, start: frozenset[Edge], rises: Rises | None = None) -> list[frozenset[Edge]]:
        """`start` and what is left of it pass after pass, until less than `LEAST` of the behaviour is; `rises` those
        of `start`, if they are known.
        """
        found, at = [start], self.faithfulness(start)
        while found[-1] and at >= LEAST:
            here = found[-1]
            rises = self.rises(here) if rises is None else rises
            kept, at = self._pass(here, rises, at)
            found.append(kept)
            rises = None
            self.passes += 1
        return found

    def _pass(self, circuit: frozenset[Edge], rises: Rises, at: float) -> tuple[frozenset[Edge], float]:
        """The weakest edges taken away together: as many as move the faithfulness by a step, half as many if they turn
        out to move it further, but never fewer than a few.
        """
        step = max(STEP, COARSER * (1 - at))
        order = sorted(circuit, key=lambda e: (abs(rises[e]), e))
        moved = torch.tensor([abs(rises[e]) for e in order]).cumsum(0)
        fewest = max(1, math.ceil(FEWEST_AT_ONCE * len(order)))
        count = max(fewest, min(int((moved <= step).sum()), (len(order) + 1) // 2))
        while True:
            kept = frozenset(connected(order[count:]))
            left = self.faithfulness(kept)
            if count <= fewest or abs(at - left) <= step:
                return kept, left
            count = max(fewest, count // 2)


def by_size(values: Mapping[Edge, float], shrink: float = 0.8) -> list[frozenset[Edge]]:
    """Circuits of the largest values, each `shrink` as large as the one before; values are not measured again."""
    order = sorted(values, key=lambda e: (-abs(values[e]), e))
    found, size = [], len(order)
    while size:
        kept = frozenset(connected(order[:size]))
        if kept and (not found or kept < found[-1]):
            found.append(kept)
        size = int(shrink * size)
    return found


def between(
    descent: Descent, here: frozenset[Edge], below: frozenset[Edge] | None = None, rises: Rises | None = None
) -> list[frozenset[Edge]]:
    """Circuits between one of a descent and the next smaller one, the weakest edges gone first, since a pass takes
    many edges away at once; none where there is no smaller one. `rises`: what the edges are worth, measured here unless
    given.
    """
    if below is None:
        return []
    rises = descent.rises(here) if rises is None else rises
    dropped = sorted(here - below, key=lambda e: (abs(rises[e]), e))
    count = len(dropped)
    steps = sorted({round(i * count / (FINER + 1)) for i in range(1, FINER + 1)} - {0, count})
    found = [frozenset(connected(here - set(dropped[:step]))) for step in steps]
    return [c for i, c in enumerate(found) if below < c < (found[i - 1] if i else here)]
