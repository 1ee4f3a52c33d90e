"""Whether a circuit foretells what breaks: damage of each head's ablation, predicted from it alone and measured.

Predicted: the rise of the loss in the run through the circuit when a head's edges in it carry other prompts as well;
measured: the same in the whole model. Both are shares of the difference between the whole model and the run on other
prompts (0: nothing changes, 1: as bad as other prompts; no bound above). The circuit is found on other prompts than
those that measure. "rank correlation" is Spearman's over all heads, those outside the circuit predicted at 0, with its
interval over heads, as if these were a sample of such heads (Bonett and Wright, Psychometrika 2000: standard error of
its Fisher transform sqrt((1 + r^2 / 2) / (n - 3))). Resampling prompts would not do: noise moves ranks, always towards
0. High where the circuit has the right heads in the right order; that it has the right edges is not shown.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.base import Direct
from interp.causal.behaviour import NO_BEHAVIOUR, resampled_pair
from interp.causal.circuits import find_circuit
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge, label_of
from interp.causal.metrics import Metric, metric_of
from interp.heads.ablation import all_heads
from interp.heads.patterns import spearman
from interp.hooks.protocol import HookedModel
from probes.stats import Interval, bootstrap
from tasks import Task

FEWEST = 6  # heads before a rank correlation has an interval
Z = 1.959964
CLOSEST = 1 - 1e-9  # to 1, where Fisher's transform is infinite


class HeadDamage(Direct):
    """Rows "predicted" and "measured" for every head, and "rank correlation"."""

    name: ClassVar[str] = "damage"

    faithfulness: float = 0.95

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        circuit = find_circuit(
            model, task, prompts=self.prompts, seed=self.seed, faithfulness=self.faithfulness
        )
        return damage(model, task, circuit.edges, prompts=self.prompts, seed=self.seed + 1)


def damage(
    model: HookedModel, task: Task, circuit: Collection[Edge], *, prompts: int = 64, seed: int = 1
) -> pd.DataFrame:
    """Damage of every head's ablation, predicted from a circuit and measured; columns layer, head, metric, value, ...

    Without a circuit nothing is predicted: the correlation is missing and its note says so. Raises UserError for an
    edge that the model does not have.
    """
    pair = resampled_pair(task, seed, prompts)
    runs = EdgeRuns(model, pair.clean.inputs, pair.corrupt.inputs)
    with torch.no_grad():
        metric = metric_of(task, pair, "loss", clean_outputs=model(pair.clean.inputs))
        gap = metric(runs.outputs(())) - metric(runs.outputs(runs.known))
        predicted, measured = (
            _rises(runs, metric, model, edges) for edges in (frozenset(circuit), runs.known)
        )
    heads = all_heads(model)
    stacked = torch.stack([predicted, measured], 1)  # [prompt, which, head]
    parts = torch.cat([stacked, gap[:, None, None].expand(-1, -1, stacked.shape[2])], 1)
    found = bootstrap(parts, lambda mean: mean[:, :2] / mean[:, 2:])
    rows = [
        {"layer": layer, "head": head, "metric": name, "note": "", **found[which, i].row()}
        for which, name in enumerate(("predicted", "measured"))
        for i, (layer, head) in enumerate(heads)
    ]
    agreed = agreement(*stacked.mean(0))
    last = {"layer": -1, "head": -1, "metric": "rank correlation", "note": ""}
    if not circuit:
        rows.append({**last, "note": NO_BEHAVIOUR})
    else:
        rows.append({**last, **agreed.row()})
    return pd.DataFrame(rows).assign(unit="share of the behaviour")


def agreement(predicted: Float[Tensor, "head"], measured: Float[Tensor, "head"]) -> Interval:
    """Spearman's rank correlation of two values a head, and its 95% interval over heads (none below `FEWEST`)."""
    r, n = float(spearman(predicted[None], measured[None])[0]), len(predicted)
    if n < FEWEST:
        return Interval(r, math.nan, math.nan, n, f"none: fewer than {FEWEST} heads")
    centre, reach = math.atanh(max(min(r, CLOSEST), -CLOSEST)), Z * math.sqrt((1 + r * r / 2) / (n - 3))
    return Interval(
        r, min(r, math.tanh(centre - reach)), max(r, math.tanh(centre + reach)), n, "Fisher transform"
    )


def _rises(
    runs: EdgeRuns, metric: Metric, model: HookedModel, circuit: Collection[Edge]
) -> Float[Tensor, "prompt head"]:
    """Rise of the metric when the edges of each head carry the other prompts."""
    whole = metric(runs.outputs(circuit))
    found = []
    for layer, head in all_heads(model):
        own = label_of("z", layer, head)
        left = {edge for edge in circuit if edge[0] != own}
        found.append(whole - whole if len(left) == len(circuit) else metric(runs.outputs(left)) - whole)
    return torch.stack(found, 1).double()
