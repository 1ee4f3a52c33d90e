"""What a page is made of: plain data about one run, checked before it is drawn.

Tables are long pandas DataFrames (one row a measurement). `step` is a training step, `value` is in the unit its label
names, `ci_low`/`ci_high` are 95% confidence limits. A table that is `None` leaves its section out; `missing` may hold
the reason. Attention rows are destinations (queries), columns are sources (keys).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.report.sketch import Sketch
from tasks.errors import UserError

MAKES = " · "  # between a command and the table that it makes, in a section's source
REQUIRED = {
    "metrics": ("step", "loss"),
    "scores": ("step", "position", "metric", "value"),
    "levels": ("level", "metric", "position", "value"),
    "heads": ("step", "layer", "head", "metric", "value"),
    "probes": ("step", "site", "metric", "value"),
    "emergence": ("subject", "metric", "step"),
    "patching": ("step", "grid", "pair", "layer", "column", "value"),
    "faithfulness": ("metric", "control", "value"),
    "weights": ("step", "layer", "head", "metric", "value"),
    "algorithms": ("step", "site", "metric", "algorithm", "value"),
    "filters": ("step", "site", "algorithm", "value"),
}


@dataclass(frozen=True)
class Fact:
    """One line of provenance, such as ("optimiser", "learning rate", "0.02")."""

    group: str
    name: str
    value: str


@dataclass(frozen=True)
class DrawnLink:
    """One pair of positions whose attention has a known meaning: row `dest` should attend to column `source`."""

    relation: str
    dest: int
    source: int


@dataclass(frozen=True)
class DrawnAttention:
    """Attention of every head over one prompt at several checkpoints.

    `signed` marks attention without a softmax, whose weights may be negative and need not sum to 1; otherwise every
    weight lies in [0, 1]. `causal` greys the sources to the right of a destination. `note` is a sentence on
    what to look for.
    """

    name: str
    tokens: tuple[str, ...]
    steps: tuple[int, ...]
    pattern: Float[np.ndarray, "step layer head dest src"]
    signed: bool = False
    causal: bool = True
    links: tuple[DrawnLink, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        steps, _, _, dest, src = self.pattern.shape
        if not dest == src == len(self.tokens) or steps != len(self.steps):
            raise UserError(
                f"attention {self.name!r}: pattern of shape {self.pattern.shape} does not fit"
                f" {len(self.steps)} steps and {len(self.tokens)} tokens; give one row and column a token"
            )
        for link in self.links:
            if not (0 <= link.dest < dest and 0 <= link.source < src):
                raise UserError(f"attention {self.name!r}: {link} is outside a prompt of {dest} tokens")


@dataclass(frozen=True)
class Node:
    """A node of the circuit: an input "token", a "head" or "mlp" that writes at a position, or the "output".

    `name` is what edges call it; `head` counts only for heads, `layer` for heads and MLPs. `role` is written above it.
    """

    name: str
    kind: Literal["token", "head", "mlp", "output"]
    position: int
    layer: int = 0
    head: int = 0
    role: str = ""


@dataclass(frozen=True)
class DrawnCircuit:
    """Which nodes act on which, and how strongly, at each checkpoint.

    `edges`: `source, target` (names of nodes), `step`, `value` (the causal effect in `unit`; a positive one serves the
    answer) and, where known, `ci_low, ci_high`. `tokens` labels every position of the prompt; `chain` names the
    positions along the chain to the answer, in order ("query", "link 1", ...). With `columns`, `tokens` are names of
    columns, in which nodes stand that belong to no position.
    """

    tokens: tuple[str, ...]
    nodes: tuple[Node, ...]
    edges: pd.DataFrame
    unit: str = "effect"
    chain: tuple[tuple[str, int], ...] = ()
    columns: bool = False

    def __post_init__(self) -> None:
        names = [node.name for node in self.nodes]
        if len(set(names)) < len(names):
            raise UserError(f"circuit: two nodes have one name among {sorted(names)}")
        lacking = [c for c in ("source", "target", "step", "value") if c not in self.edges.columns]
        if lacking:
            raise UserError(f"circuit: the edges lack the columns {lacking}; add them")
        endpoints = {str(end) for column in ("source", "target") for end in self.edges[column]}
        if unknown := sorted(endpoints - set(names)):
            raise UserError(f"circuit: edges name the nodes {unknown}, which are not among its nodes")
        if outside := [n.name for n in self.nodes if not 0 <= n.position < len(self.tokens)]:
            raise UserError(f"circuit: nodes {outside} stand outside a prompt of {len(self.tokens)} tokens")


@dataclass(frozen=True)
class RunReport:
    """Everything a page reports about one run.

    title, verdict: the run's name, and one paragraph on what was trained and how well it performs.
    answers: the main questions, each with its answer in words; `sketch` is the picture beside them.
    condition: the settings without the seeds; runs of one condition are averaged when runs are compared.
    outputs: the kind of task and its output positions; runs of one kind that share an output position are compared.
    facts: provenance (configuration, seeds, optimiser, hashes, versions, command), grouped in the order given.
    steps: the checkpoints the slider stops at, ascending.
    metrics: one row a logged step; `step`, `loss` and any other column whose name holds "loss".
    scores: per output position; `step, position, metric, value[, ci_low, ci_high]`.
    levels: references; `level` ("bayes_risk", the Bayes risk, or "chance"), `metric` ("loss" or one of the
        scores'), `position`, `value`.
    heads: `step, layer, head, metric (the relation), value[, ci_low, ci_high, control]`.
    probes: `step, site, metric, value[, control, target, algorithm, position, ci_low, ci_high]`.
    emergence: `subject, metric, step[, ci_low, ci_high]`, or `before`, the last checkpoint at which it had not
        emerged, in place of an interval; a missing step means right-censored: not by the last checkpoint.
    patching: `step, grid` (what is patched), `pair, layer, column` (head or position), `value[, ci_low, ci_high]`.
    faithfulness: the rows of the circuit's evaluation, `metric, control, value[, ci_low, ci_high, edges]`.
    weights: `step, layer, head, metric, value[, sender, random]`.
    algorithms, filters: the tables of `AlgorithmMatch` and `FilterCurves`.
    lower_is_better: the metrics that are errors, so that a strong colour always means a good score.
    labels: a metric's axis title with its unit, such as {"loss": "squared error / label variance"}.
    identity: what the run is, wherever it lies; pages of equal identity are copies of one run ("": not known).
    reasons: why a level is what it is, in the task's words, by level ("chance", "bayes_risk").
    findings: what a section's figure shows, as one or two sentences (`interp.analysis.conclusion`), by section.
    sources: for a section, the command and the table its figure came from; `made` the same for all, one row a table.
    missing: for a section whose table is None, why (one line).
    """

    title: str
    verdict: str
    steps: tuple[int, ...]
    answers: Mapping[str, str] = field(default_factory=dict)
    sketch: Sketch | None = None
    condition: str = ""
    identity: str = ""
    outputs: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    metrics: pd.DataFrame | None = None
    scores: pd.DataFrame | None = None
    levels: pd.DataFrame | None = None
    heads: pd.DataFrame | None = None
    probes: pd.DataFrame | None = None
    emergence: pd.DataFrame | None = None
    attention: tuple[DrawnAttention, ...] = ()
    circuit: DrawnCircuit | None = None
    patching: pd.DataFrame | None = None
    faithfulness: pd.DataFrame | None = None
    weights: pd.DataFrame | None = None
    algorithms: pd.DataFrame | None = None
    filters: pd.DataFrame | None = None
    lower_is_better: tuple[str, ...] = ("loss",)
    labels: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    findings: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    made: tuple[tuple[str, str, str], ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.steps or list(self.steps) != sorted(set(self.steps)):
            raise UserError(f"report of {self.title!r}: steps must be at least one, ascending, each once")
        for name, columns in REQUIRED.items():
            table = getattr(self, name)
            lacking = [] if table is None else [c for c in columns if c not in table.columns]
            if lacking:
                raise UserError(
                    f"report of {self.title!r}: table {name!r} lacks the columns {lacking}; add them"
                )

    def table(self, name: str) -> pd.DataFrame | None:
        """The named table, or None when it is absent or empty."""
        table = getattr(self, name)
        return None if table is None or table.empty else table
