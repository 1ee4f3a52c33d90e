"""Patching and circuits at every checkpoint: when does each site, each edge begin to matter.

Analyses in the sense of `interp.analysis`: streamed over checkpoints, cached by weights and settings. All
checkpoints see the same prompts and pairs. Effects are normalised within a checkpoint (corrupt 0, clean 1),
so before a behaviour exists there is nothing to normalise by: such a checkpoint has a row without a value,
never a made-up number.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pandas as pd
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp.analysis import Analysis, Reader
from interp.causal.circuits import (
    Circuit,
    edge_effects,
    exact_edges,
    find_circuit,
    has_behaviour,
    resampled_pair,
)
from interp.causal.faithfulness import judge
from interp.causal.graph import EdgeRuns
from interp.causal.metrics import metric_of
from interp.causal.patching import patch
from tasks import Batch, Task, UserError


class PatchGrid(Analysis):
    """Effect of patching every site of a grid with a clean/corrupt pair of the task.

    `pair`: one of the task's pair kinds. `component`, `by`, `direction`, `replacement`, `metric` and `read`
    as in `interp.causal.patching.patch`.
    """

    name: ClassVar[str] = "patch"

    chunks: int = Field(default=0, ge=0, le=0)
    pair: str
    component: str = "resid_pre"
    by: tuple[Literal["layer", "head", "position"], ...] = ("layer", "head", "position")
    direction: Literal["denoise", "noise"] = "denoise"
    replacement: str = "pair"
    metric: str = "loss"
    read: str | None = None
    prompts: int = Field(default=64, ge=2)
    seed: int = 0

    def hooks(self, model: Any) -> list[str]:
        return []

    def reader(self, model: Any, task: Task, twin: Reader | None) -> PatchReader:
        return PatchReader(self, model, task)


class PatchReader:
    """Patches one model; it needs no chunks."""

    def __init__(self, settings: PatchGrid, model: Any, task: Task):
        self.settings, self.model, self.task = settings, model, task

    def read(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        raise AssertionError("a patch grid asks for no chunks")

    def table(self) -> pd.DataFrame:
        s = self.settings
        pair = self.task.pair(s.pair, s.seed, "patch", 0, s.prompts)
        table = patch(
            self.model, self.task, pair, s.component,
            by=s.by, direction=s.direction, replacement=s.replacement, metric=s.metric, read=s.read, seed=s.seed,
        )  # fmt: skip
        return table.assign(pair=s.pair, control="none")


class CircuitSearch(Analysis):
    """The edges that carry the behaviour, and how much of it they carry beside random circuits of their size.

    Rows of metric "edge" name `sender` and `receiver`; rows "faithfulness" (with controls full, empty and
    random), "completeness" and "minimality" judge the circuit on prompts other than those that found it.
    """

    name: ClassVar[str] = "circuit"

    chunks: int = Field(default=0, ge=0, le=0)
    method: Literal["exact", "EAP", "EAP-IG"] = "exact"
    search: Literal["threshold", "greedy", "prune"] = "prune"
    faithfulness: float = 0.95
    threshold: float = 0.02
    metric: str = "loss"
    read: str | None = None
    prompts: int = Field(default=64, ge=2)
    seed: int = 0

    def hooks(self, model: Any) -> list[str]:
        return []

    def reader(self, model: Any, task: Task, twin: Reader | None) -> CircuitReader:
        return CircuitReader(self, model, task)


class CircuitReader:
    """Searches one model; it needs no chunks."""

    def __init__(self, settings: CircuitSearch, model: Any, task: Task):
        self.settings, self.model, self.task = settings, model, task

    def read(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        raise AssertionError("a circuit search asks for no chunks")

    def table(self) -> pd.DataFrame:
        s = self.settings
        circuit = find_circuit(
            self.model, self.task, prompts=s.prompts, seed=s.seed, metric=s.metric, read=s.read,
            method=s.method, search=s.search, threshold=s.threshold,
            faithfulness=s.faithfulness,
        )  # fmt: skip
        edges = circuit.table().assign(metric="edge", control="none")
        if not circuit.edges:
            return _nothing(circuit)
        judged = judge(self.model, self.task, circuit, seed=s.seed + 1, metric=s.metric, read=s.read)
        return pd.concat([edges, judged], ignore_index=True)


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


class EdgeEffects(Analysis):
    """What every single edge is worth at a checkpoint: the rise of the loss when it alone carries other prompts.

    On the scale where the whole model is 1 and the other prompts' run is 0. Where heads stand in for each other every
    single edge can be worth little in a circuit that is needed as a whole.
    """

    name: ClassVar[str] = "edges"

    chunks: int = Field(default=0, ge=0, le=0)
    prompts: int = Field(default=64, ge=2)
    seed: int = 0

    def hooks(self, model: Any) -> list[str]:
        return []

    def reader(self, model: Any, task: Task, twin: Reader | None) -> EdgeReader:
        return EdgeReader(self, model, task)


class EdgeReader:
    """Scores the edges of one model; it needs no chunks."""

    def __init__(self, settings: EdgeEffects, model: Any, task: Task):
        self.settings, self.model, self.task = settings, model, task

    def read(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        raise AssertionError("edge effects ask for no chunks")

    def table(self) -> pd.DataFrame:
        pair = resampled_pair(self.task, self.settings.seed, self.settings.prompts)
        measure = metric_of(self.task, pair, "loss")
        runs = EdgeRuns(self.model, pair.clean.inputs, pair.corrupt.inputs)
        full, empty = (measure(runs.outputs(c)) for c in (runs.known, ()))
        if not has_behaviour(full, empty):
            return _nothing(Circuit((), (), {}))
        scores = exact_edges(self.model, pair.clean.inputs, pair.corrupt.inputs, measure)
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
