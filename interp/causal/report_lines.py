"""What the table of a circuit search says, in single lines: the same words for the terminal and the page."""

from __future__ import annotations

import pandas as pd

from interp.causal.curve import is_head
from interp.causal.hypothesis_tests import LEVEL, QUANTILE
from interp.causal.random_circuits import ALONE

MOST = 2 / 3  # of all heads: a circuit with as many hardly tells the heads apart


def heads_in(table: pd.DataFrame) -> frozenset[str]:
    """The heads that write into a circuit."""
    senders = table.loc[table["metric"] == "edge", "sender"].astype(str)
    return frozenset(s for s in senders if is_head(s))


def curve_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The sizes of the search's curve, largest first, on the prompts that the circuit is reported on."""
    rows = table[(table["metric"] == "faithfulness") & (table["control"] == "curve")]
    return rows if rows.empty else rows.sort_values("edges", ascending=False, kind="stable")


def search_line(table: pd.DataFrame) -> str:
    """What the search did; "" where the table does not say."""
    rows = table[table["metric"] == "search"]
    return "" if rows.empty else str(rows["note"].iloc[0])


def heads_line(table: pd.DataFrame) -> str:
    """Whether the circuit tells heads apart: "" unless it has most of those there are."""
    curve = curve_rows(table)
    if curve.empty or "heads" not in curve:
        return ""
    own, every = len(heads_in(table)), int(curve["heads"].max())
    if every == 0 or own < MOST * every:
        return ""
    return f"{own} of {every} heads are in it, so that it hardly distinguishes heads: see the curve of sizes"


def random_line(table: pd.DataFrame) -> str:
    """How much matched random circuits carry, and how often as much as the circuit."""
    return against_random(table, "carry ")


def against_random(table: pd.DataFrame, carry: str) -> str:
    """How a circuit compares with matched random ones: the median and the best of them, whether it carries more than
    each, and how sure that is; that there are none, or too few for a p value. "" where none were drawn.
    """
    rows = table[table["control"] == "random"]
    drawn, tests = rows[rows["metric"] == "faithfulness"]["value"], rows[rows["metric"] == "empirical p"]
    own = table[(table["metric"] == "faithfulness") & (table["control"] == "none")]
    note = str(tests["note"].fillna("").iloc[0]) if len(tests) and "note" in tests else ""
    if note == ALONE or _all_the_same(own, drawn):
        return ALONE
    if drawn.empty:
        return ""
    p = tests["value"].dropna()
    chance = f"empirical p = {p.iloc[0]:.2g}" if len(p) else ""
    spread = f"{drawn.median():.2f} (max {drawn.max():.2f})"
    crowd = f"{len(drawn)} matched random circuits"
    best = float(drawn.max())
    if len(own) and own["value"].iloc[0] > best >= own["ci_low"].iloc[0]:
        sure = f" ({chance})" if chance else ""
        said = f"more faithful than all {crowd}{sure}, {spread}; the margin over the best of them is not significant"
        return "; ".join(part for part in (said, note) if part)
    more = "" if not len(own) or own["ci_low"].iloc[0] > best else ", not more than the best of them"
    return "; ".join(
        part for part in (f"{crowd} {carry}{spread}{more}{f', {chance}' if chance else ''}", note) if part
    )


def _all_the_same(own: pd.DataFrame, drawn: pd.Series) -> bool:
    """Whether every draw is the circuit itself, as it is where there is no other one to draw."""
    return len(own) > 0 and len(drawn) > 1 and bool((drawn == own["value"].iloc[0]).all())


def test_lines(table: pd.DataFrame) -> list[str]:
    """What the tests of the circuit report, corrected p values included; none where they were not made."""
    whole = table[table["metric"].isin(("equivalence test", "independence test"))]
    lines = [f"{row.metric}: p = {row.value:.2g}, {row.note}" for row in whole.itertuples()]
    edges = table[table["metric"] == "minimality test"]
    if len(edges):
        needed = int((edges["value"] <= LEVEL).sum())
        lines.append(
            f"minimality test: {needed} of {len(edges)} edges are needed more than {QUANTILE:.0%} of the edges that "
            "random paths bring in"
        )
    return lines


def size_line(table: pd.DataFrame, levels: tuple[float, ...] = (0.8, 0.9, 0.95)) -> str:
    """Edges of the smallest circuit on the curve that carries each of some shares; "" without a curve."""
    curve = curve_rows(table)
    if curve.empty:
        return ""
    found = [(level, curve[curve["value"] >= level]["edges"]) for level in levels]
    parts = [f"{int(edges.min())} for {level:.0%}" for level, edges in found if len(edges)]
    return f"edges needed: {', '.join(parts)}, of {int(curve['edges'].max())}" if parts else ""
