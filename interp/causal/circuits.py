"""Circuits: which edges carry a behaviour, found from exact or attributed scores.

An edge's exact score is the rise of the loss when that edge alone carries another prompt's value while
everything else runs on; higher is more needed, 0 is not used. Scores are put on the scale where the whole
model is 1 and the other prompts' run is 0, so a threshold means the same in every net. An edge survives when
the lower end of its interval over prompts passes the threshold, and only if it lies on a way from `embed` to
`output`. A model without the behaviour (full and empty circuit not told apart) has the empty circuit.
Sources: path patching and ACDC (arXiv 2304.14997); greedy growth as in EAP-IG.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

import pandas as pd
import torch
from jaxtyping import Float, Num
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.causal.attribution import EdgeScores, attribute_edges
from interp.causal.graph import Edge, EdgeRuns, Written, precedes, receivers, senders
from interp.causal.metrics import Metric, metric_of
from interp.causal.patching import ENGINES, engine_of
from interp.causal.pruning import prune
from interp.causal.sites import Site
from probes.stats import DRAWS, Intervals, ratio, student
from tasks.base import Pair, Task
from tasks.errors import UserError

Method = Literal["exact", "EAP", "EAP-IG"]
Search = Literal["threshold", "greedy"]
SEARCHES = ("threshold", "greedy", "prune")
SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Circuit:
    """A set of edges with their normalised scores, and the settings that found it.

    >>> circuit = Circuit((("embed", "L0H1.v"), ("L0H1", "output")), (0.9, 1.0), {"method": "exact"})
    >>> Circuit.from_json(circuit.to_json()) == circuit, sorted(circuit.heads)
    (True, ['L0H1'])
    """

    edges: tuple[Edge, ...]
    scores: tuple[float, ...]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def heads(self) -> frozenset[str]:
        """Heads that write into the circuit."""
        return frozenset(s for s, _ in self.edges if s.startswith("L") and "H" in s)

    def to_json(self) -> str:
        """One JSON document, the same for the same circuit."""
        edges = [[*edge, score] for edge, score in zip(self.edges, self.scores, strict=True)]
        document = {"schema": SCHEMA, "edges": edges, "settings": self.settings}
        return json.dumps(document, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Circuit:
        """The circuit of such a document. Raises UserError for anything else."""
        try:
            document = json.loads(text)
            if document["schema"] != SCHEMA:
                raise UserError(
                    f"circuit of schema {document['schema']!r}: this version reads schema {SCHEMA}"
                )
            rows = [
                (Site.parse(s).label, Site.parse(r).label, float(score)) for s, r, score in document["edges"]
            ]
            return cls(
                tuple((s, r) for s, r, _ in rows), tuple(x for *_, x in rows), dict(document["settings"])
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"not a circuit document: {str(error).splitlines()[0][:80]}") from None

    def table(self) -> pd.DataFrame:
        """One row an edge."""
        rows = [
            {"sender": s, "receiver": r, "value": x}
            for (s, r), x in zip(self.edges, self.scores, strict=True)
        ]
        return pd.DataFrame(rows, columns=["sender", "receiver", "value"]).assign(unit="normalised effect")


def exact_edges(
    model: Any,
    inputs: Num[Tensor, "batch pos *token"],
    other: Num[Tensor, "batch pos *token"],
    metric: Metric,
) -> EdgeScores:
    """Change of the metric when each edge alone carries the other prompts' value, by the model's own engine."""
    runs = EdgeRuns(model, inputs, other)
    engine = ENGINES[engine_of(model)](model, inputs, metric)
    clean, writers = runs.clean, senders(model)
    found: list[Edge] = []
    values: list[Tensor] = []
    for receiver in receivers(model):
        for sender in (s for s in writers if precedes(model, s, receiver)):
            found.append((sender.label, receiver.label))
            stream = _stream(clean, receiver) + runs.other.out[sender.label] - clean.out[sender.label]
            values.append(_through(model, engine, receiver, stream) - engine.base_value)
    return EdgeScores(tuple(found), torch.stack(values), "exact", "resample")


def _stream(clean: Written, receiver: Site) -> Float[Tensor, "batch pos d_model"]:
    if receiver.component == "output":
        return clean.final
    assert receiver.layer is not None
    return (clean.mid if receiver.component == "mlp_pre" else clean.pre)[receiver.layer]


@torch.no_grad()
def _through(model: Any, engine: Any, receiver: Site, stream: Tensor) -> Float[Tensor, "batch"]:
    """The metric when one receiver reads `stream`."""
    hook = receiver.hook(model.config.n_layers)
    if receiver.component == "output":
        return engine.values([receiver], {hook: stream})[0]
    block = model.blocks[receiver.layer]
    if receiver.component == "mlp_pre":
        return engine.values([receiver], {hook: ar.mlp_reads(block, stream)})[0]
    value = engine.cache_of(receiver).clone()
    value[:, :, receiver.head] = ar.head_reads(block, receiver.component, receiver.head or 0, stream)
    return engine.values([receiver], {hook: value})[0]


def edge_scores(
    model: Any, inputs: Tensor, other: Tensor, metric: Metric, method: str = "exact", ig_steps: int = 8
) -> EdgeScores:
    """Scores of every edge by one method. Raises UserError for an unknown one."""
    if method == "exact":
        return exact_edges(model, inputs, other, metric)
    if method not in ("EAP", "EAP-IG"):
        raise UserError(f"unknown scoring method {method!r}: use 'exact', 'EAP' or 'EAP-IG'")
    return attribute_edges(model, inputs, other, metric, ig_steps=ig_steps if method == "EAP-IG" else 0)


def find_circuit(
    model: Any,
    task: Task,
    *,
    prompts: int = 64,
    seed: int = 0,
    pair: Pair | None = None,
    metric: str = "loss",
    read: str | None = None,
    method: str = "exact",
    search: str = "threshold",
    threshold: float = 0.02,
    faithfulness: float = 0.95,
    ig_steps: int = 8,
    draws: int = DRAWS,
) -> Circuit:
    """The circuit of a task in a model.

    Edges outside carry other prompts: fresh ones of the task, or a pair's corrupt ones (then only what the
    pair changes can be seen). "threshold" keeps the edges whose score surely passes `threshold`; "greedy"
    grows from `output` by the largest of these until the circuit's faithfulness reaches `faithfulness`;
    "prune" takes edges away from the whole model as long as it stays there, which finds redundant heads too.
    Raises UserError for unknown names or settings out of range.
    """
    if search not in SEARCHES or not 0 < threshold < 1 or not 0 < faithfulness <= 1:
        raise UserError(f"search {search!r} with threshold {threshold} and faithfulness {faithfulness}: choose "
                        f"one of {list(SEARCHES)}, both numbers between 0 and 1")  # fmt: skip
    pair = resampled_pair(task, seed, prompts) if pair is None else pair
    with torch.no_grad():
        measure = metric_of(task, pair, metric, read=read, clean_outputs=model(pair.clean.inputs))
    settings = {
        "method": method, "search": search, "threshold": threshold, "faithfulness": faithfulness, "metric": metric,
        "target": read or "all", "prompts": len(pair.clean), "seed": seed, "others": pair.kind, "ig_steps": ig_steps,
    }  # fmt: skip
    runs = EdgeRuns(model, pair.clean.inputs, pair.corrupt.inputs)
    full, empty = (measure(runs.outputs(c)) for c in (runs.known, ()))
    if not has_behaviour(full, empty, metric == "loss"):
        return Circuit(
            (), (), {**settings, "note": "full and empty circuit are not told apart: no behaviour to explain"}
        )
    scores = edge_scores(model, pair.clean.inputs, pair.corrupt.inputs, measure, method, ig_steps)
    effect = edge_effects(scores, full, empty, draws)
    surely = _surely(scores, effect, threshold)
    value = dict(zip(scores.edges, effect.value.tolist(), strict=True))
    if search == "prune":
        kept = prune(runs, measure, full, empty, value, threshold, faithfulness, connected)
    elif search == "greedy":
        kept = _grow(runs, measure, full, empty, value, surely, faithfulness)
    else:
        kept = connected(surely)
    order = [e for e in scores.edges if e in kept]
    return Circuit(tuple(order), tuple(value[e] for e in order), settings)


def _surely(scores: EdgeScores, effect: Intervals, threshold: float) -> set[Edge]:
    """Edges whose interval lies beyond the threshold. A screen's sign is not to be trusted, so its size counts."""
    beyond = effect.low > threshold
    if scores.method != "exact":
        beyond = beyond | (effect.high < -threshold)
    return {edge for edge, is_beyond in zip(scores.edges, beyond.tolist(), strict=True) if is_beyond}


