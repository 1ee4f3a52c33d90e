"""Circuits: which edges carry a behaviour, found by pruning, by single effects, or by growth from the output.

Effects are on the scale where the whole model is 1 and the other prompts' run is 0. Edges are ordered on one set of
prompts, how many of them are taken is decided on a second, and `interp.causal.faithfulness.judge` reports on a third.
A model without the behaviour (full and empty circuit do not differ) has the empty circuit.

"prune", the default everywhere, returns the smallest circuit on the way down whose lower confidence limit still reaches
the faithfulness asked for, with the whole curve of size against faithfulness. Where more than half of all edges carry
nothing at all, to rounding, and the others alone give the whole model's outputs, those others are the circuit: nothing
is traded off. "threshold" keeps the edges whose single effect significantly passes the threshold; where heads stand in
for each other it finds neither. A signed metric (loss, logit difference) can cancel; "squared_output_distance", the
squared distance to the whole model's output, cannot, but measures no behaviour, so whether there is one is asked of the
loss. Sources: path patching and ACDC (arXiv 2304.14997); greedy growth as in EAP-IG (arXiv 2403.17806).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from interp.analysis.own import name_of
from interp.causal import cost
from interp.causal.attribution import EdgeScores
from interp.causal.behaviour import NO_BEHAVIOUR, resampled_pair, rounding
from interp.causal.circuit import Circuit
from interp.causal.curve import Curve, Judge, curve_of
from interp.causal.edge_effects import edge_effects, exact_edges
from interp.causal.estimate import Estimate, against_exact, complete_scores
from interp.causal.graph import Edge, connected, owners
from interp.causal.metrics import metric_of
from interp.causal.pairs import part
from interp.causal.pruning import Descent, ablation_effects, between, by_size
from interp.causal.search_bench import SearchBench
from interp.hooks.protocol import HookedModel
from probes.stats import DRAWS, FEWEST_PROMPTS, Intervals
from tasks.base import Pair, Task
from tasks.errors import UserError
from tasks.renamed import keywords

SEARCHES = ("prune", "threshold", "greedy")
METHODS = ("exact", "EAP", "EAP-IG")
SPARSE = 0.5  # of all edges: where fewer carry anything at all, those are the circuit
MARGIN = 0.5  # of what may be lost: what an attribution estimate may lose before exact pruning goes on


@keywords
def find_circuit(
    model: HookedModel,
    task: Task,
    *,
    prompts: int = 64,
    seed: int = 0,
    pair: Pair | tuple[Pair, Pair] | None = None,
    metric: str | Callable[..., Tensor] = "loss",
    output: str | None = None,
    method: str = "exact",
    search: str = "prune",
    threshold: float = 0.02,
    faithfulness: float = 0.95,
    ig_steps: int = 8,
    draws: int = DRAWS,
) -> Circuit:
    """The circuit of a task in a model, with the curve it is a point of and a note on what the search did.

    Edges outside carry other prompts: fresh ones of the task, or a pair's corrupt ones (then only what the
    pair changes can be seen). "prune" takes edges away from the whole model as long as `faithfulness` is kept, which
    finds redundant heads too; "threshold" keeps the edges whose effect significantly passes `threshold`; "greedy"
    grows from `output` by the largest of these. `method` orders the edges: exact effects, or an attribution estimate,
    which comes first anyway where there are more than 1,000 edges to prune. `prompts` order the edges, as many others
    decide how many are taken; a pair of one's own is cut in two, unless there are two. Raises UserError for unknown
    names, settings out of range, and too few prompts for intervals.
    """
    _check(search, method, threshold, faithfulness)
    ordering, validation = _parts(task, pair, seed, prompts)
    if search != "prune" and len(ordering.clean) < FEWEST_PROMPTS:
        raise UserError(f"search {search!r} goes by intervals, which {len(ordering.clean)} prompts do not give: take "
                        f"{FEWEST_PROMPTS} or more, or search='prune'")  # fmt: skip
    bench = SearchBench(model, task, ordering, metric, output)
    settings: dict[str, Any] = {
        "method": method, "search": search, "threshold": threshold, "faithfulness": faithfulness,
        "metric": name_of(metric),
        "target": output or "all", "prompts": len(ordering.clean), "seed": seed, "others": ordering.kind,
        "ig_steps": ig_steps, "edges": len(bench.runs.known),
    }  # fmt: skip
    if not bench.apart:
        return Circuit((), (), {**settings, "note": NO_BEHAVIOUR})
    run = _prune if search == "prune" else _by_single_effects
    nested, chosen, estimate, did = run(bench, search, method, threshold, faithfulness, ig_steps, seed, draws)
    with torch.no_grad():
        wanted = model(validation.clean.inputs)
        measure = metric_of(task, validation, metric, output=output, clean_outputs=wanted)
    elsewhere = Judge(model, validation, measure, draws)
    curve = curve_of(elsewhere, nested, faithfulness, chosen)
    descent = Descent(bench.runs, bench.metric, *bench.references)
    around = curve.circuits[curve.chosen : curve.chosen + 2]
    if chosen is None and (finer := between(descent, *around, rises=bench.shares(around[0], estimate))):
        nested = [*nested[: curve.chosen + 1], *finer, *nested[curve.chosen + 1 :]]
        curve = curve_of(elsewhere, nested, faithfulness)
    kept = curve.circuits[curve.chosen]
    if chosen is None:
        did += (
            f"; of {len(nested)} nested circuits the smallest whose lower confidence limit on {len(validation.clean)} "
            f"other prompts is {faithfulness:g} or more"
        )
    values = bench.shares(kept, estimate)
    did += (
        f"; values of so many edges are attributions, not exact effects (over {bench.most:,})"
        if values
        else ""
    )
    return _circuit(bench, kept, {**settings, "did": did}, curve, estimate, values)


Found = tuple[list[frozenset[Edge]], int | None, Estimate | None, str]


def _check(search: str, method: str, threshold: float, faithfulness: float) -> None:
    if search not in SEARCHES or not 0 < threshold < 1 or not 0 < faithfulness <= 1:
        raise UserError(f"search {search!r} with threshold {threshold} and faithfulness {faithfulness}: choose "
                        f"one of {list(SEARCHES)}, both numbers between 0 and 1")  # fmt: skip
    if method not in METHODS:
        raise UserError(f"unknown scoring method {method!r}: use 'exact', 'EAP' or 'EAP-IG'")


def _parts(task: Task, pair: Pair | tuple[Pair, Pair] | None, seed: int, prompts: int) -> tuple[Pair, Pair]:
    """Prompts that order the edges and prompts that decide how many are taken; the same ones where a pair is short."""
    if pair is None:
        return resampled_pair(task, seed, prompts), resampled_pair(task, seed, prompts, "circuit, validation")
    if isinstance(pair, tuple):
        return pair
    half = len(pair.clean) // 2
    if half < FEWEST_PROMPTS:
        return pair, pair
    return part(pair, torch.arange(half)), part(pair, torch.arange(half, len(pair.clean)))


def _prune(
    bench: SearchBench,
    search: str,
    method: str,
    threshold: float,
    faithfulness: float,
    ig_steps: int,
    seed: int,
    draws: int,
) -> Found:
    """Nested circuits from the whole model down; edges that carry nothing first, or by an attribution estimate."""
    every = frozenset(bench.runs.known)
    estimate = None
    if method != "exact" or not bench.few:
        estimate = _estimated(bench, method, ig_steps, seed, draws)
        if method != "exact" or not estimate.unreliable:
            return _by_estimate(bench, estimate, faithfulness)
    with cost.announced(f"exact effects of {len(every):,} edges", bench.runs, len(every)):
        rises, moved = ablation_effects(bench.runs, every, [bench.metric, bench.distance])
    least = rounding(bench.model) * bench.scale
    live = frozenset(connected([e for e, v in moved.items() if float(v.double().mean()) > least]))
    descent = Descent(bench.runs, bench.metric, *bench.references)
    lossless = live < every and float(bench.distance(bench.runs.outputs(live)).double().mean()) <= least
    said = f"{estimate.report()}; so " if estimate else ""
    if lossless:
        sparse = len(live) <= SPARSE * len(every)
        said += f"{len(every) - len(live)} of {len(every)} edges carry nothing (to rounding)"
        return [every, *descent.nested(live)], 1 if sparse else None, estimate, said
    known = {edge: float(value.double().mean()) / descent.gap for edge, value in rises.items()}
    nested = descent.nested(every, known)
    said += f"{len(every)} edges pruned by exact effects in {descent.passes} passes"
    return nested, None, estimate, said


def _by_estimate(bench: SearchBench, estimate: Estimate, faithfulness: float) -> Found:
    """Circuits of the largest attributions until little of the behaviour is lost, and exact pruning from there."""
    descent = Descent(bench.runs, bench.metric, *bench.references)
    nested = by_size(estimate.scores.means())
    enough = 1 - MARGIN * (1 - faithfulness)
    start = 0
    with cost.announced(f"{len(nested)} circuits by attribution estimate", bench.runs, len(nested)):
        while start + 1 < len(nested) and descent.faithfulness(nested[start + 1]) >= enough:
            start += 1
    said = (
        f"{estimate.report()}; the {len(nested[start])} largest of {len(bench.runs.known)} edges taken by it"
    )
    if len(nested[start]) > bench.most:
        return nested, None, estimate, said
    with cost.announced(
        f"exact pruning of {len(nested[start])} edges", bench.runs, len(nested[start]) * cost.PASSES
    ):
        below = descent.nested(nested[start])
    return (
        [*nested[:start], *below],
        None,
        estimate,
        f"{said}, then pruned by exact effects in {descent.passes} passes",
    )


def _by_single_effects(
    bench: SearchBench,
    search: str,
    method: str,
    threshold: float,
    faithfulness: float,
    ig_steps: int,
    seed: int,
    draws: int,
) -> Found:
    """The circuit of the edges whose own effect significantly passes the threshold, or that grown from these."""
    estimate = None if method == "exact" else _estimated(bench, method, ig_steps, seed, draws)
    scores = exact_edges(bench.model, *bench.prompts, bench.metric) if estimate is None else estimate.scores
    effect = edge_effects(scores, *bench.references, draws)
    value = dict(zip(scores.edges, effect.value.tolist(), strict=True))
    beyond = _beyond(scores, effect, threshold)
    kept = frozenset(_grow(bench, value, beyond, faithfulness) if search == "greedy" else connected(beyond))
    ladder = by_size(value)
    place = sum(len(circuit) > len(kept) for circuit in ladder)
    said = (
        f"{len(beyond)} of {len(scores.edges)} edges have a single effect significantly above {threshold:g}"
    )
    said = f"{estimate.report()}; {said}" if estimate else said
    return [*ladder[:place], kept, *ladder[place:]], place, estimate, said


def _estimated(bench: SearchBench, method: str, ig_steps: int, seed: int, draws: int) -> Estimate:
    name = "EAP-IG" if method == "exact" else method
    with cost.announced(f"{name} of {len(bench.runs.known):,} edges", bench.runs, 3 * ig_steps):
        scores = complete_scores(bench.model, *bench.prompts, bench.metric, name, ig_steps)
    return against_exact(
        bench.model, *bench.prompts, bench.metric, scores, bench.references, seed=seed, draws=draws
    )


def _circuit(
    bench: SearchBench,
    kept: frozenset[Edge],
    settings: dict[str, Any],
    curve: Curve,
    estimate: Estimate | None,
    values: dict[Edge, float] | None,
) -> Circuit:
    """The circuit with the single effect of each of its edges: exact, unless given."""
    if not kept:
        return Circuit((), (), {**settings, "note": "no edge passes the threshold"}, curve, estimate)
    if values is not None:
        order = [edge for edge in bench.runs.order if edge in kept]
        return Circuit(tuple(order), tuple(values[e] for e in order), settings, curve, estimate)
    scores = exact_edges(bench.model, *bench.prompts, bench.metric, only=kept)
    gap = float((bench.empty - bench.full).double().mean())
    value = {edge: mean / gap for edge, mean in scores.means().items()}
    return Circuit(scores.edges, tuple(value[e] for e in scores.edges), settings, curve, estimate)


def _beyond(scores: EdgeScores, effect: Intervals, threshold: float) -> set[Edge]:
    """Edges whose interval lies beyond the threshold; of an estimate, whose sign is not to be trusted, by size."""
    beyond = effect.low > threshold
    if scores.method != "exact":
        beyond = beyond | (effect.high < -threshold)
    return {edge for edge, is_beyond in zip(scores.edges, beyond.tolist(), strict=True) if is_beyond}


def _grow(bench: SearchBench, value: dict[Edge, float], allowed: set[Edge], faithfulness: float) -> set[Edge]:
    """Add the strongest edge into what is already there until the circuit is faithful enough or edges run out."""
    descent = Descent(bench.runs, bench.metric, *bench.references)
    kept: set[Edge] = set()
    while True:
        reached = {"output"} | {sender for sender, _ in kept}
        open_edges = [e for e in allowed - kept if e[1] == "output" or reached.intersection(owners(e[1]))]
        if not open_edges:
            return connected(kept)
        kept.add(max(open_edges, key=lambda e: (abs(value[e]), e)))
        whole = connected(kept)
        if whole and descent.faithfulness(whole) >= faithfulness:
            return whole
