"""What `interp heads` and `interp emergence` measure for each view, and the tables they print of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from interp.analysis.base import Progress
from interp.analysis.result import Result
from interp.cli.wide import best_heads, every_head, head_levels, short_relation
from interp.emergence.choices import Of
from interp.run import Run
from tasks.errors import UserError

Tables = list[tuple[str, pd.DataFrame]]
MOST_PAIRS = 12


def measured(run: Run, view: str, steps: Any, advance: Progress | None) -> Result:
    """The rows of a view. Raises UserError where the run has nothing of the kind."""
    asked = {
        "relations": run.heads, "chain": run.chain, "patterns": run.patterns, "roles": run.roles,
        "circuits": run.mechanism, "composition": run.composition,
    }  # fmt: skip
    return asked[view](steps, advance)


def shown(view: str, table: pd.DataFrame, layers: bool) -> Tables:
    """Titles and tables of a view."""
    if view == "relations":
        first = (
            ("attention of every head at the last of the steps", every_head(table))
            if layers
            else ("highest-scoring head on each relation, by checkpoint", best_heads(table))
        )
        return [first, ("what to compare with", head_levels(table))]
    last = table[table["step"] == table["step"].max()]
    at = f"step {last['step'].iloc[0]}"
    return {"chain": _chain, "patterns": _patterns, "roles": _roles, "circuits": _circuits,
            "composition": _composition}[view](table, last, at)  # fmt: skip


def _chain(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    """Where the query looks, by mass and by argmax, and how links look at each other."""
    own = last[last["control"] == "none"]
    cells = own[(own["chain"] == "queried") & (own["row"] == "query") & (own["column"] != "query")]
    found = []
    for metric, title in (("attention", "attention"), ("argmax", "largest weight, share of prompts")):
        rows = cells[cells["metric"] == metric]
        found.append((f"{at}: {title} from the query to each link", _by_head(rows, "column")))
    along = own[own["chain"] == "all"]
    return [*found, (f"{at}: from link to link, all chains", _by_head(along, "metric"))]


def _by_head(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    wide = rows.pivot(index=["layer", "head"], columns=column, values="value")[
        list(dict.fromkeys(rows[column]))
    ]
    return wide.round(2).reset_index().rename_axis(columns=None)


def _patterns(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    own = last[last["control"] == "none"]
    twin = table[table["control"] == "untrained"]
    best = twin.groupby("metric", sort=False)["value"].agg(["min", "max"]).reset_index()
    return [(f"{at}: every head", _by_head(own, "metric")), ("heads of the untrained twin", best)]


def _roles(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    """Every head at the last step; over checkpoints how many heads of each verdict there are."""
    names = {"value": "effect", "ci_low": "low", "ci_high": "high"}
    columns = ["layer", "head", "role", "score", "value", "ci_low", "ci_high", "without_peers", "verdict"]
    every = last[columns].rename(columns=names).assign(role=last["role"].map(short_relation))
    found: Tables = [(f"{at}: roles by score, worth by ablation", every)]
    if table["step"].nunique() > 1:
        counts = table.pivot_table(
            index="step", columns="verdict", values="head", aggfunc="count", fill_value=0
        )
        found.append(("heads of each verdict, by checkpoint", counts.reset_index().rename_axis(columns=None)))
    return found


def _circuits(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    from interp.heads.mechanism import named_circuit

    named = named_circuit(table).drop(columns=["run", "seed"], errors="ignore")
    sides = last[last["metric"] != "circuit"][["position", "metric", "value", "ci_low", "ci_high", "heads"]]
    title = f"{at}: effect of ablating the heads on the hop's link, and those that read ahead"
    return [("the circuit that answers each hop, by checkpoint", named), (title, sides)]


def _composition(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    """Largest excess of each kind by checkpoint, and the pairs behind it at the last."""
    top = table.pivot_table(index="step", columns="metric", values="excess", aggfunc="max", sort=False)
    pairs = last.nlargest(MOST_PAIRS, "excess")[
        ["sender", "receiver", "metric", "value", "random_high", "excess"]
    ]
    by_step = top.reset_index().rename_axis(columns=None)
    return [("largest excess of any pair, by checkpoint", by_step), (f"{at}: pairs of largest excess", pairs)]


def edge_onsets(table: pd.DataFrame) -> pd.DataFrame:
    """One line an edge: when it first mattered, or that it alone never did."""
    late = "not by " + table["last"].astype(str)
    step = table["step"].astype(object).where(table["step"].notna(), late)
    step = step.where(table["state"] != "transient", "came and went")
    ends = zip(table["ci_low"], table["ci_high"], strict=True)
    between = [f"({low:.0f}, {high:.0f}]" if pd.notna(low) else "" for low, high in ends]
    return table[["subject"]].rename(columns={"subject": "edge"}).assign(step=step, between=between)


def seeds(runs: Sequence[Run], of: Of, steps: str, advance: Progress | None) -> dict[str, pd.DataFrame]:
    """Events of several runs, their medians, and which precedes which. Raises UserError for runs whose
    checkpoints differ where both were watched.
    """
    from interp.emergence import curriculum

    _refuse_other_schedules(runs)
    found = curriculum.events({run.name: run.emergence(steps, advance, of=of).table for run in runs})
    hops = [name for name in dict.fromkeys(found["event"]) if re.fullmatch(r"hop \d+", str(name))]
    medians = curriculum.over_seeds(found).assign(event=lambda t: t["event"].map(short_relation))
    tables = {"events": found, "onset of each event, median over runs": medians.drop(columns=["method"])}
    if len(hops) > 1:
        hops = sorted(hops, key=lambda name: int(str(name).split()[1]))
        tables["order of the hops"] = curriculum.order(found, hops)
        tables["which precedes which"] = curriculum.precedence(found, hops)
    if of == "landscape":
        tables["which precedes which"] = curriculum.precedence(found)
    return tables


def _refuse_other_schedules(runs: Sequence[Run]) -> None:
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise UserError(
            f"two runs are called {max(names, key=names.count)!r}: runs are told apart by their folder's name"
        )
    for run in runs[1:]:
        both = min(runs[0].steps[-1], run.steps[-1])
        seen = [[step for step in each.steps if step <= both] for each in (runs[0], run)]
        if seen[0] != seen[1]:
            odd = min(set(seen[0]) ^ set(seen[1]))
            raise UserError(
                f"{runs[0].path} and {run.path}: different checkpoints (step {odd} is in one alone); onsets over"
                " seeds need one schedule"
            )
