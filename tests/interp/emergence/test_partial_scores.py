"""A score between 0 and 1 of every prompt is a mean, not a count of prompts."""

from __future__ import annotations

import pytest
import torch

from interp.emergence.scores import _intervals
from probes.stats import share


def test_counts_are_taken_where_scores_are_0_or_1_and_means_elsewhere():
    whole = torch.tensor([[1.0], [0.0], [1.0], [1.0]])
    assert _intervals("accuracy", whole) == [share(3, 4)]
    (partial,) = _intervals("accuracy", torch.full((3, 1), 0.9))
    assert partial.value == pytest.approx(0.9)
    assert partial.n == 3
