"""The tables that `interp heads` and `interp emergence` print of each view."""

from __future__ import annotations

import pandas as pd

from interp.cli.wide import best_heads, every_head, head_levels, relation_label

Tables = list[tuple[str, pd.DataFrame]]
MOST_PAIRS = 12
ARROW = "a -> b: attention from position a to position b"
LINKS = "link k: the pair that answers hop k; rival: links of chains that are not queried"
CACHED = {
    "relations": "heads", "statistics": "head-statistics", "chain": "chain", "roles": "roles", "circuits": "mechanism",
    "composition": "composition",
}  # fmt: skip # the analyses of views, which may be at hand (`interp.analysis.cached`)


def legend(table: pd.DataFrame) -> str:
    """What the names of relations in a table mean; "" where there is none."""
    names = " ".join(
        map(str, pd.unique(table[[c for c in ("metric", "role") if c in table]].to_numpy().ravel()))
    )
    parts = [ARROW] if " -> " in names else []
    return "; ".join([*parts, *([LINKS] if "link_" in names else [])]) + ("." if parts else "")


def shown(view: str, table: pd.DataFrame, layers: bool) -> Tables:
    """Titles and tables of a view."""
    if view == "relations":
        first = (
            ("attention of every head at the last step", every_head(table))
            if layers
            else ("highest-scoring head on each relation, by checkpoint", best_heads(table))
        )
        return [first, ("controls", head_levels(table))]
    last = table[table["step"] == table["step"].max()]
    at = f"step {last['step'].iloc[0]:.0f}"
    return {"chain": _chain, "statistics": _statistics, "patterns": _patterns, "roles": _roles, "circuits": _circuits,
            "growth": _growth, "damage": _damage, "composition": _composition,
            "attribution": _attribution}[view](table, last, at)  # fmt: skip


