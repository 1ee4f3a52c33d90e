"""What a row of attention can reach: the graph's answer against what zeroing it does, and no name for what cannot."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from interp.analysis.conclusion import paragraph
from interp.causal.circuits import find_circuit
from interp.causal.interventions import intervene
from interp.causal.reach import live_rows, without_dead_rows
from interp.causal.report_lines import heads_in
from interp.config.model_transformer import TransformerConfig
from interp.heads import ablation_conclusions
from interp.heads.mechanism import identified_circuit, mechanism
from interp.heads.roles import roles
from interp.hooks.sites import Site
from interp.models import build_model
from interp.models.constructed import constructed_retrieval
from tasks import InContextRegression

TASK = InContextRegression(d=2, n=3)


@pytest.mark.parametrize(
    "settings", [{"mask": "full"}, {"mask": "causal"}, {"mask": "full", "mask_query": True}]
)
@pytest.mark.parametrize("output_positions", [[6], [2, 4]])
def test_a_row_is_live_exactly_where_zeroing_it_changes_a_read_output(settings, output_positions) -> None:
    model = build_model(
        TransformerConfig(n_layers=3, n_heads=2, d_model=8, dtype="float64", **settings), TASK.interface, 0
    ).eval()
    inputs = TASK.sample(0, "test", 0, 4).double().inputs
    live = live_rows(model.config, inputs.shape[1], output_positions)
    base = model(inputs)[:, output_positions]
    for layer in range(3):
        for position in range(inputs.shape[1]):
            zero = torch.zeros(4, model.config.head_width, dtype=torch.float64)
            moved, _ = intervene(model, inputs, [(Site("z", layer, 1, position), zero)])
            assert bool((moved[:, output_positions] != base).any()) == bool(live[layer, position]), (
                layer,
                position,
            )


def with_a_late_copy(seed: int):
    """The three-hop merging net; a decoy of its last layer is given the queries and keys of the head by which links
    attend to their successors, and an output of the same size.
    """
    net = constructed_retrieval(3, "merge", distractors=4, seed=seed)
    ahead = next(h for h, role in net.circuit.roles.items() if role == "link_k -> link_k+1")
    late = next(h for h in sorted(net.circuit.distractors) if h.startswith("L1"))
    first, last = net.model.typed_blocks()[0].attn, net.model.typed_blocks()[1].attn
    with torch.no_grad():
        for name in ("W_Q", "W_K"):
            getattr(last, name)[int(late[3:])] = getattr(first, name)[int(ahead[3:])]
    return net, ahead, late


def test_a_head_of_the_last_layer_on_link_rows_is_never_named() -> None:
    net, ahead, late = with_a_late_copy(3)
    table = mechanism(net.model, net.task, prompts=96)
    named = set(" ".join(table["members"].dropna()).split())
    assert ahead in named
    assert late not in named
    assert identified_circuit(table)["circuit"].iloc[0] == "look-ahead"
    held = roles(net.model, net.task, prompts=96).set_index(["layer", "head"])
    assert held.loc[(1, int(late[3:])), "role"] != "link_k -> link_k+1"
    assert len(held) == net.model.config.n_layers * net.model.config.n_heads
    assert late not in paragraph(ablation_conclusions.mechanism(table.assign(step=0)))


def test_words_name_the_heads_of_the_drawn_circuit_and_the_others_apart() -> None:
    net, ahead, _ = with_a_late_copy(3)
    table = mechanism(net.model, net.task, prompts=96).assign(step=0)
    circuit = find_circuit(net.model, net.task, prompts=32).table().assign(metric="edge")
    assert "outside the circuit" not in paragraph(ablation_conclusions.mechanism(table, heads_in(circuit)))
    less = circuit[circuit["sender"] != ahead]
    assert f"outside the circuit: {ahead}" in paragraph(ablation_conclusions.mechanism(table, heads_in(less)))


def test_scores_of_dead_rows_go_and_controls_stay() -> None:
    net = constructed_retrieval(2, "merge")
    relations = net.task.relations(net.task.sample(0, "test", 0, 1))
    ahead = "link_1 -> link_2"
    rows = [(0, ahead, "none"), (1, ahead, "none"), (1, ahead, "untrained"), (1, "query -> link_1", "none")]
    scores = pd.DataFrame(rows, columns=["layer", "metric", "control"])
    kept = without_dead_rows(scores, net.model.config, net.task, relations)
    assert kept.index.tolist() == [0, 2, 3]
