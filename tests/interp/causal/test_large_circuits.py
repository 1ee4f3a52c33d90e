"""Circuits of more edges than are run one by one: ordered and scored by the attribution estimate, and said to be."""

from __future__ import annotations

import pytest

from interp.causal import circuits, estimate, pruning, search_bench
from interp.causal.circuits import find_circuit
from interp.causal.estimate import Estimate
from interp.causal.graph import edges
from tests.interp.causal.test_circuits import dense

MOST = 5


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    """Few edges are run one by one, and an estimate of few steps will do: what is said of it is set by the tests."""
    monkeypatch.setattr(search_bench, "MOST_EXACT", MOST)
    monkeypatch.setattr(estimate, "MOST_STEPS", 1)


def test_many_edges_are_not_run_one_by_one(monkeypatch):
    monkeypatch.setattr(Estimate, "unreliable", property(lambda found: ""))
    for module in (circuits, pruning):
        monkeypatch.setattr(module, "ablation_effects", lambda *given, **named: pytest.fail("run one by one"))
    monkeypatch.setattr(circuits, "exact_edges", lambda *given, **named: pytest.fail("run one by one"))
    net = dense(0)
    found = find_circuit(net.model, net.task, prompts=32, draws=50)
    assert len(found.edges) > MOST
    assert "values of so many edges are attributions, not exact effects (over 5)" in found.settings["did"]
    assert found.estimate is not None
    estimated = found.estimate.table.set_index(["sender", "receiver"])["value"]
    for edge, score in zip(found.edges, found.scores, strict=True):
        assert score == pytest.approx(estimated[edge], abs=1e-5)
    assert found.curve is not None
    sizes = found.curve.table()["edges"].tolist()
    assert sizes == sorted(set(sizes), reverse=True)
    assert found.curve.table().loc[found.curve.chosen, "ci_low"] >= 0.95


def test_an_estimate_that_is_worthless_scores_nothing(monkeypatch):
    monkeypatch.setattr(Estimate, "unreliable", property(lambda found: "made so here"))
    own, run = circuits.ablation_effects, []
    monkeypatch.setattr(
        circuits,
        "ablation_effects",
        lambda runs, circuit, *rest: (run.append(len(circuit)), own(runs, circuit, *rest))[1],
    )
    net = dense(0)
    found = find_circuit(net.model, net.task, prompts=8, draws=20)
    assert run == [len(edges(net.model))]
    assert "worthless as an estimate (made so here)" in found.settings["did"]
    assert "attributions, not exact" not in found.settings["did"]
