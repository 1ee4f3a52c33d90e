"""What the tables of heads say of attention and weights: which head attends to what, beyond the untrained model."""

from __future__ import annotations

from typing import Any

import pandas as pd

from interp.analysis.conclusion import Sentence, at, few, figures, head, interval, limits, measured
from interp.pictures.labels import relation_label

HALF, NEAR = 0.5, 0.1
MOST_HEADS = 4


def heads(table: pd.DataFrame) -> list[Sentence]:
    """The heads with the most attention on each relation, relations of distractor chains left out."""
    own = measured(table)
    own = own[~own["metric"].astype(str).str.startswith("rival")]
    before = table[table["control"] == "untrained"]
    return _attention(own, before) if len(own) else []


def statistics(table: pd.DataFrame) -> list[Sentence]:
    """The same by attention mass."""
    return heads(table[table["statistic"] == "attention mass"])


def chain(table: pd.DataFrame) -> list[Sentence]:
    """Attention from the query to the links of its own chain, and from link to link."""
    asked = (table["chain"] == "queried") & (table["row"] == "query") & (table["metric"] == "attention")
    own = table[asked & table["column"].astype(str).str.startswith("link")]
    along = table[(table["chain"] == "all") & table["metric"].astype(str).str.startswith("look-ahead")]
    named = pd.concat([own.assign(metric="query -> " + own["column"].astype(str)), along])
    return heads(named) if len(named) else []


def _attention(own: pd.DataFrame, before: pd.DataFrame) -> list[Sentence]:
    """By relation the highest-scoring head, and those within `NEAR` of it; none where half of the mass is never on it.

    Signed attention has no share: its scores are compared with the untrained model's alone.
    """
    share = "unit" not in own or own["unit"].iloc[0] == "attention"
    levels = before.groupby("metric", sort=False)["value"].max()
    most = float(levels.max()) if len(levels) else float("nan")
    control = f" (untrained model: at most {most:.2f})" if len(levels) else ""
    best = own.loc[own.groupby("metric", sort=False)["value"].idxmax()]
    top = best.loc[best["value"].idxmax()]
    above = [row for row in best.itertuples() if not limits(row)[0] <= levels.get(row.metric, -1.0)]
    found = {**figures(top), "untrained": most}
    largest = f"{head(top)} on {relation_label(str(top['metric']))}, {interval(top)}"
    if not above:
        text = f"{at(own)}: no head attends to these positions significantly more than the untrained model's heads"
        return [Sentence(f"{text}; largest: {largest}{control}.", found)]
    shown = best[best["value"] >= HALF] if share else best[best["metric"].isin([row.metric for row in above])]
    if shown.empty:
        text = "no head attends with half of its mass or more to any position the task gives a meaning"
        return [Sentence(f"{at(own)}: {text}; largest: {largest}{control}.", found)]
    parts = [f"{relation_label(str(row.metric))} by {_near(own, row)}" for row in shown.itertuples()]
    found |= {f"{row.metric}": float(row.value) for row in shown.itertuples()}
    return [Sentence(f"{at(own)}: strongest attention: {'; '.join(parts)}{control}.", found)]


def _near(own: pd.DataFrame, best: Any) -> str:
    """The best head of a relation with its score, and those within `NEAR` of it by name."""
    rows = own[(own["metric"] == best.metric) & (own["value"] >= best.value - NEAR)]
    rows = rows.sort_values("value", ascending=False)
    return few([f"{head(row)} ({row.value:.2f})" for row in rows.itertuples()], MOST_HEADS)


def own_relation(table: pd.DataFrame) -> list[Sentence]:
    """The heads that attend along the user's relation."""
    return heads(table)


