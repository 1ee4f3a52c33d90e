"""Circuits: planted ones found exactly, nothing on untrained nets, and what faithfulness means at its ends."""

from __future__ import annotations

import pytest
import torch

from interp.causal.circuits import (
    Circuit,
    connected,
    find_circuit,
    has_behaviour,
    resampled_pair,
)
from interp.causal.edge_runs import EdgeRuns
from interp.causal.faithfulness import Judge, judge, minimality, precision_recall, random_circuit
from interp.causal.graph import edges
from interp.causal.metrics import metric_of
from interp.causal.stability import jaccard, stability
from interp.config.model_transformer import TransformerConfig
from interp.models import build_model
from interp.models.wired import wired_induction, wired_retrieval
from tasks import InContextRegression
from tasks.errors import UserError

NETS = {
    **{f"merge, {hops} hops": (wired_retrieval, {"hops": hops, "variant": "merge"}) for hops in (1, 2, 3, 4)},
    **{f"chain, {hops} hops": (wired_retrieval, {"hops": hops, "variant": "chain"}) for hops in (2, 3, 4)},
    "induction": (wired_induction, {}),
}


def wired(name: str, decoys: int = 20):
    build, settings = NETS[name]
    return build(decoys=decoys, dtype="float32", **settings)


@pytest.mark.parametrize("name", NETS)
def test_search_returns_exactly_what_was_planted(name):
    net = wired(name)
    found = find_circuit(net.model, net.task, prompts=32, draws=200)
    assert precision_recall(found.edges, net.circuit.edges) == (1.0, 1.0)
    assert found.heads == net.circuit.heads
    assert min(found.scores) > 0.02


@pytest.mark.parametrize("name", ["merge, 2 hops", "induction"])
def test_greedy_growth_finds_it_too(name):
    net = wired(name)
    found = find_circuit(net.model, net.task, prompts=32, search="greedy", faithfulness=0.999, draws=200)
    assert set(found.edges) == net.circuit.edges


@pytest.mark.parametrize("metric", ["score", "logit_diff", "prediction_change"])
def test_other_metrics_find_it_too(metric):
    net = wired("merge, 2 hops", decoys=6)
    settings = {"prompts": 32, "search": "greedy", "faithfulness": 1.0, "draws": 200}
    found = find_circuit(net.model, net.task, metric=metric, **settings)
    assert set(found.edges) == net.circuit.edges
    table = judge(net.model, net.task, found, prompts=16, metric=metric, random=2, draws=50)
    assert table["value"][0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["merge, 2 hops", "induction"])
@pytest.mark.parametrize("method", ["exact", "EAP-IG"])
def test_an_untrained_net_has_no_circuit(name, method):
    net = wired(name, decoys=4)
    for seed in range(3):
        untrained = build_model(net.model.config, net.task.interface, seed).eval()
        found = find_circuit(untrained, net.task, prompts=32, seed=seed, method=method, draws=200)
        assert found.edges == ()
        assert "no behaviour" in found.settings["note"]


def test_false_alarms_of_the_behaviour_gate_are_rare():
    """On metrics without a difference the gate (99.9%, one side) may open for well under 1% of nets."""
    source = torch.Generator().manual_seed(0)
    opened = sum(has_behaviour(*torch.randn(2, 40, generator=source)) for _ in range(200))
    assert opened <= 3
    assert has_behaviour(torch.zeros(40), 1 + torch.rand(40, generator=source))


def test_judgement_of_a_planted_circuit():
    net = wired("merge, 3 hops")
    circuit = Circuit(tuple(sorted(net.circuit.edges)), (1.0,) * len(net.circuit.edges))
    table = judge(net.model, net.task, circuit, prompts=32, random=5, draws=200)
    value = {(r.metric, r.control): r.value for r in table.itertuples() if r.control != "random"}
    assert value["faithfulness", "none"] == pytest.approx(1, abs=1e-4)
    assert value["faithfulness", "full"] == pytest.approx(1, abs=1e-6)
    assert value["faithfulness", "empty"] == pytest.approx(0, abs=1e-6)
    assert value["completeness", "none"] == pytest.approx(1, abs=1e-4)
    assert value["minimality", "none"] > 0.05
    chance = table[table["control"] == "random"]
    assert len(chance) == 5
    assert chance["value"].abs().max() < 0.1
    assert (table["ci_low"] <= table["value"] + 1e-9).all()
    assert (table["value"] <= table["ci_high"] + 1e-9).all()


def test_a_superfluous_edge_costs_minimality_and_a_missing_one_faithfulness():
    net = wired("chain, 2 hops", decoys=4)
    pair = resampled_pair(net.task, 0, 32)
    bench = Judge(net.model, pair, metric_of(net.task, pair), draws=100)
    planted = set(net.circuit.edges)
    decoy = sorted(net.circuit.decoys)[0]
    more = planted | {("embed", f"{decoy}.v"), (decoy, "output")}
    drop = minimality(bench, more).set_index(["sender", "receiver"])["value"]
    assert drop[decoy, "output"] == pytest.approx(0, abs=1e-6)
    less = [planted - {edge} for edge in sorted(planted)]
    assert bench.faithfulness(less)["value"].max() < 0.95


