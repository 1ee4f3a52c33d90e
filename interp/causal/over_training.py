"""Patching and circuits at every checkpoint: when does each site, each edge begin to matter.

Analyses in the sense of `interp.analysis.stream`: streamed over checkpoints, cached by weights and settings. All
checkpoints see the same prompts and pairs. Effects are normalised within a checkpoint (corrupt 0, clean 1),
so before a behaviour exists there is nothing to normalise by: such a checkpoint has a row without a value,
never a made-up number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import pandas as pd
import torch
from pydantic import Field

from interp.analysis.base import Direct
from interp.analysis.own import Named, OwnPair, name_of
from interp.causal.behaviour import NO_BEHAVIOUR, has_behaviour, resampled_pair
from interp.causal.circuit import Circuit
from interp.causal.circuits import find_circuit
from interp.causal.coarse import STRONGEST, find_among
from interp.causal.edge_effects import edge_effects, exact_edges
from interp.causal.edge_runs import EdgeRuns
from interp.causal.faithfulness import judge
from interp.causal.given import given_circuit
from interp.causal.hypothesis_tests import check_circuit
from interp.causal.metrics import metric_of
from interp.causal.pairs import pair_of, report_pair, search_pairs
from interp.causal.patching import patch, sites_of
from interp.hooks.protocol import HookedModel
from probes.stats import FEWEST_PROMPTS
from tasks import Task, UserError
from tasks.base import Pair

REPORTED = 128  # prompts that a circuit is reported on


class PatchGrid(Direct):
    """Effect of patching every site of a grid with a clean/corrupt pair.

    `pair`: one of the task's pair kinds, or one's own (`interp.causal.pairs`). `component`, `by`,
    `direction`, `replacement`, `metric` and `output` as in `interp.causal.patching.patch`. Where the clean and the
    corrupt run do not differ there is nothing to restore: every site has its row, without a value, and `note` says why.
    """

    name: ClassVar[str] = "patch"
    version: ClassVar[int] = 2

    pair: OwnPair
    component: str = "resid_pre"
    by: tuple[Literal["layer", "head", "position"], ...] = ("layer", "head", "position")
    direction: Literal["denoise", "noise"] = "denoise"
    replacement: str = "pair"
    metric: Named = "loss"
    output: str | None = None

    former: ClassVar[Mapping[str, str]] = {"output": "read"}

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        pair = pair_of(task, self.pair, self.seed, "patch", self.prompts)
        if not self._apart(model, task, pair):
            return self._missing(model, pair)
        table = patch(
            model, task, pair, self.component,
            by=self.by, direction=self.direction, replacement=self.replacement, metric=self.metric,
            output=self.output, seed=self.seed,
        )  # fmt: skip
        return table.assign(pair=name_of(self.pair), control="none", note="")

    def _apart(self, model: HookedModel, task: Task, pair: Pair) -> bool:
        """Whether clean and corrupt runs differ in the metric (in the loss, for a distance to the clean run)."""
        name = "loss" if self.metric == "squared_output_distance" else self.metric
        with torch.no_grad():
            outputs, other = (model(batch.inputs) for batch in (pair.clean, pair.corrupt))
            measure = metric_of(task, pair, name, output=self.output, clean_outputs=outputs)
            clean, corrupt = measure(outputs), measure(other)
        return has_behaviour(clean, corrupt, name == "loss")

    def _missing(self, model: HookedModel, pair: Pair) -> pd.DataFrame:
        """A row without a value for every site."""
        sites = sites_of(model, self.component, pair.clean.inputs.shape[1], self.by)
        nothing = dict.fromkeys(("value", "ci_low", "ci_high", "raw"), float("nan"))
        return pd.DataFrame([{**site.columns(), **nothing} for site in sites]).assign(
            metric=name_of(self.metric), target=self.output or "all", unit="normalised effect", n=len(pair.clean),
            direction=self.direction, replacement=self.replacement, pair=name_of(self.pair), control="none",
            note="no behaviour to restore: clean and corrupt runs do not differ significantly in the loss"
            if self.metric in ("loss", "squared_output_distance")
            else "no behaviour to restore: clean and corrupt runs do not differ significantly in "
            f"{name_of(self.metric)}",
        )  # fmt: skip


class CircuitSearch(Direct):
    """The edges that carry the behaviour, and how much of it they carry beside matched random circuits.

    Rows of metric "edge" name `sender` and `receiver`. Rows "faithfulness" (controls full, empty, random: matched
    ones, and "curve": every size of the search's curve, the chosen one noted), "empirical p", "completeness" and
    "minimality" report on prompts that neither ordered the edges nor decided how many were taken. A row "search"
    reports what the search did. An attribution estimate, where one was made, comes with rows of metric "attribution
    estimate": its value for every edge, the exact effect of a sample and of the largest, their correlation, its
    completeness error. `edges` are measured as they are, without a search. With a `pair` edges outside the circuit
    carry its corrupt prompts, else other prompts of the task. With `tests`, rows "equivalence test", "independence
    test" and, for every edge, "minimality test" hold corrected p values (`interp.causal.hypothesis_tests`), on prompts
    of their own. With `nodes` edges are searched among so many heads and MLPs only (`interp.causal.coarse`), reported
    on as many other prompts (at least 32), and not tested; rows "node" have what each of these alone costs.
    """

    name: ClassVar[str] = "circuit"
    version: ClassVar[int] = 4

    method: Literal["exact", "EAP", "EAP-IG"] = "exact"
    search: Literal["threshold", "greedy", "prune"] = "prune"
    faithfulness: float = 0.95
    threshold: float = 0.02
    metric: Named = "loss"
    output: str | None = None
    tests: bool = True
    pair: OwnPair = None
    edges: tuple[tuple[str, str], ...] | None = None
    nodes: int | None = Field(default=None, ge=2)

    def found(self, model: HookedModel, task: Task) -> Circuit:
        """The circuit of a search, or of the edges that were given."""
        pairs = search_pairs(task, self.pair, self.seed, self.prompts)
        if self.nodes is not None:
            return self._among(model, task, pairs)
        if self.edges is not None:
            ordering = pairs[0] if pairs else resampled_pair(task, self.seed, self.prompts)
            return given_circuit(model, task, self.edges, ordering, metric=self.metric, output=self.output)
        return find_circuit(
            model, task, prompts=self.prompts, seed=self.seed, metric=self.metric, output=self.output, pair=pairs,
            method=self.method, search=self.search, threshold=self.threshold, faithfulness=self.faithfulness,
        )  # fmt: skip

    former: ClassVar[Mapping[str, str]] = {"output": "read"}
    later: ClassVar[tuple[str, ...]] = ("nodes",)

    def _among(self, model: HookedModel, task: Task, pairs: tuple[Pair, Pair] | None) -> Circuit:
        """The circuit among the strongest nodes. Raises UserError for settings of another search."""
        if self.edges is not None or (self.method, self.search) != ("exact", "prune"):
            raise UserError("nodes have a search of their own: leave edges, method and search out")
        streams = ("circuit", "circuit, validation")
        drawn = tuple(resampled_pair(task, self.seed, self.prompts, stream) for stream in streams)
        return find_among(
            model, task, pairs or drawn, nodes=self.nodes or STRONGEST, metric=self.metric, output=self.output,  # type: ignore[arg-type]
            faithfulness=self.faithfulness,
        )  # fmt: skip

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        circuit = self.found(model, task)
        parts = [] if circuit.estimate is None else [circuit.estimate.table.assign(control="none")]
        if "did" in circuit.settings:
            did = {"metric": "search", "control": "none", "note": str(circuit.settings["did"])}
            parts.insert(0, pd.DataFrame([did]))
        parts += _nodes(circuit)
        if not circuit.edges:
            return pd.concat([_nothing(circuit), *parts], ignore_index=True)
        edges = circuit.table().assign(metric="edge", control="none")
        if "exact" in circuit.settings:
            known = {tuple(edge) for edge in circuit.settings["exact"]}
            edges["method"] = ["exact" if edge in known else "estimate" for edge in circuit.edges]
        reported = REPORTED if self.nodes is None else max(self.prompts, FEWEST_PROMPTS)
        pair = report_pair(task, self.pair, self.seed + 1, reported)
        judged = judge(
            model, task, circuit, pair=pair, seed=self.seed + 1, metric=self.metric, output=self.output
        )
        if self.tests and self.nodes is None:
            other = None if self.pair is None else report_pair(task, self.pair, self.seed + 2, REPORTED)
            settings = {"seed": self.seed + 2, "metric": self.metric, "output": self.output, "pair": other}
            parts.append(check_circuit(model, task, circuit.edges, **settings).assign(control="none"))
        return pd.concat([edges, judged, *parts], ignore_index=True)


def _nodes(circuit: Circuit) -> list[pd.DataFrame]:
    """What each node costs that was kept apart; nothing where none was."""
    if "nodes" not in circuit.settings:
        return []
    found = {"sender": circuit.settings["nodes"], "value": circuit.settings["effects"]}
    return [pd.DataFrame(found).assign(metric="node", control="none", unit="share of the behaviour")]


def _nothing(circuit: Circuit) -> pd.DataFrame:
    """The row of a checkpoint without a behaviour to explain."""
    row = {
        "metric": "edge", "control": "none", "sender": "", "receiver": "", "value": float("nan"),
        "note": str(circuit.settings["note"]),
    }  # fmt: skip
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
            return _nothing(Circuit((), (), {"note": NO_BEHAVIOUR}))
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
    return Circuit(edges, tuple(float(v) for v in found.get("value", ())), {"step": int(step)})
