"""The circuit among the strongest nodes of a large model, as its page shows it: found if it was searched before.

Such a search takes minutes to an hour, so a page does not begin one: it looks for a table of `interp circuit --nodes`
that holds the last checkpoint. Heads stand in the column of their number, MLPs in a column of their own, and heads that
attend along a relation of the task bear its name.
"""

from __future__ import annotations

import shlex
from typing import Any

import pandas as pd

from interp.analysis.conclusion import Sentence
from interp.analysis.kept import opened
from interp.analysis.registry import build
from interp.causal.curve import is_head
from interp.causal.graph import owners
from interp.causal.over_training import CircuitSearch
from interp.io.tables import read_table
from interp.report.model import DrawnCircuit, Node
from interp.run import Run
from tasks.errors import UserError

ATTENDS = 0.3  # least attention of a head that bears the name of a relation


def searched(run: Run) -> CircuitSearch | None:
    """The search among the strongest nodes whose table holds the last checkpoint, of several that with most prompts."""
    found = []
    for path in sorted(run.folder.analysis_path.glob("circuit-*.parquet")):
        try:
            table = read_table(path)
            settings = {} if table is None else table[1].settings
            asked = build("circuit", **settings) if settings.get("nodes") else None
        except UserError:  # damaged, or of a function that is not at hand: it is not shown
            continue
        if isinstance(asked, CircuitSearch) and run.steps[-1] in opened(run, asked).hashes:
            found.append(asked)
    return max(found, key=lambda each: (each.prompts, each.nodes, each.key), default=None)


def command(run: Run, search: CircuitSearch) -> str:
    """The command line that makes the table of a search."""
    asked = {"pair": search.pair, "output": search.output}
    more = [f"--{name} {shlex.quote(value)}" for name, value in asked.items() if isinstance(value, str)]
    more += (
        [f"--faithfulness {search.faithfulness:g}"]
        if search.faithfulness != CircuitSearch().faithfulness
        else []
    )
    words = " ".join([f"--nodes {search.nodes}", f"--prompts {search.prompts}", *more])
    return f"interp circuit {shlex.quote(str(run.path))} {words}"


def is_among(table: pd.DataFrame | None) -> bool:
    """Whether a table of a circuit is of edges among some nodes."""
    return table is not None and bool((table["metric"] == "node").any())


def roles_of(heads: pd.DataFrame, step: int) -> dict[str, tuple[str, float]]:
    """The relation that each head attends to most, with its attention, of heads that attend to one at all."""
    own = heads[(heads["control"] == "none") & (heads["step"] == step) & (heads["value"] >= ATTENDS)]
    ordered = own.sort_values("value", kind="stable")
    return {
        f"L{row['layer']:.0f}H{row['head']:.0f}": (str(row["metric"]), float(row["value"]))
        for row in ordered.to_dict("records")
    }


def named(found: pd.DataFrame, heads: pd.DataFrame | None, step: int) -> list[Sentence]:
    """The heads of the circuit by the relation that they attend along."""
    if heads is None or not is_among(found):
        return []
    edges = found[found["metric"] == "edge"]
    inside, by_role = {s for s in edges["sender"].astype(str) if is_head(s)}, {}
    for head, (role, value) in sorted(roles_of(heads, step).items(), key=lambda item: -item[1][1]):
        if head in inside:
            by_role.setdefault(role, []).append(f"{head} ({value:.2f})")
    if not by_role:
        return [Sentence("None of its heads attends along a relation of the task.")]
    parts = [f"{role} {', '.join(names)}" for role, names in by_role.items()]
    return [Sentence(f"Its heads by what they attend to: {'; '.join(parts)}.")]


def drawn_among(found: pd.DataFrame, heads: pd.DataFrame, n_heads: int, step: int) -> DrawnCircuit:
    """The circuit to draw: heads by layer and number, MLPs beside them."""
    nodes = {str(name) for name in found.loc[found["metric"] == "node", "sender"]}
    rows = []
    for edge in found[found["metric"] == "edge"].itertuples():
        sender, receiver = str(edge.sender), str(edge.receiver)
        into = ["output"] if receiver == "output" else sorted(owners(receiver) & nodes)
        source = "embedding" if sender == "embed" else sender.partition(".")[0]
        rows += [
            {"source": source, "target": t.partition(".")[0], "step": step, "value": edge.value} for t in into
        ]
    every = pd.DataFrame(rows)
    strongest = every.loc[every.groupby(["source", "target"])["value"].idxmax()].reset_index(drop=True)
    roles = roles_of(heads, step)
    names = dict.fromkeys([*strongest["source"], *strongest["target"]])
    columns = ("embedding", *(f"head {i}" for i in range(n_heads)), "MLP")
    placed = tuple(_node(str(name), n_heads, roles) for name in names)
    return DrawnCircuit(columns, placed, strongest, "share of the behaviour", columns=True)


def _node(name: str, n_heads: int, roles: dict[str, tuple[str, float]]) -> Node:
    if name == "embedding":
        return Node(name, "token", 0)
    if name == "output":
        return Node(name, "output", (n_heads + 1) // 2)
    layer, _, head = name[1:].partition("H")
    if not head:
        return Node(name, "mlp", n_heads + 1, int(layer))
    return Node(name, "head", 1 + int(head), int(layer), int(head), roles.get(name, ("", 0.0))[0])


def sources_among(run: Run) -> dict[str, Any]:
    """The command and the table behind the circuit's figures; nothing where none was searched."""
    search = searched(run)
    return {} if search is None else {"command": command(run, search), "table": search.table_name}
