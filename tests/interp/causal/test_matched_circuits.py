"""Matched random circuits: how many there are to draw from, and what is said where there are none or few."""

from __future__ import annotations

import pandas as pd

from interp.causal.circuit import Circuit
from interp.causal.faithfulness import judge
from interp.causal.graph import edges
from interp.causal.random_circuits import ALONE, LEAST_OTHERS, other_circuits
from interp.causal.report_lines import against_random, random_line
from interp.config.model_transformer import TransformerConfig
from interp.models import build_model
from tasks.retrieval import MultiHopRetrieval


def test_where_no_other_circuit_matches_there_is_no_random_control_and_no_p_value():
    every = [("embed", "L0H0.v"), ("embed", "L0H1.v"), ("L0H0", "output"), ("L0H1", "output")]
    assert other_circuits(every, every) == 0
    assert other_circuits(every, [every[0], every[2]]) == 1, "two ends that do not meet are no circuit"
    heads = [edge for i in range(40) for edge in (("embed", f"L0H{i}.v"), (f"L0H{i}", "output"))]
    assert other_circuits(heads, heads[:2]) >= LEAST_OTHERS
    config = TransformerConfig(n_layers=1, n_heads=1, d_model=8, mlp="none", mask="full", positions="none")
    task = MultiHopRetrieval(hops=2)
    model = build_model(config, task.interface, 0).eval()
    whole = tuple(sorted(edges(model)))
    table = judge(model, task, Circuit(whole, (1.0,) * len(whole)), prompts=8, random=5, draws=100)
    assert not ((table["control"] == "random") & (table["metric"] == "faithfulness")).any()
    assert table[table["metric"] == "empirical p"]["value"].isna().all()
    assert random_line(table) == ALONE


def judged(own: float, low: float, drawn: list[float], p: float | None, note: str = "") -> pd.DataFrame:
    faithful = {"metric": "faithfulness", "note": ""}
    rows = [{**faithful, "control": "none", "value": own, "ci_low": low}]
    rows += [{**faithful, "control": "random", "value": value} for value in drawn]
    return pd.DataFrame([*rows, {"metric": "empirical p", "control": "random", "value": p, "note": note}])


def test_few_other_circuits_give_no_p_value_and_a_narrow_margin_no_contradiction():
    few = judged(0.9, 0.8, [0.1, 0.2], None, "only 7 other circuits have as many edges of each kind: too few")
    assert against_random(few, "") == (
        "2 matched random circuits 0.15 (max 0.20); only 7 other circuits have as many edges of each kind: too few"
    )
    narrow = against_random(judged(0.9, 0.8, [0.5, 0.85], 0.0099), "")
    assert narrow.startswith("more faithful than all 2 matched random circuits (empirical p = 0.0099)")
    assert narrow.endswith("the margin over the best of them is not significant")
    assert against_random(judged(0.99, 0.9, [0.99, 0.99], 1.0), "") == ALONE, "tables of earlier versions"
