"""What the tables of interventions say: which sites carry the answer, and how much of it a circuit carries."""

from __future__ import annotations

import pandas as pd

from interp.analysis.conclusion import (
    Sentence,
    at,
    capital,
    few,
    figures,
    interval,
    measured,
    significant,
)
from interp.causal.random_circuits import ALONE
from interp.causal.report_lines import against_random, heads_in, heads_line, size_line, test_lines

MOST_PATHS, MOST_SITES = 3, 3
LEAST = 0.05  # normalised effect of a path that is named by itself
SLOTS = {"q": "queries", "k": "keys", "v": "values"}


def patch(table: pd.DataFrame) -> list[Sentence]:
    """The sites of largest effect, or that there was no behaviour to restore."""
    own = measured(table)
    shown = own.dropna(subset=["value"])
    if shown.empty:
        return [Sentence(f"{at(own)}: {own['note'].iloc[0]}.")] if len(own) else []
    several = own["position"].nunique() > 1
    sure = shown[significant(shown)]
    ordered = sure.loc[sure["value"].abs().sort_values(ascending=False, kind="stable").index]
    scale = f"normalised effect, pair {shown['pair'].iloc[0]}"
    if ordered.empty:
        top = shown.loc[shown["value"].abs().idxmax()]
        text = f"no site has a significant effect ({scale}); largest: {_site(top, several)}, {interval(top)}"
        return [Sentence(f"{at(own)}: {text}.", figures(top))]
    parts = [f"{_site(row, several)} {interval(row)}" for _, row in ordered.head(MOST_SITES).iterrows()]
    beyond = shown["value"].abs().max() > abs(float(ordered["value"].iloc[0]))
    text = (
        f"largest {'significant ' if beyond else ''}{scale}: {', '.join(parts)}; {len(sure)} of {len(shown)} sites "
        "have a significant one (Holm, 5%)"
    )
    return [Sentence(f"{at(own)}: {text}.", {**figures(ordered.iloc[0]), "significant": float(len(sure))})]


def _site(row: pd.Series, several: bool) -> str:
    """A site by layer, head and position."""
    layer, head = int(row["layer"]), int(row["head"])
    place = "" if layer < 0 else f"L{layer}" + (f"H{head}" if head >= 0 else "")
    where = f"position {row['position']}" if several else ""
    return " at ".join(part for part in (place, where) if part) or str(row["site"])


def circuit(table: pd.DataFrame) -> list[Sentence]:
    """Size and faithfulness against matched random circuits, what its tests report, and paths between heads."""
    last = table[table["step"] == table["step"].max()]
    edges = last[last["metric"] == "edge"]
    if edges["value"].isna().all():
        why = edges["note"].iloc[0] if len(edges) else "no edge was found"
        return [Sentence(f"{at(last)}: no circuit: {why}.")]
    return [*_faithful(last, len(edges)), *_sizes(last), *_tests(last), *paths(last), *_known(last)]


def _faithful(last: pd.DataFrame, edges: int) -> list[Sentence]:
    """How much of the behaviour the circuit carries on prompts that it was not searched on."""
    rows = last[last["metric"] == "faithfulness"]
    own = rows[rows["control"] == "none"]
    heads = len(heads_in(last))
    through = f"{_count(edges, 'edge')} through {_count(heads, 'head')}"
    apart = int((last["metric"] == "node").sum())
    among = f" among the {apart} strongest heads and MLPs" if apart else ""
    text = f"{at(last)}: circuit of {through}{among}"
    if own.empty:
        return [Sentence(f"{text}; its faithfulness was not measured.", {"edges": float(edges)})]
    row = own.iloc[0]
    text += f": faithfulness {interval(row)} on held-out prompts under resample ablation"
    found = {"edges": float(edges), "heads": float(heads), **figures(row, "faithfulness")}
    drawn = rows[rows["control"] == "random"]["value"]
    against = against_random(last, "")
    if len(drawn) and against != ALONE:
        found |= {"random, median": float(drawn.median()), "random, maximum": float(drawn.max())}
    return [Sentence(f"{text}{f'; {against}' if against else ''}.", found), *_kept(last)]


