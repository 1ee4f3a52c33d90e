"""Circuits: which edges carry a behaviour, found from exact or attributed scores.

Scores (`interp.causal.edge_effects`) are on the scale where the whole model is 1 and the other prompts' run
is 0, so a threshold means the same in every net. An edge survives when
the lower end of its interval over prompts passes the threshold, and only if it lies on a way from `embed` to
`output`. A model without the behaviour (full and empty circuit not told apart) has the empty circuit.

A signed metric (loss, logit difference) can cancel: an edge that helps some prompts and harms others may be worth
nothing on average. "prediction_change" cannot: it is the squared distance to the whole model's output, so an edge that
carries anything has a positive effect, and with `rounding(model)` as threshold the search returns all that carry
anything at all. It measures no behaviour, though, so whether there is one is asked of the loss.
Sources: path patching and ACDC (arXiv 2304.14997); greedy growth as in EAP-IG.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from typing import Any, Literal

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.attribution import EdgeScores
from interp.causal.edge_effects import edge_effects, edge_scores
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import Edge
from interp.causal.metrics import Metric, metric_of
from interp.causal.pruning import prune
from interp.hooks.protocol import HookedModel
from interp.hooks.sites import Site
from probes.stats import DRAWS, FEWEST_PROMPTS, Intervals, student
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


def find_circuit(
    model: HookedModel,
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
    Raises UserError for unknown names, settings out of range, and too few prompts for intervals.
    """
    if search not in SEARCHES or not 0 < threshold < 1 or not 0 < faithfulness <= 1:
        raise UserError(f"search {search!r} with threshold {threshold} and faithfulness {faithfulness}: choose "
                        f"one of {list(SEARCHES)}, both numbers between 0 and 1")  # fmt: skip
    pair = resampled_pair(task, seed, prompts) if pair is None else pair
    if search != "prune" and len(pair.clean) < FEWEST_PROMPTS:
        raise UserError(f"search {search!r} goes by intervals, which {len(pair.clean)} prompts do not give: take "
                        f"{FEWEST_PROMPTS} or more, or search='prune'")  # fmt: skip
    with torch.no_grad():
        measure = metric_of(task, pair, metric, read=read, clean_outputs=model(pair.clean.inputs))
        gate = metric_of(task, pair, "loss", read=read) if metric == "prediction_change" else measure
    settings = {
        "method": method, "search": search, "threshold": threshold, "faithfulness": faithfulness, "metric": metric,
        "target": read or "all", "prompts": len(pair.clean), "seed": seed, "others": pair.kind, "ig_steps": ig_steps,
    }  # fmt: skip
    runs = EdgeRuns(model, pair.clean.inputs, pair.corrupt.inputs)
    full, empty = (measure(runs.outputs(c)) for c in (runs.known, ()))
    whole, nothing = (gate(runs.outputs(c)) for c in (runs.known, ()))
    if not has_behaviour(whole, nothing, gate.name == "loss"):
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


def rounding(model: HookedModel) -> float:
    """Least share of "prediction_change" that is no rounding: the square of a relative error of 1,000 units in the
    last place of the model's weights.
    """
    return (1e3 * torch.finfo(next(model.parameters()).dtype).eps) ** 2


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
        fed = {"embed"} | {sender for _, receiver in kept for sender in _senders(receiver)}
        used = {"output"} | {sender for sender, _ in kept}
        alive = {(s, r) for s, r in kept if s in fed and (r == "output" or used.intersection(_senders(r)))}
        if alive == kept:
            return kept
        kept = alive


def _senders(receiver: str) -> set[str]:
    """The senders that a receiver belongs to: an MLP, a head, or the heads that share a key or value."""
    if receiver == "output":
        return {receiver}
    site = Site.parse(receiver)
    if site.component == "mlp_pre":
        return {Site("mlp_out", site.layer).label}
    return {Site("z", site.layer, head).label for head in site.heads}


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
        open_edges = [e for e in allowed - kept if e[1] == "output" or reached.intersection(_senders(e[1]))]
        if not open_edges:
            return connected(kept)
        kept.add(max(open_edges, key=lambda e: (abs(value[e]), e)))
        whole = connected(kept)
        if whole and float((empty - metric(runs.outputs(whole))).double().mean()) / gap >= faithfulness:
            return whole
