"""Circuits from coarse to fine: planted edges are found among distractors; silence where there is nothing to find."""

import pytest
import torch

from interp.causal import coarse
from interp.causal.behaviour import NO_BEHAVIOUR, resampled_pair
from interp.causal.coarse import find_among, node_order
from interp.causal.conclusions import circuit as conclude
from interp.causal.metrics import metric_of
from interp.causal.nodes import nodes
from interp.causal.over_training import CircuitSearch, circuit_at
from interp.models import TransformerConfig, build_model
from interp.models.constructed import constructed_induction, constructed_retrieval
from tasks import UserError

NETS = {
    "induction": lambda: constructed_induction(distractors=10),
    "chain": lambda: constructed_retrieval(2, variant="chain", distractors=6),
    "merge": lambda: constructed_retrieval(3, variant="merge", distractors=6),
}


def pairs(task, prompts=32):
    return tuple(resampled_pair(task, 0, prompts, stream) for stream in ("circuit", "circuit, validation"))


@pytest.mark.parametrize("name", NETS)
def test_the_planted_edges_are_found_exactly_whatever_is_kept_apart_besides(name):
    net = NETS[name]()
    planted = set(net.circuit.roles)
    for extra in (0, 2):
        found = find_among(net.model, net.task, pairs(net.task), nodes=len(planted) + extra)
        assert planted <= set(found.settings["nodes"])
        assert set(found.edges) == set(net.circuit.edges)
        assert found.curve.table()["value"].iloc[0] == pytest.approx(1)


def test_an_estimate_first_finds_them_too(monkeypatch):
    monkeypatch.setattr(coarse, "MOST_SINGLE", 10)
    net = NETS["induction"]()
    found = find_among(net.model, net.task, pairs(net.task), nodes=4)
    assert set(net.circuit.edges) <= set(found.edges)
    assert "each by a new estimate" in found.settings["did"]


def test_edges_that_are_not_there_are_not_missed_where_a_planted_head_is_not_kept_apart():
    net = NETS["induction"]()
    found = find_among(net.model, net.task, pairs(net.task), nodes=2)
    assert set(found.edges) == set(net.circuit.edges)
    order = {"L1H1": 1.0, "L0H0": 0.0} | {f"L1H{i}": 0.0 for i in (0, 2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coarse, "node_order", lambda *_: order)
        fewer = find_among(net.model, net.task, pairs(net.task), nodes=2)
    assert set(fewer.edges) == {edge for edge in net.circuit.edges if "L0H4" not in "".join(edge)}


def test_the_order_is_by_what_each_node_alone_costs():
    net = NETS["chain"]()
    pair = resampled_pair(net.task, 0, 16)
    order = node_order(net.model, pair, metric_of(net.task, pair, "loss"))
    assert len(order) == len(nodes(net.model))
    assert set(list(order)[: len(net.circuit.roles)]) == set(net.circuit.roles)
    assert [abs(v) for v in order.values()] == sorted((abs(v) for v in order.values()), reverse=True)
    assert max(abs(v) for v in list(order.values())[len(net.circuit.roles) :]) < 0.01


def test_an_untrained_net_has_no_circuit():
    task = constructed_induction().task
    silent = 0
    for seed in range(6):
        model = build_model(TransformerConfig(n_layers=2, n_heads=4, d_model=32), task.interface, seed).eval()
        found = find_among(model, task, pairs(task), nodes=4)
        silent += not found.edges and found.settings["note"] == NO_BEHAVIOUR
    assert silent == 6


def stand_ins(copies=4):
    """An induction net with both its heads several times over, for distractors: no single one is needed."""
    net = constructed_induction(distractors=10)
    with torch.no_grad():
        for layer, head in ((0, 4), (1, 1)):
            attn = net.model.blocks[layer].attn
            others = [i for i in range(attn.heads) if i != head][: copies - 1]
            for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"):
                weight = getattr(attn, name)
                for other in others:
                    weight[other] = weight[head]
    return net


def test_what_no_single_node_is_needed_for_is_reported_as_carried_elsewhere():
    net = stand_ins()
    model, task = net.model, net.task
    found = find_among(model, task, pairs(task), nodes=2)
    assert not found.edges
    assert found.settings["note"] == coarse.HIDDEN.format(2)
    table = CircuitSearch(nodes=2, prompts=32).measure(model, task).assign(step=0)
    assert "no circuit: no edge among the 2 strongest nodes" in conclude(table)[0].text
    assert circuit_at(table, 0).edges == ()


def test_a_search_says_what_it_kept_apart_and_what_is_left_without_any_edge():
    net = NETS["merge"]()
    table = CircuitSearch(nodes=5, prompts=16).measure(net.model, net.task).assign(step=0)
    first, second, *_ = [sentence.text for sentence in conclude(table)]
    assert "12 edges through 3 heads among the 5 strongest heads and MLPs" in first
    assert "matched random circuits" in first
    assert second.startswith("0 on this scale is the run without any edge among them, which keeps ")
    assert set(table.loc[table["metric"] == "node", "sender"]) >= set(net.circuit.roles)
    drawn = table[(table["metric"] == "faithfulness") & (table["control"] == "random")]
    assert len(drawn) == 100
    assert drawn["value"].median() < 0.9
    assert (table["n"].dropna() == 32).sum() > 3  # others than the 16 of the search
    kept = table[table["metric"] == "kept"]
    assert kept["ci_low"].notna().all()


def test_settings_of_another_search_are_refused():
    net = NETS["induction"]()
    with pytest.raises(UserError, match="at least 2"):
        find_among(net.model, net.task, pairs(net.task), nodes=1)
    with pytest.raises(UserError, match="leave edges, method and search out"):
        CircuitSearch(nodes=3, search="greedy").measure(net.model, net.task)
    assert CircuitSearch(nodes=3).key != CircuitSearch().key
