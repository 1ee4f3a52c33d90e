"""Patching and circuits at every checkpoint: when does each site, each edge begin to matter.

Analyses in the sense of `interp.analysis.stream`: streamed over checkpoints, cached by weights and settings. All
checkpoints see the same prompts and pairs. Effects are normalised within a checkpoint (corrupt 0, clean 1),
so before a behaviour exists there is nothing to normalise by: such a checkpoint has a row without a value,
never a made-up number.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import pandas as pd
import torch

from interp.analysis.base import Direct
from interp.causal.circuits import Circuit, find_circuit, has_behaviour, resampled_pair
from interp.causal.edge_effects import beside_exact, edge_effects, edge_scores, exact_edges
from interp.causal.edge_runs import EdgeRuns
from interp.causal.faithfulness import judge
from interp.causal.metrics import metric_of
from interp.causal.patching import patch
from interp.hooks.protocol import HookedModel
from tasks import Task, UserError


class PatchGrid(Direct):
    """Effect of patching every site of a grid with a clean/corrupt pair of the task.

    `pair`: one of the task's pair kinds. `component`, `by`, `direction`, `replacement`, `metric` and `read`
    as in `interp.causal.patching.patch`.
    """

    name: ClassVar[str] = "patch"

    pair: str
    component: str = "resid_pre"
    by: tuple[Literal["layer", "head", "position"], ...] = ("layer", "head", "position")
    direction: Literal["denoise", "noise"] = "denoise"
    replacement: str = "pair"
    metric: str = "loss"
    read: str | None = None

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        pair = task.pair(self.pair, self.seed, "patch", 0, self.prompts)
        table = patch(
            model, task, pair, self.component,
            by=self.by, direction=self.direction, replacement=self.replacement, metric=self.metric,
            read=self.read, seed=self.seed,
        )  # fmt: skip
        return table.assign(pair=self.pair, control="none")


class CircuitSearch(Direct):
    """The edges that carry the behaviour, and how much of it they carry beside random circuits of their size.

    A screen (method EAP or EAP-IG) comes with rows of metric "screened edge": its estimate of every edge, the
    exact effect of a sample, and their correlation. Rows of metric "edge" name `sender` and `receiver`; rows
    "faithfulness" (with controls full, empty and random), "completeness" and "minimality" judge the circuit on
    prompts other than those that found it.
    """

    name: ClassVar[str] = "circuit"
    version: ClassVar[int] = 2

    method: Literal["exact", "EAP", "EAP-IG"] = "exact"
    search: Literal["threshold", "greedy", "prune"] = "prune"
    faithfulness: float = 0.95
    threshold: float = 0.02
    metric: str = "loss"
    read: str | None = None

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        circuit = find_circuit(
            model, task, prompts=self.prompts, seed=self.seed, metric=self.metric, read=self.read,
            method=self.method, search=self.search, threshold=self.threshold,
            faithfulness=self.faithfulness,
        )  # fmt: skip
        screened = (
            [] if self.method == "exact" or "note" in circuit.settings else [self._screened(model, task)]
        )
        if not circuit.edges:
            return pd.concat([_nothing(circuit), *screened], ignore_index=True)
        edges = circuit.table().assign(metric="edge", control="none")
        judged = judge(model, task, circuit, seed=self.seed + 1, metric=self.metric, read=self.read)
        return pd.concat([edges, judged, *screened], ignore_index=True)

    def _screened(self, model: HookedModel, task: Task) -> pd.DataFrame:
        """The screen that chose the circuit, beside exact effects of a sample of edges."""
        pair = resampled_pair(task, self.seed, self.prompts)
        clean, other = pair.clean.inputs, pair.corrupt.inputs
        with torch.no_grad():
            measure = metric_of(task, pair, self.metric, read=self.read, clean_outputs=model(clean))
        runs = EdgeRuns(model, clean, other)
        ends = measure(runs.outputs(runs.known)), measure(runs.outputs(()))
        scores = edge_scores(model, clean, other, measure, self.method)
        return beside_exact(model, clean, other, measure, scores, ends, seed=self.seed).assign(control="none")


def _nothing(circuit: Circuit) -> pd.DataFrame:
    """The row of a checkpoint without a behaviour to explain."""
    note = str(circuit.settings.get("note", "no edge passes the threshold"))
    row = {
        "metric": "edge",
        "control": "none",
        "sender": "",
        "receiver": "",
        "value": float("nan"),
        "note": note,
    }
    return pd.DataFrame([row])


class EdgeEffects(Direct):
    """What every single edge is worth at a checkpoint: the rise of the loss when it alone carries other prompts.

    On the scale where the whole model is 1 and the other prompts' run is 0. Where heads stand in for each other every
    single edge can be worth little in a circuit that is needed as a whole.
    """

    name: ClassVar[str] = "edges"

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        pair = resampled_pair(task, self.seed, self.prompts)
        measure = metric_of(task, pair, "loss")
        runs = EdgeRuns(model, pair.clean.inputs, pair.corrupt.inputs)
        full, empty = (measure(runs.outputs(c)) for c in (runs.known, ()))
        if not has_behaviour(full, empty):
            return _nothing(Circuit((), (), {}))
        scores = exact_edges(model, pair.clean.inputs, pair.corrupt.inputs, measure)
        found = edge_effects(scores, full, empty)
        rows = [
            {"sender": s, "receiver": r, "metric": "edge", "control": "none", **found[i].row()}
            for i, (s, r) in enumerate(scores.edges)
        ]
        return pd.DataFrame(rows).assign(unit="share of the behaviour")


def circuit_at(table: pd.DataFrame, step: int) -> Circuit:
    """The circuit of one checkpoint, out of the table of a search. Raises UserError for a step without rows."""
    rows = table[(table["step"] == step) & (table["metric"] == "edge")]
    if rows.empty:
        raise UserError(f"no circuit was searched at step {step}")
    found = rows[rows["value"].notna()] if "value" in rows else rows.iloc[:0]
    edges = tuple((str(s), str(r)) for s, r in zip(found["sender"], found["receiver"], strict=True))
    return Circuit(edges, tuple(float(v) for v in found.get("value", ())), {"step": step})