def patterns(table: pd.DataFrame) -> list[Sentence]:
    """By pattern the head of the largest score, against the range of the untrained model's heads."""
    own = measured(table)
    before = table[table["control"] == "untrained"].groupby("metric", sort=False)["value"].agg(["min", "max"])
    if own.empty:
        return []
    parts, found = [], {}
    for row in own.loc[own["value"].abs().groupby(own["metric"], sort=False).idxmax()].itertuples():
        low, high = before.loc[row.metric] if row.metric in before.index else (float("nan"), float("nan"))
        least, most = limits(row)
        least, most = (row.value, row.value) if least != least else (least, most)
        if least > high or most < low:
            found |= figures(row, f"{row.metric}")
            parts.append(f"{row.metric}: {head(row)} {interval(row)} (untrained {low:.2f} to {high:.2f})")
    if not parts:
        return [
            Sentence(f"{at(own)}: no head's score on any pattern is outside the untrained model's range.")
        ]
    return [Sentence(f"{at(own)}: beyond the untrained model's heads: {'; '.join(parts)}.", found)]


def composition(table: pd.DataFrame) -> list[Sentence]:
    """The pair of heads of largest excess, and how many exceed every draw of random weights."""
    own = measured(table)
    if own.empty:
        return []
    top = own.loc[own["excess"].idxmax()]
    beyond = int((own["value"] > own["random_high"]).sum())
    found = {"value": float(top["value"]), "random": float(top["random_high"]), "beyond": float(beyond)}
    random = f"random weights at most {top['random_high']:.2f}"
    where = f"{top['sender']} into {top['receiver']}, {top['value']:.2f} ({random})"
    if not beyond:
        return [Sentence(f"{at(own)}: no pair of heads exceeds random weights; largest: {where}.", found)]
    count = f"{beyond} of {len(own)} pairs exceed every draw of random weights"
    return [Sentence(f"{at(own)}: {count}; largest excess: {top['metric']} of {where}.", found)]


def weights(table: pd.DataFrame) -> list[Sentence]:
    """The head that copies most by its OV circuit, and heads that compose beyond random weights."""
    own = measured(table)
    shares = own[own["metric"] == "OV positive share"]
    if shares.empty:
        return []
    top = shares.loc[shares["value"].idxmax()]
    found = {"OV positive share": float(top["value"])}
    scale = "1: copies, -1: inverts"
    text = f"{at(own)}: largest positive eigenvalue share of OV: {head(top)}, {top['value']:.2f} ({scale})"
    joined = own[own["metric"].astype(str).str.endswith("composition")]
    if len(joined):
        beyond = joined[joined["value"] > joined["random_high"]]
        found["beyond"] = float(len(beyond))
        text += f"; {len(beyond)} of {len(joined)} head inputs compose with an earlier head more than random weights"
    return [Sentence(f"{text}.", found)]


def attribution(table: pd.DataFrame) -> list[Sentence]:
    """The components of largest direct contribution, against the same for other targets."""
    own = measured(table)
    if own.empty:
        return []
    ordered = own.loc[own["value"].abs().sort_values(ascending=False, kind="stable").index].head(3)
    unit = str(own["unit"].iloc[0])
    other = measured(table, "other targets").set_index("component")["value"]
    sure = [row for row in ordered.itertuples() if limits(row)[0] > 0 or limits(row)[1] < 0]
    parts = [f"{row.component} {interval(row)} (other targets {other[row.component]:.2f})" for row in sure]
    found = {str(row.component): float(row.value) for row in sure}
    where = f"to the right answer at {own['position'].iloc[0]}, {unit}"
    if not parts:
        return [Sentence(f"{at(own)}: no component has a significant direct contribution {where}.", found)]
    return [Sentence(f"{at(own)}: largest direct contributions {where}: {'; '.join(parts)}.", found)]


def query_key(table: pd.DataFrame) -> list[Sentence]:
    """The largest terms of an attention score."""
    own = table[table["control"] == "none"]
    top = own.loc[own["value"].abs().sort_values(ascending=False, kind="stable").index].head(3)
    parts = [f"query part {row.query} with key part {row.key}, {interval(row)}" for row in top.itertuples()]
    found = {f"{row.query}, {row.key}": float(row.value) for row in top.itertuples()}
    return [Sentence(f"Largest terms of the score: {'; '.join(parts)}.", found)]
