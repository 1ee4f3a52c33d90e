"""The patching benchmark refuses wrong numbers and reports what it timed."""

from __future__ import annotations

import pytest

from interp.causal.engine import FastEngine
from interp.hooks.sites import grid
from tasks.errors import UserError
from tests.bench import patching as bench


def test_a_sweep_is_timed_only_when_the_engines_agree(monkeypatch):
    at = bench.setting(layers=1)
    sites = grid(at.model, "head_out", bench.POSITIONS, by=("layer", "head"))
    metric = bench.last_or_all(False)
    row = bench._sweep(at, "heads", sites, metric, 1, 2, 1e9)
    assert row.n == 2
    assert row.ratio == pytest.approx(row.baseline / row.project)
    wrong = FastEngine.values
    monkeypatch.setattr(FastEngine, "values", lambda self, *a: wrong(self, *a) + 1)
    with pytest.raises(UserError, match="engines differ"):
        bench._sweep(at, "heads", sites, metric, 1, 2, 1e9)