def resampled_pair(task: Task, seed: int, prompts: int) -> Pair:
    """Clean prompts and unrelated ones in place of corrupt ones, so that everything that varies is resampled."""
    clean = task.sample(seed, "circuit", 0, prompts)
    other = task.sample(seed, "circuit, resampled", 0, prompts)
    differ = (clean.inputs != other.inputs).reshape(*clean.inputs.shape[:2], -1).any(-1)
    return Pair("resample", clean, other, differ)


def has_behaviour(
    full: Float[Tensor, "batch"], empty: Float[Tensor, "batch"], lower_is_better: bool = True
) -> bool:
    """Whether the whole model and the run on other prompts are surely apart (Student's t over prompts, 99.9%).

    With `lower_is_better` the whole model must have the lower metric; otherwise either side counts. Few prompts
    make a bootstrap too narrow for a gate this strict.
    """
    found = student((empty - full).double().tolist(), level=0.999)
    return found.low > 0 or (found.high < 0 and not lower_is_better)


def connected(found: Collection[Edge]) -> set[Edge]:
    """The edges that lie on a way from `embed` to `output`."""
    kept = set(found)
    while True:
        fed = {"embed"} | {_head(receiver) for _, receiver in kept}
        used = {"output"} | {sender for sender, _ in kept}
        alive = {(s, r) for s, r in kept if s in fed and (r == "output" or _head(r) in used)}
        if alive == kept:
            return kept
        kept = alive


