"""What a page says of the circuit in words: how hops are answered, which heads attend to what, what pruning left."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from interp.causal.report_lines import heads_in, heads_line, size_line, test_lines
from interp.heads.roles import role_of
from interp.report.sketch import ablation_effects, strongest

HOW = {
    "stacked": "by heads that attend from the query to the hop's own link",
    "look-ahead": "by links that attend to their successors in an earlier layer",
    "both": "both by heads on its own link and by links that attend to their successors",
    "other": "by something other than these heads",
    "not solved": "not at all",
}
SIDES = {"stacked": ("direct",), "look-ahead": ("ahead",), "both": ("direct", "ahead")}
MOST_NAMED = 6
MOST_HEADS = 4
BELOW_HALF = "No head attends with half of its mass or more to any position the task gives a meaning."


def hops_answered(table: pd.DataFrame | None, circuit: pd.DataFrame | None = None) -> str:
    """How each hop is answered, by what breaks it; hops answered alike in one go. Heads that the drawn `circuit` (the
    table of the search) leaves out are reported apart, so that words and figure name the same heads.
    """
    if table is None:
        return ""
    drawn = None if circuit is None else heads_in(circuit)
    last = table[table["step"] == table["step"].max()]
    named = last[last["metric"] == "circuit"].set_index("position")["note"]
    alike = {note: [str(hop) for hop in named.index[named == note]] for note in dict.fromkeys(named)}
    said = [
        f"{_and(hops)} answered {HOW[note]}{_by(last, hops, note, drawn)}" for note, hops in alike.items()
    ]
    return f"{_capital('; '.join(said))}.{_cost(last, alike)}"


def _cost(last: pd.DataFrame, alike: Mapping[str, list[str]]) -> str:
    """What ablating the named heads costs the hops they answer, from the smallest to the largest."""
    sides = [(hop, side) for note, hops in alike.items() for hop in hops for side in SIDES.get(note, ())]
    effects = last.set_index(["position", "metric"])["value"]
    found = [float(effects[pair]) for pair in sides]
    if not found:
        return ""
    span = f"{min(found):.0%}" if len(found) == 1 else f"{min(found):.0%} to {max(found):.0%}"
    each = ", each team by itself," if "both" in alike else ""
    return f" Ablating them{each} costs their hop {span} of what the loss of all heads would."


def _and(hops: list[str]) -> str:
    return f"{hops[0]} is" if len(hops) == 1 else f"{', '.join(hops[:-1])} and {hops[-1]} are"


def _by(last: pd.DataFrame, hops: list[str], note: str, drawn: frozenset[str] | None) -> str:
    """The heads in brackets; hop by hop where hops that are answered alike have others."""
    each = {hop: named for hop in hops if (named := _listed(_named(last, hop, note), drawn))}
    if not each:
        return ""
    if len(set(each.values())) == 1:
        return f" ({next(iter(each.values()))})"
    return f" ({'; '.join(f'{hop}: {named}' for hop, named in each.items())})"


def _named(last: pd.DataFrame, hop: str, note: str) -> list[str]:
    """Heads that answer a hop in the way of `note`."""
    rows = last[(last["position"] == hop) & last["metric"].isin(SIDES.get(note, ()))]
    return sorted({head for names in rows["members"] for head in str(names).split()})


def _listed(heads: list[str], drawn: frozenset[str] | None) -> str:
    """Heads by name, those outside the drawn circuit apart; their number alone where there are many."""
    inside = heads if drawn is None else [head for head in heads if head in drawn]
    outside = [head for head in heads if head not in inside]
    apart = f"outside the circuit: {_many(outside)}" if outside else ""
    return " and, ".join(part for part in (_many(inside), apart) if part)


def _many(heads: list[str]) -> str:
    return ", ".join(heads) if len(heads) <= MOST_NAMED else f"{len(heads)} heads"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def algorithm_sentence(table: pd.DataFrame | None) -> str:
    """The filter verdict at the last site, with its misfits."""
    if table is None:
        return ""
    last = table[(table["step"] == table["step"].max()) & (table["control"] == "none")]
    row = last[last["metric"] == "filter verdict"].iloc[-1]
    kind, families, note = str(row["verdict"]), str(row["families"]), str(row["note"])
    if kind == "none":
        return f"No rival algorithm is identified for its output: {note}."
    own = f"misfit beyond query noise {_percent(row, 'value', 'ci_low', 'ci_high')}"
    free = (
        f"that of a free function of the eigenvalues {_percent(row, 'free_misfit', 'free_low', 'free_high')}"
    )
    misfits = f"({own}; {free}{f'; {note}' if note else ''})"
    if kind == "identified":
        return f"As a function of the examples its output is that of {row['member']} {misfits}."
    return f"{OUTPUT_IS[kind].format(families)} {misfits}."


OUTPUT_IS = {
    "indistinguishable": "As a function of the examples its output is that of one of several algorithms that these"
    " prompts do not distinguish: {}",
    "unlisted filter": "Its output is a function of the eigenvalues of X'X that no listed algorithm has; nearest: {}",
    "not a filter": "No listed algorithm fits its output, and no function of the eigenvalues of X'X does; nearest: {}",
    "mixture": "Its output is that of a mixture: {}",
}


def _percent(row: pd.Series, value: str, low: str, high: str) -> str:
    return f"{row[value]:.1%} [{row[low]:.1%}, {row[high]:.1%}]"


def heads_sentence(heads: pd.DataFrame | None, agreement: pd.DataFrame | None) -> str:
    """Which head attends to what; of nearly equal ones that whose ablation costs most, with its verdict."""
    if heads is None:
        return ""
    best = strongest(heads, agreement)
    best = best[best["value"] >= 0.5]
    if best.empty:
        return BELOW_HALF
    found = {} if agreement is None else ablation_effects(agreement)
    said = []
    for row in best.astype({"layer": int, "head": int}).itertuples():
        verdict, _ = found.get((row.layer, row.head, role_of(str(row.metric))), ("", 0.0))
        role = f", {verdict}" if verdict else ""
        said.append(f"L{row.layer}H{row.head} for {row.metric} ({row.value:.2f}{role})")
    chosen = " (of nearly equal heads the one whose ablation costs most)" if found else ""
    return f"Strongest attention{chosen}: {', '.join(said)}."


def circuit_sentence(table: pd.DataFrame | None) -> str:
    """What pruning at the last checkpoint left, the other sizes there are, and whether it distinguishes heads."""
    if table is None:
        return ""
    kept, heads = table[table["metric"] == "edge"], heads_in(table)
    through = "1 head" if len(heads) == 1 else f"{len(heads)} heads"
    sizes, little = size_line(table), heads_line(table)
    said = f"Circuit at the faithfulness asked for: {len(kept)} edges through {through}"
    rest = [f" {line[:1].upper()}{line[1:]}." for line in (little, *test_lines(table)) if line]
    return f"{said}{f' ({sizes})' if sizes else ''}.{''.join(rest)}"


def agreement_sentence(table: pd.DataFrame | None) -> str:
    """Whether the pruned circuit has the heads that attention gives a role, and which heads disagree."""
    if table is None:
        return ""
    last = table[table["step"] == table["step"].max()]
    odd = last[last["value"] == 0]
    named = [f"L{row.layer}H{row.head} ({row.found})" for row in odd.itertuples()]
    apart = f", not on {', '.join(named)}" if 0 < len(named) <= MOST_HEADS else ""
    by_chance = last["chance"].iloc[0] * len(last)
    return (
        f"Circuit and attention agree on {len(last) - len(odd)} of {len(last)} heads"
        f" ({by_chance:.1f} by chance){apart}."
    )
