"""Tests of a circuit: what each says of the right circuit, one that lacks a part, one with parts too many."""

from __future__ import annotations

import pytest
import torch

from interp.calibration.circuit_sizes import Sums, boundary_size, circuit_of, net_of
from interp.causal.circuits import find_circuit
from interp.causal.graph import edges
from interp.causal.hypothesis_tests import check_circuit, equivalence, minimality_p, rejected
from interp.causal.inflated import inflations, random_path
from interp.causal.report_lines import test_lines as lines_of
from interp.models.constructed import constructed_retrieval
from tasks.errors import UserError

torch.set_num_threads(1)
IDLE = 8  # heads that carry nothing of the target
GAINS = (1.0, 1.0, 1.0, 0.05, *[0.1] * (IDLE - 1))
TASK = Sums(gains=(1.0, 1.0, 1.0, *[0.0] * IDLE))


def table_of(heads, gains):
    settings = {"prompts": 96, "permutations": 99, "inflated": 60}
    return check_circuit(net_of(gains, TASK, 0), TASK, circuit_of(heads), **settings)


def test_the_right_circuit_passes_all_three():
    table = table_of((0, 1, 2), (1.0, 1.0, 1.0, *[0.0] * IDLE))
    assert not rejected(table, "equivalence").any()
    assert not rejected(table, "independence").any()
    assert rejected(table, "minimality").all()
    assert "6 of 6 edges are needed" in lines_of(table)[-1]


def test_a_circuit_that_lacks_a_part_is_neither_equivalent_nor_independent():
    table = table_of((0,), GAINS)
    assert rejected(table, "equivalence").all()
    assert rejected(table, "independence").all()
    whole = table[table["metric"] == "equivalence test"].iloc[0]
    assert whole["test_statistic"] > 0.6, "its loss is the higher one on most prompts"


def test_edges_too_many_are_not_called_needed():
    table = (
        table_of((0, 1, 2, 3), GAINS).query("metric == 'minimality test'").set_index(["sender", "receiver"])
    )
    needed = {edge for edge, row in table.iterrows() if row["value"] <= 0.05}
    assert needed == circuit_of((0, 1, 2))


def test_the_planted_circuit_of_a_hand_constructed_net_passes():
    net = constructed_retrieval(2, vocab=12, chains=3, distractors=6, dtype="float32")
    found = find_circuit(net.model, net.task, prompts=16)
    table = check_circuit(net.model, net.task, found.edges, prompts=48, permutations=99, inflated=80)
    assert not rejected(table, "equivalence").any()
    assert not rejected(table, "independence").any()
    assert rejected(table, "minimality").all()
    assert (table["edges"] == len(found.edges)).all()


def test_sizes_at_the_edge_of_the_null_and_ties():
    """Exact: at P(circuit better) = 1/2 + tolerance the test rejects 2 to 8 times in 100."""
    for prompts in (64, 128, 256):
        assert 0.02 <= boundary_size(prompts) <= 0.08
        assert 0.02 <= boundary_size(prompts, 0.0) <= 0.08
    same = torch.ones(20)
    assert equivalence(same, same) == (0.5, 1.0, 0)
    assert equivalence(same + 1e-9, same, least=1e-6)[2] == 0
    draws = torch.arange(100).double()
    assert minimality_p(1e9, draws)[1] == pytest.approx(0.9**100)
    assert minimality_p(50.0, draws)[1] > 0.99
    assert minimality_p(1.0, draws[:0])[1] == 1


def test_inflated_circuits_have_a_whole_path_more_and_one_new_edge_marked():
    net = constructed_retrieval(2, vocab=12, chains=3, distractors=6)
    known, own = edges(net.model), net.circuit.edges
    for whole, edge in inflations(known, own, 20, 0):
        assert own < whole <= set(known)
        assert edge in whole - own
    path = random_path(known, torch.Generator().manual_seed(0))
    assert path[0][1] == "output"
    assert path[-1][0] == "embed"
    assert not list(inflations(known, known, 3, 0)), "no path is new where every edge is in the circuit"
    full = check_circuit(net.model, net.task, known, prompts=16, permutations=9, inflated=5)
    assert not rejected(full, "minimality").any()


def test_edges_that_are_not_there_are_refused():
    with pytest.raises(UserError, match="no edge"):
        check_circuit(net_of(GAINS, TASK, 0), TASK, [("embed", "L3H0.v")], prompts=8)