@pytest.mark.parametrize(
    "settings", [{}, {"mask": "full", "attention": "linear"}, {"mlp": "none", "biases": False}]
)
def test_full_and_empty_circuits_are_the_two_runs(settings):
    task = InContextRegression(d=3, n=4)
    model = build_model(
        TransformerConfig(n_layers=2, n_heads=2, d_model=8, dtype="float64", **settings), task.interface, 1
    ).eval()
    pair = resampled_pair(task, 0, 6)
    runs = EdgeRuns(model, pair.clean.inputs, pair.corrupt.inputs)
    assert torch.allclose(runs.outputs(edges(model)), model(pair.clean.inputs), atol=1e-12)
    assert torch.allclose(runs.outputs(()), model(pair.corrupt.inputs), atol=1e-12)
    with pytest.raises(UserError, match="no edge"):
        runs.outputs([("L1H0", "L0H0.q")])


def test_search_is_stable_over_resampled_prompts():
    net = wired("merge, 2 hops", decoys=6)
    found, overlap = stability(net.model, net.task, range(3), prompts=32, draws=100)
    assert overlap == 1.0
    assert len(found) == 3
    half = Circuit(found[0].edges[:4], found[0].scores[:4])
    assert jaccard([found[0], half]) == 0.5
    with pytest.raises(UserError, match="two circuits"):
        jaccard(found[:1])


def test_dangling_edges_are_cut_off():
    way = {("embed", "L0H0.v"), ("L0H0", "L1H1.k"), ("L1H1", "output")}
    dangling = {("embed", "L0H1.q"), ("L1H0", "output"), ("L0H0", "L1H0.q") if False else ("L0H2", "L1H1.q")}
    assert connected(way | dangling) == way
    assert connected(dangling) == set()


def test_a_random_circuit_has_its_size_and_is_reproducible():
    every = edges(wired("induction", decoys=2).model)
    drawn = random_circuit(every, 5, 0, 0)
    assert len(drawn) == 5
    assert drawn == random_circuit(every, 5, 0, 0) != random_circuit(every, 5, 0, 1)


def test_circuits_survive_their_document():
    circuit = Circuit((("embed", "L0H1.v"), ("L0H1", "output")), (0.25, 1.0), {"method": "exact"})
    assert Circuit.from_json(circuit.to_json()) == circuit
    assert circuit.table()["value"].tolist() == [0.25, 1.0]
    assert Circuit.from_json(Circuit((), ()).to_json()).table().empty


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 9, "edges": [], "settings": {}}',
        '{"schema": 1, "edges": [["embed", "x.y", 1]], "settings": {}}',
        '{"schema": 1, "edges": [1], "settings": {}}',
    ],
)
def test_documents_that_are_no_circuits_are_refused(text):
    with pytest.raises(UserError) as error:
        Circuit.from_json(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("search", ["threshold", "greedy"])
def test_a_search_by_intervals_is_refused_where_prompts_are_too_few_for_them(search):
    net = wired("merge, 1 hops", decoys=0)
    with pytest.raises(UserError, match="take 32 or more"):
        find_circuit(net.model, net.task, prompts=31, search=search)
    assert find_circuit(net.model, net.task, prompts=16, search="prune").edges


@pytest.mark.parametrize(
    "settings", [{"search": "wild"}, {"threshold": 0.0}, {"method": "guess"}, {"metric": "beauty"}]
)
def test_bad_searches_are_refused(settings):
    net = wired("merge, 1 hops", decoys=0)
    with pytest.raises(UserError):
        find_circuit(net.model, net.task, prompts=32, **settings)


@pytest.mark.parametrize("settings", [{}, {"mask": "full", "attention": "linear"}, {"positions": "relative"}])
def test_runs_do_not_depend_on_the_runs_before_them(settings):
    task = InContextRegression(d=3, n=4)
    model = build_model(
        TransformerConfig(n_layers=3, n_heads=2, d_model=8, dtype="float64", **settings), task.interface, 1
    ).eval()
    pair = resampled_pair(task, 0, 4)
    prompts = pair.clean.inputs, pair.corrupt.inputs
    runs, every = EdgeRuns(model, *prompts), edges(model)
    source = torch.Generator().manual_seed(0)
    kept = list(every)
    for turn in range(24):
        kept.pop(int(torch.randint(len(kept), (1,), generator=source)))
        circuit = kept if turn % 5 else [every[turn]]  # now and then something else in between
        assert torch.equal(runs.outputs(circuit), EdgeRuns(model, *prompts).outputs(circuit))
    runs.remembered = 0
    assert torch.equal(runs.outputs(kept), EdgeRuns(model, *prompts).outputs(kept))
