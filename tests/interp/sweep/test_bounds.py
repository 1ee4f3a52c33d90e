"""Bounds of what a sweep averages: those of its kind, none where the values contradict them."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from interp.sweep.bounds import possible
from probes.stats import over_seeds


@pytest.mark.parametrize(
    ("metric", "unit", "bounds"),
    [
        ("accuracy", "share of prompts", (0, 1)),
        ("query -> link_1", "attention", (0, 1)),
        ("SimE", "", (-1, 1)),
        ("r2", "", (-math.inf, 1)),
        ("loss", "task loss", (0, math.inf)),
        ("directional smoothness", "", (-math.inf, math.inf)),
    ],
)
def test_a_measurement_has_the_bounds_of_its_kind(metric, unit, bounds) -> None:
    rows = pd.DataFrame({"metric": metric, "unit": unit, "value": [0.95, 0.99, 0.9, 0.6]})
    assert possible(rows) == bounds
    found = over_seeds(rows["value"].tolist(), *possible(rows))
    assert bounds[0] <= found.low < found.value < found.high <= bounds[1]


def test_values_outside_of_their_bounds_have_none() -> None:
    rows = pd.DataFrame({"metric": "accuracy", "value": [0.5, 1.2]})
    assert possible(rows) == (-math.inf, math.inf)