def _kept(last: pd.DataFrame) -> list[Sentence]:
    """What is left without any edge among the nodes that were kept apart, which is 0 on the circuit's scale."""
    rows = last[last["metric"] == "kept"]
    if rows.empty:
        return []
    row = rows.iloc[0]
    text = f"0 on this scale is the run without any edge among them, which keeps {interval(row)} of the behaviour."
    return [Sentence(text, figures(row, "kept"))]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _sizes(last: pd.DataFrame) -> list[Sentence]:
    """Edges needed for other shares, and whether the circuit distinguishes heads."""
    lines = (size_line(last), heads_line(last))
    return [Sentence(f"{capital(line)}.") for line in lines if line]


def _tests(last: pd.DataFrame) -> list[Sentence]:
    rows = last[last["metric"].isin(("equivalence test", "independence test"))]
    found = {f"{row.metric}, p": float(row.value) for row in rows.itertuples()}
    return [Sentence(f"{capital(line)}.", found) for line in test_lines(last)]


def _known(last: pd.DataFrame) -> list[Sentence]:
    """Precision and recall where the circuit was compared with a known one."""
    rows = last[last["metric"].isin(("edge precision", "edge recall"))].dropna(subset=["value"])
    if rows.empty:
        return []
    found = {str(row.metric): float(row.value) for row in rows.itertuples()}
    parts = [f"{name} {value:.2f}" for name, value in found.items()]
    return [Sentence(f"Compared with the known circuit: {', '.join(parts)}.", found)]


def paths(table: pd.DataFrame) -> list[Sentence]:
    """The largest edges between heads in the circuit at the last checkpoint, with the effect of patching each alone."""
    edges = table[(table["metric"] == "edge") & (table["control"] == "none")]
    if edges.empty:
        return []
    last = edges[edges["step"] == edges["step"].max()].astype({"sender": str, "receiver": str})
    between = last[
        last["sender"].str.fullmatch(r"L\d+H\d+") & last["receiver"].str.fullmatch(r"L\d+H\d+(-\d+)?\.[qkv]")
    ]
    if between.empty:
        return [Sentence("No edge of the circuit leads from one head into another.")]
    largest = between.sort_values("value", key=abs, ascending=False).head(MOST_PATHS)
    found = {f"{row.sender} -> {row.receiver}": float(row.value) for row in largest.itertuples()}
    if largest["value"].abs().max() < LEAST:
        best = largest.iloc[0]
        text = (
            f"None of {len(between)} paths between heads has a normalised effect of {LEAST:g} by itself (largest: "
            f"{best['sender']} into the {_slot(str(best['receiver']))}, {best['value']:.2f})."
        )
        return [Sentence(text, found)]
    named = [
        f"{row.sender} into the {_slot(str(row.receiver))} ({row.value:.2f})" for row in largest.itertuples()
    ]
    more = f" and {len(between) - MOST_PATHS} more" if len(between) > MOST_PATHS else ""
    text = f"Heads stacked on one another, with the normalised effect of each path alone: {', '.join(named)}{more}."
    return [Sentence(text, found)]


def _slot(receiver: str) -> str:
    name, _, slot = receiver.partition(".")
    return f"{SLOTS[slot]} of {name}"


def edges(table: pd.DataFrame) -> list[Sentence]:
    """How many edges have an effect by themselves at the last checkpoint, and the largest ones."""
    own = measured(table)
    shown = own.dropna(subset=["value"])
    if shown.empty:
        return [Sentence(f"{at(own)}: {own['note'].iloc[0]}.")] if len(own) else []
    sure = shown[significant(shown)]
    ordered = shown.loc[shown["value"].abs().sort_values(ascending=False, kind="stable").index].head(3)
    parts = [f"{row.sender} -> {row.receiver} {interval(row)}" for row in ordered.itertuples()]
    text = (
        f"{len(sure)} of {len(shown)} edges have a significant ablation effect by themselves (Holm, 5%); largest: "
        f"{few(parts)}"
    )
    return [Sentence(f"{at(own)}: {text}.", {**figures(ordered.iloc[0]), "significant": float(len(sure))})]
