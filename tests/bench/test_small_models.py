"""Benchmarks of linear transformers and single-index chains: they measure what they say, and give every row."""

from __future__ import annotations

import pytest

from interp.config.run import configure
from interp.models.linear import LinearTransformer
from tests.bench import chains as single_index
from tests.bench import linear


def test_both_forms_are_taken_and_no_hook_is_left(monkeypatch):
    config = configure("linear-attention", changes={"train.batch": 4})
    taken: list[bool] = []
    plain = LinearTransformer._hooked
    monkeypatch.setattr(LinearTransformer, "_hooked", lambda self: (taken.append(plain(self)), taken[-1])[1])
    row = linear.forms(config, steps=1)
    assert taken == [False, True] * (linear.TURNS + 1)
    assert row["ratio"] == pytest.approx(row["baseline_ms"] / row["project_ms"])


def test_the_reduced_chain_is_set_beside_d_dimensional_descent():
    reduced, direct = single_index.pace(turns=1, steps=20, direct_steps=1)
    assert 0 < reduced.low <= reduced.value <= reduced.high
    assert direct.value > 0
