"""Faithfulness against size: circuits each inside the one before, and the point on the curve that is asked for.

No single size is the circuit of a behaviour: more edges carry more of it. The curve says how much each size carries,
with intervals over prompts; the point chosen is the smallest circuit, coming down from the whole model, whose lower
confidence limit still reaches the faithfulness asked for on prompts that did not order the edges. So the faithfulness
asked for is reached on third prompts too, but for the errors that limits allow.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.among import RunsAmong
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge
from interp.causal.metrics import Metric, normalised
from interp.hooks.protocol import HookedModel
from probes.stats import DRAWS
from tasks.base import Pair

TIED = 1e-6  # of the behaviour: what rounding does to the whole model's 1


class Judge:
    """Measures circuits of one model on one set of prompts: clean ones, and the other ones outside a circuit; `among`:
    circuits of the edges among some nodes only (`interp.causal.among`).
    """

    def __init__(
        self,
        model: HookedModel,
        pair: Pair,
        metric: Metric,
        draws: int = DRAWS,
        among: Collection[str] | None = None,
    ):
        prompts = pair.clean.inputs, pair.corrupt.inputs
        self.runs = (
            EdgeRuns(model, *prompts)
            if among is None
            else RunsAmong(model, *prompts, among, metric.positions)
        )
        self.metric, self.draws, self.among = metric, draws, among
        self.every = frozenset(self.runs.known)
        self.full, self.empty = self.measure(self.every), self.measure(())

    @torch.no_grad()
    def measure(self, circuit: Collection[Edge]) -> Float[Tensor, "batch"]:
        """The metric of each prompt through a circuit."""
        return self.metric(self.runs.outputs(circuit)).detach()

    def faithfulness(self, circuits: Sequence[Collection[Edge]]) -> pd.DataFrame:
        """F of each circuit with its interval over prompts. Raises UserError when full and empty measure the same."""
        values = torch.stack([self.measure(c) for c in circuits], 1)
        found = normalised(values, self.full, self.empty, self.draws)
        columns = {"value": found.value.numpy(), "ci_low": found.low.numpy(), "ci_high": found.high.numpy()}
        return pd.DataFrame({"edges": [len(c) for c in circuits], **columns, "n": found.n})


@dataclasses.dataclass(frozen=True)
class Curve:
    """Nested circuits from the largest down, with the faithfulness of each on the validation prompts."""

    circuits: tuple[frozenset[Edge], ...]
    points: pd.DataFrame
    chosen: int

    def table(self) -> pd.DataFrame:
        """One row a size: edges, heads, faithfulness on the validation prompts, and whether it was chosen."""
        heads = [len({s for s, _ in c if is_head(s)}) for c in self.circuits]
        chosen = [i == self.chosen for i in range(len(self.circuits))]
        return self.points.assign(heads=heads, chosen=chosen)


def curve_of(
    judge: Judge, circuits: Sequence[frozenset[Edge]], faithfulness: float, fixed: int | None = None
) -> Curve:
    """The curve of nested circuits and the smallest whose lower confidence limit, and that of every larger one, is at
    least `faithfulness` (the value itself where prompts are too few for an interval); `fixed`: a choice made already.
    """
    points = judge.faithfulness(circuits)
    chosen = 0
    for i, row in enumerate(points.itertuples()):
        low = row.value if math.isnan(row.ci_low) else row.ci_low
        if low < faithfulness - TIED:
            break
        chosen = i
    return Curve(tuple(circuits), points, chosen if fixed is None else fixed)


def is_head(sender: str) -> bool:
    """Whether a sender is a head.

    >>> is_head("L0H1"), is_head("embed"), is_head("L0.mlp_out")
    (True, False, False)
    """
    return sender.startswith("L") and "H" in sender
