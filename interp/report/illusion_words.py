"""What a page says where single measurements mislead: heads that undo or replace each other, unread directions."""

from __future__ import annotations

import pandas as pd

USES = {
    "used": "used",
    "not read": "decoded, but from directions that no later module reads",
    "not used": "decoded and read, but not used as predicted",
    "not decoded": "not decoded",
}
PAIRS = {
    "cancels": "undo each other (each ablation alone has an effect, both together almost none)",
    "redundant": "stand in for each other (neither ablation alone has an effect, both together do)",
}


def pairs_sentence(agreement: pd.DataFrame | None) -> str:
    """Pairs of heads whose single ablations mislead, at the last checkpoint."""
    if agreement is None or "partner" not in agreement:
        return ""
    last = agreement[(agreement["step"] == agreement["step"].max()) & (agreement["partner"] != "")]
    found: dict[str, list[str]] = {}
    for row in last.itertuples():
        pair = " and ".join(sorted((f"L{row.layer}H{row.head}", str(row.partner))))
        known = found.setdefault(str(row.verdict), [])
        if pair not in known:
            known.append(pair)
    parts = [f"{', '.join(found[verdict])} {said}" for verdict, said in PAIRS.items() if verdict in found]
    return f"{'; '.join(parts)}." if parts else ""


def directions_sentence(table: pd.DataFrame | None) -> str:
    """Whether the directions that decode each algorithm's iterates are used, by block, at the last checkpoint."""
    if table is None:
        return ""
    own = table[(table["step"] == table["step"].max()) & (table["control"] == "none")]
    own = own[(own["metric"] == "causal slope") & own["use"].isin(list(USES))]
    said = []
    for algorithm, rows in own.groupby("algorithm", sort=False):
        each = [
            f"{USES[use]} after {_blocks(rows.loc[rows['use'] == use, 'layer'])}"
            for use in USES
            if (rows["use"] == use).any()
        ]
        said.append(f"{algorithm}: {', '.join(each)}")
    return f"Directions that decode iterates, moved from prompt to prompt: {'; '.join(said)}." if said else ""


def _blocks(layers: pd.Series) -> str:
    """Blocks by number.

    >>> import pandas as pd
    >>> _blocks(pd.Series([2, 0]))
    'blocks 0, 2'
    """
    numbers = sorted(int(layer) for layer in layers)
    return f"block{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
