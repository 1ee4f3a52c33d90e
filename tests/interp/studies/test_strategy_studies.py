"""The studies of Markov chains and of task diversity at toy size: every claim gets a row, and nets that have hardly
been trained reproduce none; what is read off curves finds planted crossings."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from interp.emergence.curriculum import drops
from interp.studies.context import StudyContext
from interp.studies.markov_chains import measure as chains
from interp.studies.markov_chains import rows as chain_rows
from interp.studies.markov_chains import study as markov_chains
from interp.studies.markov_chains.claims import CLAIMS as CHAINS
from interp.studies.markov_chains.runs import USUAL, MarkovBudget
from interp.studies.markov_chains.runs import runs_of as chain_runs
from interp.studies.task_diversity import measure as pools
from interp.studies.task_diversity import study as task_diversity
from interp.studies.task_diversity.claims import CLAIMS as POOLS
from interp.studies.task_diversity.runs import PoolBudget
from interp.studies.task_diversity.runs import runs_of as pool_runs

TINY = (("model.d_model", 8), ("train.batch", 4), ("train.eval_batch", 4), ("train.schedule.log", 0))
SHORT = (*TINY, ("task.length", 12))
FEW = (*TINY, ("model.n_layers", 1), ("model.n_heads", 1), ("task.n", 4), ("train.schedule.every", 2))


@pytest.fixture(scope="module")
def toy_chains(tmp_path_factory) -> StudyContext:
    budget = MarkovBudget(2, 8, every=2, prompts=32, shape=SHORT)
    out = tmp_path_factory.mktemp("chains")
    return StudyContext("markov-chains", "quick", out, (0, 1), lambda line: None, budget, CHAINS)


@pytest.fixture(scope="module")
def toy_pools(tmp_path_factory) -> StudyContext:
    budget = PoolBudget(2, 4, (8, 64), shape=FEW)
    out = tmp_path_factory.mktemp("pools")
    return StudyContext("task-diversity", "quick", out, (0, 1), lambda line: None, budget, POOLS)


@pytest.mark.parametrize(
    ("study", "claims", "asked", "pictures", "runs"),
    [
        (markov_chains, CHAINS, "toy_chains", 4, lambda study: chain_runs(study, USUAL)),
        (task_diversity, POOLS, "toy_pools", 3, lambda study: pool_runs(study, 8)),
    ],
)
def test_every_claim_has_a_row_and_untrained_nets_reproduce_none(
    study, claims, asked, pictures, runs, request
):
    context = request.getfixturevalue(asked)
    ledger = study.measure(context)
    rows = {row.id: row for row in ledger.claims}
    assert set(rows) == set(claims)
    assert not [row.id for row in ledger.claims if row.verdict == "reproduced"]
    dark = [row for row in ledger.claims if row.verdict == "not testable at this scale"]
    assert len(dark) <= len(rows) / 3
    page = (Path(context.out) / "figures-quick.html").read_text()
    assert page.count("Plotly.newPlot(") == pictures
    stamps = {path: path.stat().st_mtime_ns for path in Path(context.out).rglob("*.safetensors")}
    again = StudyContext(context.study, "quick", context.out, (0, 1), print, context.budget, claims)
    assert len(runs(again)) == 2, "finished runs are reused"
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_crossings_are_sustained_and_interpolated():
    steps = np.array([0.0, 10.0, 20.0, 30.0])
    assert chains.crossed(steps, np.array([0.0, 1.0, 0.2, 1.0]), 0.6) == pytest.approx(25)
    assert chains.crossed(steps, np.ones(4), 0.5) == 0
    assert math.isnan(chains.crossed(steps, np.array([0.0, 1.0, 1.0, 0.2]), 0.5))


def test_two_planted_drops_are_rarely_counted_as_two_at_the_scatter_of_these_losses():
    """Why `two-drops` has no verdict; without scatter they always are."""
    rng, steps = np.random.default_rng(0), np.unique(np.r_[0, 1, 2, 6, 13, 31, 72, np.arange(0, 410, 10)])
    fall = 1.1 - 0.12 / (1 + np.exp((60 - steps) / 10)) - 0.1 / (1 + np.exp((170 - steps) / 12))
    seen = [len(drops(steps.tolist(), fall + 0.003 * rng.normal(size=len(steps)))) for _ in range(100)]
    assert np.mean(np.array(seen) == 2) < 0.5
    assert len(drops(steps.tolist(), fall)) == 2


def test_a_head_and_an_onset_at_the_same_time_do_not_lead_one_another(monkeypatch):
    dated = pd.DataFrame({"strategy": ["bigram"], "step": [20], "ci_low": [10], "ci_high": [20]})
    mass = pd.Series([0.0, 0.0, 1.0, 1.0], index=[0, 10, 20, 30])
    monkeypatch.setattr(chains, "staged", lambda run: dated)
    monkeypatch.setattr(chains, "attention", lambda *asked: mass)
    assert chains.head_lead(None) == 0
    monkeypatch.setattr(chains, "attention", lambda *asked: pd.Series([0.0, 1.0, 1.0, 1.0], index=mass.index))
    assert chains.head_lead(None) == 10


def test_an_order_needs_every_predictor():
    assert chain_rows.in_order([20.0, 100.0])
    assert not chain_rows.in_order([100.0, 100.0])
    assert not chain_rows.in_order([20.0, math.inf])
    assert not chain_rows.in_order([math.inf, 100.0])


def test_thresholds_and_widths_in_the_pool():
    assert pools.threshold([8, 16, 32], [-1.0, -0.5, 0.5]) == pytest.approx(4.5)
    assert math.isnan(pools.threshold([8, 16], [0.5, 1.0])), "above the level at every pool"
    assert math.isnan(pools.threshold([8, 16], [-1.0, -0.5])), "below it at every pool"
    assert pools.width([8, 16, 32, 64], [1.0, 0.75, 0.25, 0.0]) == pytest.approx(1)
    assert pools.slope([8, 16, 32], [0.0, 0.5, 1.0]) == pytest.approx(0.5)