def _chain(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    """Where the query attends, by mass and by argmax, and how links attend to each other."""
    own = last[last["control"] == "none"]
    cells = own[(own["chain"] == "queried") & (own["row"] == "query") & (own["column"] != "query")]
    found = []
    for metric, title in (("attention", "attention"), ("argmax", "largest weight, share of prompts")):
        rows = cells[cells["metric"] == metric]
        found.append((f"{at}: {title} from the query to each link", _by_head(rows, "column")))
    along = own[own["chain"] == "all"]
    return [*found, (f"{at}: from link to link, all chains", _by_head(along, "metric"))]


def _statistics(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    """A table a statistic at the last step, and the chance levels with the untrained model's best heads."""
    own = last[last["control"] == "none"].assign(metric=lambda rows: rows["metric"].map(relation_label))
    found = [
        (f"{at}: {name}", _by_head(rows, "metric")) for name, rows in own.groupby("statistic", sort=False)
    ]
    levels = table[table["control"] != "none"].pivot_table(
        index=["control", "statistic"], columns="metric", values="value", aggfunc="max", sort=False
    )
    levels = levels.rename(columns=relation_label).round(2).reset_index().rename_axis(columns=None)
    return [*found, ("uniform attention (chance), and the best head of the untrained model", levels)]


def _by_head(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    wide = rows.pivot(index=["layer", "head"], columns=column, values="value")[
        list(dict.fromkeys(rows[column]))
    ].rename(columns=relation_label)
    return wide.round(2).reset_index().rename_axis(columns=None)


def _patterns(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    own = last[last["control"] == "none"]
    untrained = table[table["control"] == "untrained"]
    best = untrained.groupby("metric", sort=False)["value"].agg(["min", "max"]).reset_index()
    return [(f"{at}: every head", _by_head(own, "metric")), ("heads of the untrained model", best)]


def _roles(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    """Every head at the last step; over checkpoints how many heads of each verdict there are."""
    names = {"value": "effect", "ci_low": "low", "ci_high": "high"}
    columns = [
        "layer",
        "head",
        "role",
        "score",
        "value",
        "ci_low",
        "ci_high",
        "with_peers_ablated",
        "verdict",
        "partner",
    ]
    if not (last["partner"] != "").any():
        columns.remove("partner")
    every = last[columns].rename(columns=names).assign(role=last["role"].map(relation_label))
    found: Tables = [(f"{at}: roles by score, ablation effect", every)]
    if table["step"].nunique() > 1:
        counts = table.pivot_table(
            index="step", columns="verdict", values="head", aggfunc="count", fill_value=0
        )
        found.append(("heads of each verdict, by checkpoint", counts.reset_index().rename_axis(columns=None)))
    return found


def _circuits(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    from interp.heads.mechanism import identified_circuit

    named = identified_circuit(table).drop(columns=["run", "seed"], errors="ignore")
    sides = last[last["metric"] != "circuit"][["position", "metric", "value", "ci_low", "ci_high", "members"]]
    title = f"{at}: effect of ablating the heads on the hop's link, and the look-ahead heads"
    return [("the circuit that answers each hop, by checkpoint", named), (title, sides)]


def _growth(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    """The verdict at every checkpoint, and at the last one what each head reaches and what that rests on."""
    verdicts = table[table["metric"] == "verdict"]
    said = verdicts[["step", "members", "position", "note"]]
    said = said.rename(columns={"members": "verdict", "position": "furthest", "note": "because"})
    told = said.drop(columns="step").fillna("")
    said = said[(told != told.shift()).any(axis=1)].rename(columns={"step": "from step"})
    title, reasons = "how reach grows, checkpoints at which that changes", set(said["because"])
    if len(reasons) == 1:  # said once, not a line a checkpoint
        title, said = f"{title}; {reasons.pop()}".rstrip("; "), said.drop(columns="because")
    rows = last[last["metric"] != "verdict"]
    heads = "L" + rows["layer"].astype(str) + "H" + rows["head"].astype(str)
    shown = rows[["metric", "position", "members", "value", "ci_low", "ci_high"]]
    shown = shown.rename(columns={"position": "hop", "members": "from", "ci_low": "low", "ci_high": "high"})
    shown.insert(0, "head", heads)
    return [(title, said), (f"{at}: reach of heads, and effects on it", shown)]


def _damage(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    """What each head's ablation costs by the circuit and in the model, and how far the two agree."""
    agreed = table[table["metric"] == "rank correlation"][["step", "value", "ci_low", "ci_high", "n", "note"]]
    rows = last[last["metric"] != "rank correlation"].copy()
    rows["head"] = "L" + rows["layer"].astype(str) + "H" + rows["head"].astype(str)
    wide = rows.pivot_table(index="head", columns="metric", values="value").reset_index()
    wide = wide[["head", "predicted", "measured"]].sort_values("measured", ascending=False)
    title = f"{at}: damage, share of the behaviour"
    return [("rank correlation of predicted and measured damage", agreed), (title, wide)]


def _attribution(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    """Every component at the last step, largest first, beside the same for other prompts' targets."""
    own = last[last["control"] == "none"].set_index("component")
    other = last[last["control"] == "other targets"].set_index("component")["value"]
    rows = own[["value", "ci_low", "ci_high"]].assign(**{"other targets": other})
    rows = rows.sort_values("value", key=abs, ascending=False).reset_index()
    rows = rows.rename(columns={"ci_low": "low", "ci_high": "high"})
    return [
        (
            f"{at}: direct contribution to the right answer, {own['position'].iloc[0]}, {own['unit'].iloc[0]}",
            rows,
        )
    ]


def _composition(table: pd.DataFrame, last: pd.DataFrame, at: str) -> Tables:
    """Largest excess of each kind by checkpoint, and the pairs behind it at the last."""
    top = table.pivot_table(index="step", columns="metric", values="excess", aggfunc="max", sort=False)
    pairs = last.nlargest(MOST_PAIRS, "excess")[
        ["sender", "receiver", "metric", "value", "random_high", "excess"]
    ]
    by_step = top.reset_index().rename_axis(columns=None)
    return [("largest excess of any pair, by checkpoint", by_step), (f"{at}: pairs of largest excess", pairs)]
