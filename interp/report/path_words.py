"""What a page says of paths from head to head: the edges of the circuit that stack one head on another."""

from __future__ import annotations

import pandas as pd

MOST = 3
LEAST = 0.05  # normalised effect of a path that is worth a name
SLOTS = {"q": "queries", "k": "keys", "v": "values"}


def paths_sentence(table: pd.DataFrame | None) -> str:
    """The largest edges between heads in the circuit at the last checkpoint, with the effect of patching each alone."""
    if table is None:
        return ""
    edges = table[(table["metric"] == "edge") & (table["control"] == "none")]
    if edges.empty:
        return ""
    last = edges[edges["step"] == edges["step"].max()].astype({"sender": str, "receiver": str})
    between = last[
        last["sender"].str.fullmatch(r"L\d+H\d+") & last["receiver"].str.fullmatch(r"L\d+H\d+\.[qkv]")
    ]
    if between.empty:
        return "No edge of the circuit leads from one head into another."
    largest = between.sort_values("value", key=abs, ascending=False).head(MOST)
    if largest["value"].abs().max() < LEAST:
        best = largest.iloc[0]
        return (
            f"None of {len(between)} paths between heads has a normalised effect of {LEAST:g} by itself (largest: "
            f"{best['sender']} into the {_slot(str(best['receiver']))}, {best['value']:.2f})."
        )
    named = [
        f"{row.sender} into the {_slot(str(row.receiver))} ({row.value:.2f})" for row in largest.itertuples()
    ]
    more = f" and {len(between) - MOST} more" if len(between) > MOST else ""
    return f"Heads stacked on one another, with the normalised effect of each path alone: {', '.join(named)}{more}."


def _slot(receiver: str) -> str:
    head, _, slot = receiver.partition(".")
    return f"{SLOTS[slot]} of {head}"
