"""Circuits of nets that descend by wired weights: what resampling can see of the planted edges, and nothing else."""

from __future__ import annotations

import pytest

from interp.causal.circuits import find_circuit
from interp.causal.faithfulness import precision_recall
from interp.models.wired_algorithms import wired_gradient_descent
from tasks import InContextRegression


@pytest.mark.parametrize("flattening", [None, [0.1, 0.1]])
def test_every_edge_found_in_a_descending_net_was_planted_and_every_head_is_found(flattening):
    """Recall stays under 1: the query's own label slot is empty in every prompt, so the way from the embedding to the
    output carries nothing that resampling could change, and a step's correction of the next one is small."""
    model, circuit = wired_gradient_descent([0.5, 0.5], 3, 12, flattening, dtype="float32")
    task = InContextRegression(d=3, n=12, layout="merged")
    found = find_circuit(model, task, prompts=128, draws=200)
    precision, recall = precision_recall(found.edges, circuit.edges)
    assert precision == 1.0
    assert recall > 0.6
    assert found.heads == circuit.heads
