"""The circuit of a run as the page draws it: heads at the position where they act, edges by what they are worth.

Which edges are drawn is decided at the last checkpoint by pruning; how wide, at the checkpoints between which scores
and heads change most (`interp.report.chosen_steps`), by the effect of the single edge. A head stands at the row of the
relation it attends to most in the shown prompt, of those rows that can reach an output (at the query where it has
none). What it reads from the embedding is drawn from the token it attends to (keys, values) or stands on (queries).
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from interp.analysis.base import Progress
from interp.causal.arithmetic import has_edges
from interp.causal.graph import edges
from interp.causal.over_training import CircuitSearch, EdgeEffects, circuit_at
from interp.causal.reach import without_dead_rows
from interp.report.chosen_steps import where_changing
from interp.report.coarse_view import drawn_among, is_among, searched
from interp.report.model import DrawnCircuit, Node
from interp.run import Run
from tasks import Batch, Relation

MOST_EDGES = 400  # scored at some checkpoints, and drawn
MOST_SEARCHED = 1500  # searched at the last checkpoint: described in words and figures
ATTENDS = 0.3
Place = tuple[int, int]


def drawn_circuit(
    run: Run,
    found: pd.DataFrame | None,
    heads: pd.DataFrame,
    scores: pd.DataFrame,
    batch: Batch,
    progress: Progress | None,
) -> DrawnCircuit | None:
    """The circuit to draw, out of what the search `found`; None where it found none, or edges are too many to score at
    several checkpoints.
    """
    last = run.steps[-1]
    if found is not None and is_among(found):
        return drawn_among(found, heads, run.config.model.n_heads, last)  # type: ignore[union-attr]
    if found is None or len(edges(run.untrained_model())) > MOST_EDGES:
        return None
    kept = circuit_at(found, last)
    effects = run.tables([EdgeEffects()], where_changing([scores, heads], run.steps), progress)["edges"]
    relations = run.task.relations(batch)
    live = without_dead_rows(heads[heads["step"] == last], run.config.model, run.task, relations)
    places = _places(live, relations, batch.inputs.shape[1])
    drawn = pd.concat([_drawn(effects, edge, places) for edge in kept.edges], ignore_index=True)
    strongest = drawn.loc[drawn.groupby(["source", "target", "step"])["value"].idxmax()]
    labels = run.task.labels(batch)[0]
    names = dict.fromkeys([*strongest["source"], *strongest["target"]])
    nodes = tuple(_node(name, places, batch.inputs.shape[1]) for name in names)
    chain = _chain(relations)
    return DrawnCircuit(
        tuple(labels), nodes, strongest.reset_index(drop=True), "share of the behaviour", chain
    )


def _chain(relations: tuple[Relation, ...]) -> tuple[tuple[str, int], ...]:
    """The query and the links behind it, for tasks that name a single place of each."""
    own = [r for r in relations if r.name.startswith("query -> link") and r.dest.shape[1] == 1]
    links = [(r.name.removeprefix("query -> ").replace("_", " "), int(r.source[0, 0])) for r in own]
    return (("query", int(own[0].dest[0, 0])), *links) if own else ()


def circuit_table(run: Run, progress: Progress | None) -> pd.DataFrame | None:
    """The circuit of the last checkpoint with its figures; None for a clamped run, too many edges (unless one among the
    strongest nodes was searched before), or no behaviour.
    """
    if not is_searched(run):
        search = None if run.interventions_active else searched(run)
        found = None if search is None else run.tables([search], "last", progress)["circuit"]
        return found if found is not None and circuit_at(found, run.steps[-1]).edges else None
    found = run.tables([CircuitSearch()], "last", progress)["circuit"]
    return found if circuit_at(found, run.steps[-1]).edges else None


def is_searched(run: Run) -> bool:
    """Whether a page searches a circuit of this run: not of a clamped one, nor where there are too many edges."""
    model = run.untrained_model()
    return not run.interventions_active and has_edges(model) and len(edges(model)) <= MOST_SEARCHED


def _places(heads: pd.DataFrame, relations: tuple[Relation, ...], length: int) -> dict[str, Place]:
    """Row and column of the relation that each head attends to most; the query on itself where none is strong."""
    shown = [r for r in relations if not r.name.startswith("rival")]  # the queried chain has the same heads
    where = {r.name: r.pairs(0)[-1 if r.valid is not None else 0] for r in shown if r.pairs(0)}
    own = heads[(heads["control"] == "none") & heads["metric"].isin(list(where))]
    found: dict[str, Place] = {}
    for (layer, head), rows in own.groupby(["layer", "head"]):
        best = rows.loc[rows["value"].idxmax()]
        strong = best["value"] >= ATTENDS
        found[f"L{layer}H{head}"] = where[best["metric"]] if strong else (length - 1, length - 1)
    return found


def _drawn(effects: pd.DataFrame, edge: tuple[str, str], places: dict[str, Place]) -> pd.DataFrame:
    """The rows of one edge under the names of the nodes it is drawn between."""
    sender, receiver = edge
    rows = effects[(effects["sender"] == sender) & (effects["receiver"] == receiver)]
    head, _, slot = receiver.partition(".")
    source = sender.partition(".")[0]  # an MLP is one node, whether it reads or writes
    if sender == "embed":
        dest, looked_at = places.get(head, (0, 0))
        source = f"token {dest if slot == 'q' else looked_at}"
    columns = ["step", "value", "ci_low", "ci_high"]
    return rows[columns].assign(source=source, target=head, step=rows["step"].astype(int))


def _node(name: str, places: dict[str, Place], length: int) -> Node:
    if name.startswith("token "):
        return Node(name, "token", int(name.split()[1]))
    if name == "output":
        return Node(name, "output", length - 1)
    layer, _, head = name[1:].partition("H")
    position = places.get(name, (length - 1, 0))[0]
    return (
        Node(name, "head", position, int(layer), int(head))
        if head
        else Node(name, "mlp", position, int(layer))
    )


def why_not(run: Run) -> str:
    """Why a run's page draws no circuit."""
    model: Any = run.config.model
    if not has_edges(run.untrained_model()):
        return f"edges are known for transformers with plain heads and MLPs only, and this is a {model.kind}"
    if run.interventions_active:
        return f"trained with clamps, which the search cannot hold; interp circuit {run.path} --without-interventions"
    count = len(edges(run.untrained_model()))
    if count > MOST_EDGES:
        rest = (
            "; the search at the last one is summarised in the text, where it found any"
            if count <= MOST_SEARCHED
            else ""
        )
        few = (
            ""
            if rest
            else " --nodes 30 --prompts 16 searches among the strongest nodes, and the page then draws it"
        )
        return f"this model has {count:,} edges, too many to score over training{rest}; interp circuit {run.path}{few}"
    return "at the last checkpoint the whole model and its resample-ablated run do not differ significantly"