def _head(receiver: str) -> str:
    """The sender that a receiver belongs to."""
    if receiver == "output":
        return receiver
    site = Site.parse(receiver)
    return (
        Site("mlp_out", site.layer).label
        if site.component == "mlp_pre"
        else Site("z", site.layer, site.head).label
    )


def _grow(
    runs: EdgeRuns,
    metric: Metric,
    full: Tensor,
    empty: Tensor,
    value: dict[Edge, float],
    allowed: set[Edge],
    faithfulness: float,
) -> set[Edge]:
    """Add the strongest edge into what is already there until the circuit is faithful enough or edges run
    out.
    """
    kept: set[Edge] = set()
    gap = float((empty - full).double().mean())
    while True:
        reached = {"output"} | {sender for sender, _ in kept}
        open_edges = [e for e in allowed - kept if e[1] == "output" or _head(e[1]) in reached]
        if not open_edges:
            return connected(kept)
        kept.add(max(open_edges, key=lambda e: (abs(value[e]), e)))
        whole = connected(kept)
        if whole and float((empty - metric(runs.outputs(whole))).double().mean()) / gap >= faithfulness:
            return whole


def jaccard(circuits: Sequence[Circuit]) -> float:
    """Mean overlap of every two circuits: shared edges over all edges of either (two empty ones agree: 1).

    Raises UserError for fewer than two.
    """
    if len(circuits) < 2:
        raise UserError("an overlap needs at least two circuits")
    pairs = [(set(a.edges), set(b.edges)) for a, b in itertools.combinations(circuits, 2)]
    return sum(len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs) / len(pairs)


def stability(model: Any, task: Task, seeds: Iterable[int], **settings: Any) -> tuple[list[Circuit], float]:
    """Circuits found on the prompts of several seeds, and their mean Jaccard overlap. `settings` as in
    find_circuit.
    """
    circuits = [find_circuit(model, task, seed=seed, **settings) for seed in seeds]
    return circuits, jaccard(circuits)


def edge_effects(scores: EdgeScores, full: Tensor, empty: Tensor, draws: int = DRAWS) -> Intervals:
    """Scores on the scale where the full circuit is 1 and the empty one 0, with intervals over prompts."""
    gap = (empty - full).detach()[:, None].expand(-1, len(scores.edges))
    return ratio(scores.values.T, gap, draws=draws)
