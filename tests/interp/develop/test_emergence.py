"""Onsets: found where planted, silent on flat curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.develop.emergence import HEAD_THRESHOLD, emergence_table, onset
from tasks import UserError


def test_planted_step_is_found() -> None:
    steps = list(range(0, 1000, 50))
    for at in steps[1:]:
        values = [0.1 if s < at else 0.9 for s in steps]
        found = onset(steps, values, 0.5)
        assert found.step == at
        assert found.before == at - 50


def test_flat_and_transient_curves_have_no_onset() -> None:
    assert onset([0, 1, 2], [0.2, 0.3, 0.2], 0.5).step is None
    assert onset([0, 1, 2], [0.2, 0.9, 0.2], 0.5).step is None
    assert str(onset([0, 7], [0.0, 0.0], 0.5)) == "not emerged by step 7"


@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    threshold=st.floats(0.05, 0.95),
    slope=st.floats(0.1, 10),
    shift=st.floats(-5, 5),
)
def test_onset_does_not_change_under_an_affine_map(values, threshold, slope, shift) -> None:
    if any(0 < abs(v - threshold) < 1e-9 for v in values):
        return
    steps = list(range(len(values)))
    moved = [slope * v + shift for v in values]
    there = slope * threshold + shift
    same = [m >= there for m in moved] == [v >= threshold for v in values]
    if same:
        assert onset(steps, values, threshold).step == onset(steps, moved, there).step


@pytest.mark.parametrize(
    ("steps", "values"), [([], []), ([0, 1], [0.1]), ([1, 1], [0.0, 0.0]), ([2, 1], [0.0, 1.0])]
)
def test_bad_curves_are_refused(steps, values) -> None:
    with pytest.raises(UserError, match="onset needs"):
        onset(steps, values, 0.5)


def _scores() -> pd.DataFrame:
    steps = np.arange(0, 100, 10)
    rows = [
        {"step": None, "position": p, "metric": "accuracy", "control": "chance", "value": 0.2}
        for p in ("hop 1", "hop 2")
    ]
    for read, at in (("hop 1", 30), ("hop 2", 60)):
        rows += [
            {
                "step": s,
                "position": read,
                "metric": "accuracy",
                "control": "none",
                "value": 0.2 if s < at else 1.0,
            }
            for s in steps
        ]
    return pd.DataFrame(rows).astype({"step": "Int64"})


def test_table_is_in_order_of_onset_and_keeps_the_late() -> None:
    scores = _scores()
    never = scores[(scores["position"] == "hop 2") & (scores["control"] == "none")].assign(
        position="hop 3", value=0.2
    )
    table = emergence_table(pd.concat([never, scores]), None)
    assert table["subject"].tolist() == ["hop 1", "hop 2", "hop 3"]
    assert table["step"].tolist()[:2] == [30, 60]
    assert table["step"].isna().tolist() == [False, False, True]
    assert table["threshold"].iloc[0] == pytest.approx(0.6)


def test_only_heads_that_pass_the_threshold_are_listed() -> None:
    steps = list(range(0, 50, 10))
    heads = pd.DataFrame(
        [
            {"step": s, "layer": 0, "head": h, "metric": "query -> link_1", "control": "none", "value": v}
            for h, top in ((0, 0.9), (1, HEAD_THRESHOLD - 0.01))
            for s, v in zip(steps, np.linspace(0, top, 5), strict=True)
        ]
    )
    table = emergence_table(_scores(), heads)
    assert table[table["head"].notna()]["subject"].tolist() == ["L0H0"]
