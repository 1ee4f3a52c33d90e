"""Checkpoints at which the page measures what is dear: around a change, and spread where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from interp.report.chosen_steps import where_changing

STEPS = tuple(range(0, 400, 10))


def curves(**values: np.ndarray) -> pd.DataFrame:
    rows = [
        {"step": step, "metric": name, "position": "all", "control": "none", "value": value}
        for name, found in values.items()
        for step, value in zip(STEPS, found, strict=True)
    ]
    level = {"step": float("nan"), "metric": "loss", "position": "all", "control": "chance", "value": 1e9}
    return pd.DataFrame([*rows, level])


@pytest.mark.parametrize("place", [3, 17, 36])
def test_a_jump_lies_between_two_neighbours(place):
    jump = np.where(np.arange(len(STEPS)) < place, 0.0, 5.0)
    found = where_changing([curves(loss=jump)], STEPS, 6)
    assert {STEPS[0], STEPS[place - 1], STEPS[place], STEPS[-1]} <= set(found)
    assert len(found) == 6
    assert list(found) == sorted(found)


def test_curves_count_alike_whatever_their_range():
    at = np.arange(len(STEPS))
    small, large = np.where(at < 8, 0.0, 1e-3), np.where(at < 30, 0.0, 1e3)
    found = set(where_changing([curves(loss=small), curves(accuracy=large)], STEPS, 7))
    assert {STEPS[7], STEPS[8], STEPS[29], STEPS[30]} <= found


def test_without_a_change_they_are_spread():
    found = where_changing([curves(loss=np.ones(len(STEPS)))], STEPS, 5)
    assert found == (0, 90, 190, 290, 390)


def test_few_checkpoints_are_all_there():
    assert where_changing([curves(loss=np.zeros(len(STEPS)))], STEPS[:5], 16) == STEPS[:5]
