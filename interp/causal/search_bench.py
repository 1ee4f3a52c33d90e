"""What a search for a circuit stands on: a model, the prompts that order its edges, the ends of the scale on them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from interp.causal.behaviour import has_behaviour
from interp.causal.edge_runs import EdgeRuns
from interp.causal.estimate import Estimate
from interp.causal.graph import Edge
from interp.causal.metrics import metric_of
from interp.hooks.protocol import HookedModel
from tasks.base import Pair, Task

MOST_EXACT = 1000  # edges run one by one; more are ordered by an attribution estimate first
MOST_HOOKED = 100  # the same for models that run by hooks, a forward pass an edge


class SearchBench:
    """One model, the prompts that order its edges, and the two ends of the scale on them."""

    def __init__(self, model: HookedModel, task: Task, pair: Pair, metric: Any, output: str | None):
        self.model, self.pair = model, pair
        with torch.no_grad():
            clean_outputs = model(pair.clean.inputs)
        self.metric = metric_of(task, pair, metric, output=output, clean_outputs=clean_outputs)
        self.distance = metric_of(
            task, pair, "squared_output_distance", output=output, clean_outputs=clean_outputs
        )
        far = metric == "squared_output_distance"  # which is 0 where there is nothing to do
        gate = metric_of(task, pair, "loss", output=output) if far else self.metric
        self.runs = EdgeRuns(model, pair.clean.inputs, pair.corrupt.inputs)
        with torch.no_grad():
            whole, nothing = self.runs.outputs(self.runs.known), self.runs.outputs(())
            self.full, self.empty = self.metric(whole), self.metric(nothing)
            self.apart = has_behaviour(gate(whole), gate(nothing), gate.name == "loss")
            self.scale = float(self.distance(nothing).double().mean())

    @property
    def references(self) -> tuple[Tensor, Tensor]:
        return self.full, self.empty

    @property
    def prompts(self) -> tuple[Tensor, Tensor]:
        return self.pair.clean.inputs, self.pair.corrupt.inputs

    @property
    def most(self) -> int:
        """How many edges are run one by one."""
        return MOST_HOOKED if self.runs.mask is None else MOST_EXACT

    @property
    def few(self) -> bool:
        """Whether every edge is run exactly without an estimate before."""
        return len(self.runs.known) <= self.most

    def shares(self, edges: Collection[Edge], estimate: Estimate | None) -> dict[Edge, float] | None:
        """Attributions of all edges as shares of the behaviour, where `edges` are too many to be run one by one."""
        if estimate is None or estimate.unreliable or len(edges) <= self.most:
            return None
        gap = float((self.empty - self.full).double().mean())
        return {edge: mean / gap for edge, mean in estimate.scores.means().items()}
