"""The dictionary of table columns: for every name its type, its unit and what it means, the same in every table.

Owns the names. A column has one type wherever it stands (`TYPES`), so that tables join, compute in numpy and draw as
they are; `interp.analysis.schema` holds tables to it when they are written. What may be missing and is counted has
float64 with NaN: a nullable integer neither draws nor joins with text. `layer` and `head` index models and name them,
so they are int64, -1 where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "index", "count", "number", "replicate"]
TYPES: dict[Kind, str] = {
    "text": "str",  # missing: NaN, or "" in `note`
    "index": "int64",  # -1: none
    "count": "float64",  # whole numbers; NaN where missing
    "number": "float64",  # NaN where missing
    "replicate": "float32",
}
EMPTY = ("note", "partner")  # text that is empty, not missing, where there is nothing to say


@dataclass(frozen=True)
class Column:
    """One name: its kind (type), unit ("" where it has none, or where `unit` of the row says it), and meaning."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""


COLUMNS = (
    Column(
        "run", "text", "Display name of the run: the shortest unique end of its path. Never kept in a file."
    ),
    Column("seed", "index", "Seed of the run's settings."),
    Column("step", "count", "Training step of the checkpoint; missing in rows that belong to none.", "steps"),
    Column("layer", "index", "Block, from 0; -1 where a row belongs to none."),
    Column("head", "index", "Head of the layer, from 0; -1 for all of a layer together, or none."),
    Column("shared", "index", "Heads that have the site's key or value in common, from `head` on.", "heads"),
    Column("position", "text", "Output position, position of a prompt (from 0), or what it is pooled over."),
    Column("site", "text", "Hook point of the activation."),
    Column("metric", "text", "What was measured."),
    Column("distribution", "text", "Distribution of prompts that outputs are compared on."),
    Column("strategy", "text", "Closed-form predictor whose weight it is."),
    Column("statistic", "text", "What of the attention is taken: mass, argmax share, or inner product."),
    Column("test_statistic", "number", "Statistic of a test of the circuit whose p value is `value`."),
    Column("algorithm", "text", "Family of algorithms that a row compares with, or what was concluded."),
    Column("k", "count", "Step of that algorithm.", "steps"),
    Column("member", "text", "Member of the family, with its sizes."),
    Column("target", "text", "What is read out, or the output that a metric is taken of."),
    Column("control", "text", "none for the measurement itself; otherwise the control or reference level."),
    Column("split", "text", "Prompts that were scored."),
    Column("readout", "text", "Output position that the readout was fitted on, or all of them."),
    Column("value", "number", "The measurement, in `unit`."),
    Column("unit", "text", "Unit of `value` and of its limits."),
    Column("ci_low", "number", "Lower limit of the 95% interval.", "that of `value`"),
    Column("ci_high", "number", "Upper limit of the 95% interval.", "that of `value`"),
    Column("n", "count", "What the interval is over: prompts, draws, chains or seeds."),
    Column("note", "text", "A remark on the row; empty where there is none."),
    Column("chain", "text", "The chain whose links attend: queried, rival, or all."),
    Column("row", "text", "Link that attends."),
    Column("column", "text", "Link that is attended to."),
    Column("role", "text", "Role of the head; empty where it has none."),
    Column("score", "number", "Attention on the relation of the role.", "share of the row"),
    Column("threshold", "number", "What a curve or score has to reach.", "that of what it is compared with"),
    Column(
        "with_peers_ablated",
        "number",
        "Ablation effect once the other heads of the role are ablated.",
        "share",
    ),
    Column("verdict", "text", "What is concluded of a head or of a readout."),
    Column("families", "text", "Families that the verdict is about."),
    Column("members", "text", "Heads that were ablated together, by name."),
    Column("component", "text", "Component that writes into the residual stream, such as L0H1 or embed."),
    Column("relation", "text", "Relation between positions, whose pairs are attended along."),
    Column("query", "text", "Component whose part of the query it is."),
    Column("key", "text", "Component whose part of the key it is."),
    Column("sender", "text", "Component that writes, such as L0H1."),
    Column("receiver", "text", "Component, or input of one, that reads, such as L1H0.q."),
    Column("random", "number", "The same of random weights of the same shapes.", "that of `value`"),
    Column("random_high", "number", "Largest of the random draws.", "that of `value`"),
    Column("excess", "number", "`value` less `random`.", "that of `value`"),
    Column("largest", "number", "Largest modulus of an eigenvalue."),
    Column("free_misfit", "number", "Misfit of any function of the eigenvalues.", "share of the outputs"),
    Column("free_low", "number", "Lower limit of `free_misfit`.", "share of the outputs"),
    Column("free_high", "number", "Upper limit of `free_misfit`.", "share of the outputs"),
    Column("eigenvalue", "number", "Eigenvalue of X'X / t at which a filter is read."),
    Column("misfit", "number", "Misfit of the family that the curve belongs to.", "share of the outputs"),
    Column("draw", "index", "Which random direction; -1 for the probe's own."),
    Column(
        "draw *",
        "replicate",
        "Bootstrap replicate of the curve's value; one draw is one replicate of the run.",
    ),
    Column("decoded", "number", "Squared correlation of a part's reading with the iterate.", "share"),
    Column(
        "use",
        "text",
        "Whether the direction is used: used, not used, not read by any later module, not decoded.",
    ),
    Column("partner", "text", "Head with which the head cancels or is redundant; empty where there is none."),
    Column("r2", "number", "How well the probe reads its iterate, on prompts it has not seen.", "share"),
    Column("norm_before", "number", "Mean norm of the activation at the site.", "activation"),
    Column("norm_after", "number", "Mean norm of what was put in.", "activation"),
    Column("norm_change", "number", "Mean norm of the change.", "activation"),
    Column("raw", "number", "Mean of the metric on the patched run, in `raw_unit`."),
    Column("raw_unit", "text", "Unit of `raw`."),
    Column("direction", "text", "denoise: clean into corrupt; noise: corrupt or ablated into clean."),
    Column("replacement", "text", "What the site takes on: the pair's value, or an ablation."),
    Column("pair", "text", "Kind of clean and corrupt pair."),
    Column("edges", "count", "Edges of the circuit.", "edges"),
    Column("heads", "count", "Heads that write into the circuit.", "heads"),
    Column("exact", "number", "Exact effect of an edge that was estimated.", "that of `value`"),
    Column(
        "checked", "text", "Why an edge was run exactly as well: random or largest; empty where it was not."
    ),
    Column("method", "text", "Attribution method of an estimate; over seeds, what the limits are."),
    Column("correlation", "number", "Pearson's r of the estimate with exact effects of random edges."),
    Column(
        "completeness_error", "number", "Completeness error of an estimate.", "share of the loss difference"
    ),
    Column("ig_steps", "count", "Steps of integrated gradients; 0 for one gradient.", "steps"),
    Column("stride", "count", "Steps to the next checkpoint, which smoothness is taken towards.", "steps"),
    Column("gamma", "number", "Pull of the chains back to the checkpoint, 1 / variance."),
    Column("step_size", "number", "Step size of the chains."),
    Column("subject", "text", "Output position, head, edge or measure whose onset it is."),
    Column("before", "count", "Last checkpoint before the onset.", "steps"),
    Column("half", "number", "Step of the half-rise.", "steps"),
    Column("width", "number", "From 10% to 90% of the rise.", "steps"),
    Column("state", "text", "emerged, transient or not emerged."),
    Column("first_rise", "count", "First checkpoint over the threshold.", "steps"),
    Column("first_loss", "count", "Checkpoint at which an earlier rise was lost.", "steps"),
    Column("last", "count", "Last checkpoint that was measured.", "steps"),
    Column("edge", "number", "Largest outgoing edge of a head in the circuit.", "share of the behaviour"),
    Column("effect", "number", "Ablation effect of the head.", "share of all heads' effect"),
    Column("found", "text", "Whether a head is in the circuit and has a role, in words."),
    Column(
        "chance", "number", "Share of heads that would agree if circuit and roles were independent.", "share"
    ),
    Column("rank", "count", "Over seeds: place of a head in its own run, 1 the highest value."),
)
BY_NAME = {column.name: column for column in COLUMNS}
RESULTS: dict[str, tuple[str, ...]] = {  # tables that are made of others and not kept
    "emergence": (
        *(
            "subject",
            "metric",
            "position",
            "layer",
            "head",
            "threshold",
            "before",
            "step",
            "ci_low",
            "ci_high",
        ),
        *("half", "width", "state", "first_rise", "first_loss", "last"),
    ),
    "metrics": ("step", "split", "metric", "position", "value"),
    "agreement": (
        *(
            "layer",
            "head",
            "value",
            "edge",
            "role",
            "score",
            "effect",
            "verdict",
            "partner",
            "found",
            "metric",
            "control",
        ),
        *("chance", "step"),
    ),
}


def column(name: str) -> Column | None:
    """The column of a name; None where the name is not ours. Replicates are numbered: "draw 0", "draw 1", ...

    >>> column("draw 12").kind, column("layer").kind, column("mine")
    ('replicate', 'index', None)
    """
    front, _, number = name.partition(" ")
    return BY_NAME.get("draw *" if front == "draw" and number.isdecimal() else name)
