"""What the tables of ablated heads say: which heads are needed, which mislead in pairs, how each hop is answered."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from interp.analysis.conclusion import (
    MOST_NAMED,
    Sentence,
    at,
    capital,
    few,
    figures,
    head,
    interval,
    measured,
    significant,
)

MOST_HEADS = 4
VERDICTS = {
    "needed": "needed (ablation has an effect)",
    "redundant": "redundant (an effect only once peers are ablated)",
    "idle": "idle (a role, no effect either way)",
    "other": "needed without a role",
    "cancels": "cancelling another head",
}
PAIRS = {
    "cancels": "undo each other (each ablation alone has an effect, both together almost none)",
    "redundant": "stand in for each other (neither ablation alone has an effect, both together do)",
}
HOW = {
    "stacked": "by heads that attend from the query to the hop's own link",
    "look-ahead": "by links that attend to their successors in an earlier layer",
    "both": "both by heads on its own link and by links that attend to their successors",
    "other": "by something other than these heads",
    "not solved": "not at all",
}
SIDES = {"stacked": ("direct",), "look-ahead": ("ahead",), "both": ("direct", "ahead")}


def roles(table: pd.DataFrame) -> list[Sentence]:
    """How many heads have each verdict at the last checkpoint, and pairs whose single ablations mislead."""
    own = measured(table)
    if own.empty:
        return []
    counted: dict[str, list[str]] = {}
    for row in own.itertuples():
        counted.setdefault(str(row.verdict), []).append(head(row))
    parts = [f"{few(counted[v])} {words}" for v, words in VERDICTS.items() if v in counted]
    without = len(counted.get("none", []))
    found = {f"heads: {verdict}": float(len(names)) for verdict, names in counted.items()}
    if not parts:
        text = f"none of {len(own)} heads has a role or an ablation effect of its own"
        return [Sentence(f"{at(own)}: {text}.", found)]
    rest = f"; {without} of {len(own)} heads neither" if without else ""
    return [Sentence(f"{at(own)}: {'; '.join(parts)}{rest}.", found), *pairs(own)]


def pairs(table: pd.DataFrame) -> list[Sentence]:
    """Pairs of heads whose single ablations mislead, at the last checkpoint; of the table of roles or of agreement."""
    if "partner" not in table:
        return []
    last = table[(table["step"] == table["step"].max()) & (table["partner"].fillna("") != "")]
    found: dict[str, list[str]] = {}
    for row in last.itertuples():
        pair = " and ".join(sorted((head(row), str(row.partner))))
        known = found.setdefault(str(row.verdict), [])
        if pair not in known:
            known.append(pair)
    parts = [f"{', '.join(found[verdict])} {words}" for verdict, words in PAIRS.items() if verdict in found]
    counts = {f"pairs: {verdict}": float(len(names)) for verdict, names in found.items()}
    return [Sentence(f"{'; '.join(parts)}.", counts)] if parts else []


def ablation(table: pd.DataFrame) -> list[Sentence]:
    """The head whose ablation costs most, and how many have an effect at some output position: heads and positions
    are tested together (Holm)."""
    own = measured(table).dropna(subset=["value"])
    if own.empty:
        return []
    top = own.loc[own["value"].idxmax()]
    sure = own[significant(own) & (own["value"] > 0)][["layer", "head"]].drop_duplicates()
    among = own[["layer", "head"]].drop_duplicates()
    found = {**figures(top), "heads with an effect": float(len(sure))}
    where = f"{head(top)} at {top['position']}, {interval(top)} of all heads' effect"
    if sure.empty:
        text = f"no head's ablation has a significant effect (Holm, 5%); largest: {where}"
        return [Sentence(f"{at(own)}: {text}.", found)]
    count = f"{len(sure)} of {len(among)} heads have a significant one at some output position (Holm, 5%)"
    return [Sentence(f"{at(own)}: largest ablation effect: {where}; {count}.", found)]


def agreement(table: pd.DataFrame) -> list[Sentence]:
    """Whether the pruned circuit has the heads that attention gives a role, and which heads disagree."""
    last = table[table["step"] == table["step"].max()]
    odd = last[last["value"] == 0]
    named = [f"{head(row)} ({row.found})" for row in odd.itertuples()]
    apart = f", not on {', '.join(named)}" if 0 < len(named) <= MOST_HEADS else ""
    by_chance = float(last["chance"].iloc[0]) * len(last)
    agreed = f"{len(last) - len(odd)} of {len(last)} heads"
    text = f"Circuit and attention agree on {agreed} ({by_chance:.1f} by chance){apart}."
    if by_chance == len(last):
        text = f"Circuit and attention agree on {agreed}, and could not do otherwise: this shows nothing."
    found = {"agree": float(len(last) - len(odd)), "heads": float(len(last)), "by chance": by_chance}
    return [Sentence(text, found), *pairs(last)]


def mechanism(table: pd.DataFrame, drawn: frozenset[str] | None = None) -> list[Sentence]:
    """How each hop is answered, by what breaks it; hops answered alike in one go. Heads that are not among the `drawn`
    ones of a circuit are reported apart, so that words and figure name the same heads.
    """
    last = table[table["step"] == table["step"].max()]
    named = last[last["metric"] == "circuit"].set_index("position")["note"]
    alike = {note: [str(hop) for hop in named.index[named == note]] for note in dict.fromkeys(named)}
    parts = [
        f"{_and(hops)} answered {HOW[note]}{_by(last, hops, note, drawn)}" for note, hops in alike.items()
    ]
    return [Sentence(f"{capital('; '.join(parts))}."), *_cost(last, alike)]


def _cost(last: pd.DataFrame, alike: Mapping[str, list[str]]) -> list[Sentence]:
    """What ablating the named heads costs the hops they answer, from the smallest to the largest."""
    sides = [(hop, side) for note, hops in alike.items() for hop in hops for side in SIDES.get(note, ())]
    effects = last.set_index(["position", "metric"])["value"]
    found = {f"{hop}, {side}": float(effects[hop, side]) for hop, side in sides}
    if not found:
        return []
    least, most = min(found.values()), max(found.values())
    span = f"{least:.0%}" if len(found) == 1 else f"{least:.0%} to {most:.0%}"
    each = ", each group by itself," if "both" in alike else ""
    return [
        Sentence(f"Ablating them{each} costs their hop {span} of what the loss of all heads would.", found)
    ]


def _and(hops: list[str]) -> str:
    return f"{hops[0]} is" if len(hops) == 1 else f"{', '.join(hops[:-1])} and {hops[-1]} are"


def _by(last: pd.DataFrame, hops: list[str], note: str, drawn: frozenset[str] | None) -> str:
    """The heads in brackets; hop by hop where hops that are answered alike have others."""
    each = {hop: names for hop in hops if (names := _listed(_named(last, hop, note), drawn))}
    if not each:
        return ""
    if len(set(each.values())) == 1:
        return f" ({next(iter(each.values()))})"
    return f" ({'; '.join(f'{hop}: {names}' for hop, names in each.items())})"


def _named(last: pd.DataFrame, hop: str, note: str) -> list[str]:
    """Heads that answer a hop in the way of `note`."""
    rows = last[(last["position"] == hop) & last["metric"].isin(SIDES.get(note, ()))]
    return sorted({name for names in rows["members"] for name in str(names).split()})


def _listed(names: list[str], drawn: frozenset[str] | None) -> str:
    """Heads by name, those outside the drawn circuit apart; their number alone where there are many."""
    inside = names if drawn is None else [name for name in names if name in drawn]
    outside = [name for name in names if name not in inside]
    apart = f"outside the circuit: {_many(outside)}" if outside else ""
    return " and, ".join(part for part in (_many(inside), apart) if part)


def _many(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} heads"
