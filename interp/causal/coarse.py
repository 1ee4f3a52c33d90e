"""Circuits of models with too many edges, from coarse to fine: first whole nodes, then the edges among the strongest.

Heads and MLPs are ordered by what each alone costs when it writes as on the other prompts; the strongest are kept as
separate nodes, and only edges among these, from the embedding and to the output, are searched (`interp.causal.among`):
whatever touches another node is in every circuit, so 1 is the whole model and 0 is the run with none of these edges,
which may be far from the other prompts' run. Few edges are ordered by the exact effect of each, taken away alone from
all of them. Many are cut in passes, each by first-order effects in the circuit that is left (gradients where every edge
carries `SHARES` of its change), and in the end the largest and those between heads are run exactly. How many edges are
taken is decided on other prompts. Edges that stand in for each other may both be lost or both be kept; nodes whose
single effects are hidden by others that stand in for them are not among the strongest, and are not searched. Source:
edge attribution patching (arXiv 2310.10348), repeated as ACDC prunes (arXiv 2304.14997).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.own import name_of
from interp.causal import cost
from interp.causal.among import RunsAmong
from interp.causal.behaviour import NO_BEHAVIOUR, has_behaviour
from interp.causal.circuit import Circuit
from interp.causal.curve import Curve, Judge, curve_of, is_head
from interp.causal.graph import SLOTS, Edge, site_of
from interp.causal.metrics import Metric, check_pair, metric_of
from interp.causal.nodes import nodes
from interp.causal.pairs import part
from interp.causal.patching import run_patches
from interp.hooks.protocol import HookedModel
from probes.stats import DRAWS
from tasks.base import Pair, Task
from tasks.errors import UserError
from tasks.renamed import keywords

STRONGEST = 30  # nodes kept apart
NODE_PROMPTS = 8  # prompts that order nodes: each node costs half a run of them
MOST_SINGLE = 100  # edges ordered exactly; more are ordered by an attribution estimate first
SHRINK = 0.7  # of a circuit's edges are in the next one
SHARES = (0.75,)  # of its change that every edge carries where an estimate takes gradients
FINER = 6  # most circuits between two sizes
TOP = 25  # edges of a large circuit that are run one by one in the end, and as many of those between heads
LEAST = 0.4  # of the behaviour: where the way down ends
CAPTION = (
    "Edges among the strongest heads and MLPs: the whole model is 1, the run without any of these edges is 0."
)
HIDDEN = (
    "no edge among the {} strongest nodes carries the behaviour significantly: others do, or several alike"
)


@keywords
def find_among(
    model: HookedModel,
    task: Task,
    pairs: tuple[Pair, Pair],
    *,
    nodes: int = STRONGEST,
    metric: str | Callable[..., Tensor] = "loss",
    output: str | None = None,
    faithfulness: float = 0.95,
    draws: int = DRAWS,
) -> Circuit:
    """The circuit among the `nodes` strongest heads and MLPs, with its curve; `settings["nodes"]` names them.

    `pairs`: prompts that order nodes and edges, and prompts that decide how many are taken. Scores are the exact
    effects of the edges, each taken away alone from the circuit at which exact effects took over. Without a behaviour,
    or where these edges do not carry it, the circuit has no edges and its note says which. Raises UserError for fewer
    than 2 nodes, and a faithfulness outside (0, 1].
    """
    if nodes < 2 or not 0 < faithfulness <= 1:
        raise UserError(
            f"a circuit among {nodes} nodes with faithfulness {faithfulness}: at least 2, at most 1"
        )
    ordering, validation = pairs
    settings: dict[str, Any] = {
        "metric": name_of(metric), "target": output or "all", "prompts": len(ordering.clean),
        "others": ordering.kind, "faithfulness": faithfulness,
    }  # fmt: skip
    measure = _metric(model, task, ordering, metric, output)
    far = metric == "squared_output_distance"  # which is 0 where there is nothing to do
    gate = _metric(model, task, ordering, "loss", output) if far else measure
    with torch.no_grad():
        whole, nothing = (gate(model(batch.inputs)) for batch in (ordering.clean, ordering.corrupt))
    if not has_behaviour(whole, nothing, gate.name == "loss"):
        return Circuit((), (), {**settings, "note": NO_BEHAVIOUR})
    order = node_order(model, ordering, measure)
    chosen = list(order)[:nodes]
    settings |= {"nodes": chosen, "effects": [order[name] for name in chosen]}
    bench = _Among(model, ordering, measure, chosen)
    whole, nothing = (gate(bench.runs.outputs(circuit)) for circuit in (bench.runs.known, ()))
    if not has_behaviour(whole, nothing, gate.name == "loss"):
        return Circuit((), (), {**settings, "note": HIDDEN.format(len(chosen))})
    nested, value, did = _nested(bench)
    elsewhere = Judge(
        model, validation, _metric(model, task, validation, metric, output), draws, among=chosen
    )
    curve = curve_of(elsewhere, nested, faithfulness)
    level = curve.chosen
    if finer := _between(*nested[level : level + 2], value=value[level]):
        nested = [*nested[: level + 1], *finer, *nested[level + 1 :]]
        curve = curve_of(elsewhere, nested, faithfulness)
    kept = curve.circuits[curve.chosen]
    settings["did"] = (
        f"{len(chosen)} of {len(order)} heads and MLPs kept apart, the strongest by single effects on "
        f"{min(NODE_PROMPTS, len(ordering.clean))} prompts; of {len(bench.runs.known)} edges among them {did}; of "
        f"{len(nested)} nested circuits the smallest whose {_limit(curve)} on {len(validation.clean)} other "
        f"prompts is {faithfulness:g} or more"
    )
    effects, exact = _scored(bench, kept, value[min(level, len(value) - 1)])
    edges = tuple(edge for edge in bench.runs.order if edge in kept)
    settings["exact"] = [list(edge) for edge in edges if edge in exact]
    return Circuit(edges, tuple(effects[edge] for edge in edges), settings, curve)


def _limit(curve: Curve) -> str:
    """By what the size was chosen: prompts may be too few for an interval."""
    return "faithfulness" if curve.points["ci_low"].isna().all() else "lower confidence limit"


def _scored(
    bench: _Among, kept: frozenset[Edge], value: Mapping[Edge, float]
) -> tuple[dict[Edge, float], set[Edge]]:
    """The effect of each edge of the circuit, and which are exact: of many the largest and those between heads."""
    if len(kept) <= MOST_SINGLE:
        return bench.effects(kept), set(kept)
    order = sorted(kept, key=lambda edge: (-abs(value[edge]), edge))
    stacked = [e for e in order if is_head(e[0]) and site_of(e[1]).component in SLOTS]
    some = {*order[:TOP], *stacked[:TOP]}
    return {**{edge: value[edge] for edge in kept}, **bench.effects(kept, some)}, some


def _metric(model: HookedModel, task: Task, pair: Pair, metric: Any, output: str | None) -> Metric:
    check_pair(pair)
    with torch.no_grad():
        return metric_of(task, pair, metric, output=output, clean_outputs=model(pair.clean.inputs))


def node_order(model: HookedModel, pair: Pair, metric: Metric) -> dict[str, float]:
    """Every head and MLP with what it alone costs, a share of the behaviour, the strongest first.

    Each writes as on the other prompts while all others run on; on the first `NODE_PROMPTS` prompts.
    """
    some = part(pair, torch.arange(min(NODE_PROMPTS, len(pair.clean))))
    every = nodes(model)
    patched = run_patches(model, some, every, metric, direction="noise")
    gap = float((patched.corrupt - patched.clean).double().mean())
    effect = ((patched.values - patched.clean).double().mean(1) / gap).tolist()
    found = {site.label: value for site, value in zip(every, effect, strict=True)}
    return dict(sorted(found.items(), key=lambda item: (-abs(item[1]), item[0])))


class _Among:
    """One model, the prompts that order the edges among some nodes, and the two ends of the scale on them."""

    def __init__(self, model: HookedModel, pair: Pair, metric: Metric, chosen: Collection[str]):
        self.metric = metric
        self.runs = RunsAmong(model, pair.clean.inputs, pair.corrupt.inputs, chosen, metric.positions)
        self.full, self.empty = self.measure(self.runs.known), self.measure(())
        self.gap = float((self.empty - self.full).double().mean())

    @torch.no_grad()
    def measure(self, circuit: Collection[Edge]) -> Float[Tensor, "batch"]:
        return self.metric(self.runs.outputs(circuit)).detach()

    def faithfulness(self, circuit: Collection[Edge]) -> float:
        return float((self.empty - self.measure(circuit)).double().mean()) / self.gap

    def estimated(self, circuit: Collection[Edge]) -> dict[Edge, float]:
        """First-order estimate of the same, as `effects` has it exactly."""
        total: dict[Edge, float] = dict.fromkeys(circuit, 0.0)
        for share in SHARES:
            for edge, value in self.runs.effects(circuit, self.metric, share).items():
                total[edge] += float(value.double().mean()) / self.gap / len(SHARES)
        return total

    def effects(self, circuit: Collection[Edge], only: Collection[Edge] | None = None) -> dict[Edge, float]:
        """What each edge of a circuit (or only some) costs, taken away alone, as a share of the behaviour."""
        whole = float(self.measure(circuit).double().mean())
        asked = [edge for edge in self.runs.order if edge in (circuit if only is None else only)]
        found, pulse = {}, cost.Pulse(f"exact effects of {len(asked):,} edges")
        for edge in asked:
            pulse.beat(len(found), len(asked))
            value = float(self.measure(frozenset(circuit) - {edge}).double().mean())
            found[edge] = (value - whole) / self.gap
        return found


def _nested(bench: _Among) -> tuple[list[frozenset[Edge]], list[dict[Edge, float]], str]:
    """Circuits each inside the one before, the effects of its edges by which each was cut, and what was done."""
    every = frozenset(bench.runs.known)
    if len(every) <= MOST_SINGLE:
        value = bench.effects(every)
        found = [every]
        for smaller in _sizes(every, value):
            found.append(smaller)
            if bench.faithfulness(smaller) < LEAST:
                break
        return found, [value] * len(found), "each was taken away alone, exactly"
    found, values = [every], []
    while len(found[-1]) > 1 and bench.faithfulness(found[-1]) >= LEAST:
        values.append(bench.estimated(found[-1]))
        found.append(_sizes(found[-1], values[-1])[0])
    return (
        found,
        [*values, values[-1]],
        f"the weakest were taken away in {len(values)} passes, each by a new estimate",
    )


def _sizes(circuit: frozenset[Edge], value: Mapping[Edge, float]) -> list[frozenset[Edge]]:
    """Smaller circuits of the edges with the largest values, each `SHRINK` as large as the one before."""
    order = sorted(circuit, key=lambda edge: (-abs(value[edge]), edge))
    found, size = [], int(SHRINK * len(order))
    while size:
        found.append(frozenset(order[:size]))
        size = int(SHRINK * size)
    return found


def _between(
    here: frozenset[Edge], below: frozenset[Edge] | None = None, *, value: Mapping[Edge, float]
) -> list[frozenset[Edge]]:
    """Circuits between one and the next smaller one, the edges of smallest effect gone first; none where there is no
    smaller one.
    """
    dropped = [] if below is None else sorted(here - below, key=lambda e: (abs(value[e]), e))
    count = len(dropped)
    steps = sorted({round(i * count / (FINER + 1)) for i in range(1, FINER + 1)} - {0, count})
    return [here - set(dropped[:step]) for step in steps]
