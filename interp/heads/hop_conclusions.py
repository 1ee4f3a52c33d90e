"""What the tables of growth along a chain and of foretold damage conclude."""

from __future__ import annotations

import pandas as pd

from interp.analysis.conclusion import Sentence, at, few, figures, interval, measured


def growth(table: pd.DataFrame) -> list[Sentence]:
    """The verdict with what it rests on, and how far heads reach."""
    rows = measured(table)
    if rows.empty or "metric" not in rows:
        return []
    verdict = rows[rows["metric"] == "verdict"].iloc[0]
    found = [f"{at(rows)}: reach along the chain grows {verdict['members']}" if verdict["members"] != "neither"
             else f"{at(rows)}: neither one by one nor doubling is shown"]  # fmt: skip
    reach = rows[rows["metric"] == "reach"].sort_values(["layer", "head"])
    heads = [f"L{r.layer}H{r.head} {r.position}" for r in reach.itertuples()]
    sentences = [Sentence(f"{found[0]}: {verdict['note']}.", figures(verdict, "leaps less steps"))]
    if heads:
        sentences.append(Sentence(f"Heads attend {few(heads)}.", {}))
    return sentences


def damage(table: pd.DataFrame) -> list[Sentence]:
    """How far predicted and measured damage agree."""
    rows = measured(table)
    if rows.empty or "metric" not in rows:
        return []
    agreed = rows[rows["metric"] == "rank correlation"].iloc[0]
    if agreed["note"]:
        return [Sentence(f"{at(rows)}: no damage is predicted: {agreed['note']}.", {})]
    text = f"{at(rows)}: damage predicted from the circuit and measured has a rank correlation of {interval(agreed)}"
    open_ = float(agreed["ci_low"]) <= 0
    said = f"{text} over heads{', which does not exclude 0' if open_ else ''}."
    return [Sentence(said, figures(agreed, "rank correlation"))]
