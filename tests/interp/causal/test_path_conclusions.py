"""Sentences on paths between heads: the largest are named, their absence is said, no table says nothing."""

from __future__ import annotations

import pandas as pd

from interp.analysis.conclusion import paragraph as text
from interp.causal.conclusions import paths


def stated(table: pd.DataFrame) -> str:
    return text(paths(table))


def edges(*found: tuple[str, str, float]) -> pd.DataFrame:
    rows = [
        {"sender": s, "receiver": r, "value": v, "metric": "edge", "control": "none", "step": 9}
        for s, r, v in found
    ]
    return pd.DataFrame(rows)


def test_the_largest_paths_are_named_by_slot_and_the_rest_counted() -> None:
    found = edges(
        ("embed", "L1H0.k", 0.9), ("L0H0", "L1H0.k", 0.4), ("L0H1", "L1H0.q", -0.5), ("L0H1", "L1H1.v", 0.1),
        ("L0H0", "L1H1.v", 0.2), ("L1H0", "output", 0.8),
    )  # fmt: skip
    said = stated(found)
    assert "L0H1 into the queries of L1H0 (-0.50), L0H0 into the keys of L1H0 (0.40)" in said
    assert said.endswith("and 1 more.")
    assert "embed" not in said


def test_a_circuit_without_a_path_between_heads_says_so_and_no_circuit_says_nothing() -> None:
    assert (
        stated(edges(("embed", "L0H0.v", 1.0))) == "No edge of the circuit leads from one head into another."
    )
    assert stated(edges(("L0H0", "L1H0.k", 1.0)).iloc[:0]) == ""


def test_paths_that_matter_only_together_are_not_named_one_by_one() -> None:
    said = stated(edges(("L0H0", "L1H0.k", 0.02), ("L0H1", "L1H0.q", -0.03)))
    assert said == (
        "None of 2 paths between heads has a normalised effect of 0.05 by itself (largest: L0H1 into the queries of "
        "L1H0, -0.03)."
    )
