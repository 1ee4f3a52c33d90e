"""Onsets of curves out of long tables: planted ones are found, flat and censored ones said to be so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interp.emergence.dating import date_curves, date_edges
from probes.stats import share
from tasks import UserError

STEPS = list(range(0, 200, 10))


def _curve(name: str, values: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"metric": name, "step": STEPS, "value": values})


def test_planted_rises_and_falls_are_dated() -> None:
    up = _curve("R2", [0.1 if s < 70 else 0.9 for s in STEPS])
    flat = _curve("flat", (0.5 + 0.01 * np.random.default_rng(0).standard_normal(len(STEPS))).tolist())
    table = date_curves(pd.concat([up, flat]), ["metric"]).set_index("metric")
    assert table.loc["R2", "step"] == 70
    assert table.loc["R2", "threshold"] == pytest.approx(0.5)
    assert table.loc["flat", "state"] == "not emerged"
    down = date_curves(_curve("loss", [3.0 if s < 90 else 1.0 for s in STEPS]), ["metric"], falls=True).iloc[
        0
    ]
    assert (down["step"], down["threshold"]) == (90, pytest.approx(2.0))


def test_levels_and_missing_checkpoints_are_left_out() -> None:
    rows = _curve("x", [0.0 if s < 50 else 1.0 for s in STEPS])
    rows.loc[rows["step"] == 50, "value"] = np.nan
    level = pd.DataFrame({"metric": ["x"], "step": [None], "value": [5.0]})
    found = date_curves(pd.concat([rows, level]).astype({"step": "Int64"}), ["metric"]).iloc[0]
    assert (found["before"], found["step"]) == (40, 60)


def test_curves_that_cannot_be_dated_are_named() -> None:
    with pytest.raises(UserError, match="R2: 2 checkpoints"):
        date_curves(_curve("R2", [0.0] * len(STEPS)).iloc[:2], ["metric"])
    with pytest.raises(UserError, match="no column 'layer'"):
        date_curves(_curve("R2", [0.0] * len(STEPS)), ["layer"])


def _effects() -> pd.DataFrame:
    """Two edges: one matters from step 50, one never; no behaviour before step 30."""
    rows = []
    for step in STEPS:
        if step < 30:
            rows.append({"step": step, "sender": "", "receiver": "", "value": np.nan})
            continue
        rows.append(
            {"step": step, "sender": "L0H1", "receiver": "output", "value": 0.0 if step < 50 else 0.4}
        )
        rows.append({"step": step, "sender": "embed", "receiver": "output", "value": 0.01})
    return pd.DataFrame(rows)


def test_edges_are_dated_and_the_late_are_kept() -> None:
    found = date_edges(_effects(), [("embed", "output"), ("L0H1", "output")])
    assert found["sender"].tolist() == ["L0H1", "embed"]
    assert found["step"].tolist()[0] == 50
    assert found["step"].isna().tolist() == [False, True]
    assert found["state"].tolist() == ["emerged", "not emerged"]
    with pytest.raises(UserError, match="edge L9H9 -> output was not measured"):
        date_edges(_effects(), [("L9H9", "output")])


def test_flat_curves_of_one_table_give_a_false_positive_in_at_most_5_percent_of_tables() -> None:
    rng = np.random.default_rng(1)
    positives, tables = 0, 40
    for _ in range(tables):
        curves = [_curve(f"c{i}", rng.standard_normal(len(STEPS)).tolist()) for i in range(8)]
        positives += bool(date_curves(pd.concat(curves), ["metric"])["step"].notna().any())
    assert share(positives, tables).low <= 0.05, f"{positives} positives in {tables} tables of 8 curves"
