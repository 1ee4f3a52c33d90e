"""Pruning: the planted circuit where there is one way, one of two equal ways, nothing without a behaviour."""

from __future__ import annotations

import pytest
import torch

from interp.causal.circuits import find_circuit
from interp.causal.faithfulness import judge, precision_recall
from interp.config.model_transformer import TransformerConfig
from interp.models import build_model
from interp.models.constructed import constructed_retrieval
from tasks import MultiHopRetrieval

torch.set_num_threads(1)


@pytest.mark.parametrize("hops", [1, 2])
def test_the_planted_circuit_is_what_is_left(hops) -> None:
    net = constructed_retrieval(hops, vocab=12, chains=3, distractors=6, dtype="float32")
    found = find_circuit(net.model, net.task, prompts=16)
    assert precision_recall(found.edges, net.circuit.edges) == (1.0, 1.0)


def test_two_equal_ways_leave_one_that_still_works() -> None:
    """With every head of a chain net doubled (each writing half), no single edge is needed, yet pruning keeps a way."""
    net = constructed_retrieval(1, variant="chain", vocab=12, chains=3, dtype="float32")
    attn, task = net.model.blocks[0].attn, net.task
    config = net.model.config.model_copy(update={"n_heads": 2 * net.model.config.n_heads})
    twin = build_model(config, task.interface, 0).eval()
    state = {name: value.clone() for name, value in net.model.state_dict().items()}
    for name in ("w_q", "w_k", "w_v"):
        state[f"blocks.0.attn.{name}"] = torch.cat([getattr(attn, name).data] * 2, dim=1)
    state["blocks.0.attn.w_o"] = torch.cat([attn.w_o.data] * 2, dim=0)
    twin.load_state_dict(state)
    single = find_circuit(twin, task, prompts=32, search="threshold")
    pruned = find_circuit(twin, task, prompts=24, search="prune")
    assert not single.edges
    assert len(pruned.heads) == 1
    judged = judge(twin, task, pruned, prompts=24, random=2).query(
        "metric == 'faithfulness' and control == 'none'"
    )
    assert judged["value"].iloc[0] > 0.9


def test_an_untrained_net_has_no_circuit() -> None:
    task = MultiHopRetrieval(hops=2, chains=3, vocab=16)
    config = TransformerConfig(
        n_layers=2,
        n_heads=2,
        d_model=16,
        mask="full",
        layer_norm="no_affine",
        mlp="none",
        positions="none",
        biases=False,
    )
    for seed in range(3):
        model = build_model(config, task.interface, seed).eval()
        assert not find_circuit(model, task, prompts=32, search="prune", seed=seed).edges
