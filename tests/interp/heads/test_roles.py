"""Roles and chain matrices of nets whose circuit was written down, and silence on untrained ones."""

from __future__ import annotations

import pytest
import torch

from interp.config.model_transformer import TransformerConfig
from interp.heads.ablation import Ablations, all_heads
from interp.heads.chain import ChainMatrix, matrix
from interp.heads.roles import role_of, roles
from interp.models import build_model
from interp.models.constructed import ConstructedModel, constructed_retrieval
from tasks import UserError
from tasks.regression import InContextRegression
from tasks.retrieval import MultiHopRetrieval


@pytest.mark.parametrize("hops", [2, 4])
def test_every_planted_role_is_found_and_none_among_20_decoys(hops: int) -> None:
    net = constructed_retrieval(hops, distractors=20, seed=hops, dtype="float32")
    table = roles(net.model, net.task, prompts=48)
    found = {f"L{r.layer}H{r.head}": (r.role, r.verdict) for r in table.itertuples()}
    for head, role in net.circuit.roles.items():
        assert found[head] == (role, "needed"), head
    assert len(net.circuit.distractors) == 20
    others = {head: verdict for head, (_, verdict) in found.items() if head not in net.circuit.roles}
    assert set(others.values()) <= {"none", "idle"}


def _doubled(net: ConstructedModel, head: str) -> tuple[int, int]:
    """Give a planted head a twin in a free seat of its layer; returns the twin."""
    layer, seat = (int(part) for part in head[1:].split("H"))
    attn = net.model.typed_blocks()[layer].attn
    free = next(h for h in range(attn.heads) if not bool(attn.W_O[h].any()))
    with torch.no_grad():
        for name in ("W_Q", "W_K", "W_V", "W_O"):
            getattr(attn, name)[free] = getattr(attn, name)[seat]
    return layer, free


def test_a_head_with_a_twin_is_redundant_and_one_that_writes_nothing_is_idle() -> None:
    net = constructed_retrieval(3, "chain", distractors=9, seed=1, dtype="float32")
    first = next(head for head, role in net.circuit.roles.items() if role == "query -> link_1")
    layer = int(first[1])
    attn = net.model.typed_blocks()[layer].attn
    distractor = next(h for h in range(attn.heads) if f"L{layer}H{h}" in net.circuit.distractors)
    with torch.no_grad():
        attn.W_O[distractor].zero_()
    twin = _doubled(net, first)
    table = roles(net.model, net.task, prompts=48).set_index(["layer", "head"])
    seat = (layer, int(first.split("H")[1]))
    for head in (seat, twin):
        assert table.loc[head, "role"] == "query -> link_1"
        assert table.loc[head, "verdict"] == "redundant"
        assert table.loc[head, "with_peers_ablated"] > 0.3
    with torch.no_grad():
        attn.W_O[twin[1]].zero_()
    table = roles(net.model, net.task, prompts=48).set_index(["layer", "head"])
    assert table.loc[twin, "verdict"] == "idle"
    assert table.loc[seat, "verdict"] == "needed"


def test_an_untrained_net_has_no_role() -> None:
    task = MultiHopRetrieval(hops=3)
    config = TransformerConfig(n_layers=2, n_heads=4, d_model=32, mask="full", positions="none", mlp="none")
    model = build_model(config, task.interface, 0).eval()
    table = roles(model, task, prompts=48)
    assert set(table["role"]) == {""}


def test_roles_need_relations_heads_and_shares() -> None:
    task = InContextRegression(d=2, n=4)
    linear = TransformerConfig(n_layers=1, n_heads=2, d_model=8, attention="linear")
    with pytest.raises(UserError, match="softmax"):
        roles(build_model(linear, task.interface, 0).eval(), task)


def test_relations_of_one_kind_are_one_role() -> None:
    assert role_of("link_3 -> link_2") == role_of("rival link -> previous") == "link_k -> link_k-1"
    assert role_of("rival link -> next") == "link_k -> link_k+1"


def _chain_table(net: ConstructedModel):
    analysis = ChainMatrix()
    accumulator = analysis.accumulator(net.model, net.task, None)
    batch = net.task.sample(0, "chain test", 0, 64)
    with torch.no_grad():
        _, cache = net.model.run_with_cache(batch.inputs, names_filter=analysis.hooks(net.model))
    accumulator.add(0, batch, torch.zeros(64, 1, 1), cache)
    return accumulator.table()


def test_the_chain_matrix_shows_the_wired_circuit() -> None:
    net = constructed_retrieval(4, distractors=6)
    table = _chain_table(net)
    place = {role: tuple(int(p) for p in head[1:].split("H")) for head, role in net.circuit.roles.items()}
    ahead = matrix(table, *place["link_k -> link_k+1"])
    for k in range(1, 4):
        assert ahead.loc[f"link_{k}", f"link_{k + 1}"] == pytest.approx(1, abs=1e-6)
    rival = matrix(table, *place["link_k -> link_k-1"], chain="rival")
    assert rival.loc["link_3", "link_2"] == pytest.approx(1, abs=1e-6)
    third = matrix(table, *place["query -> link_3"], metric="argmax")
    assert third.loc["query", "link_3"] == 1
    assert third.loc["query", "link_2"] == 0
    score = table[(table["metric"] == "look-ahead 1")].set_index(["layer", "head"])["value"]
    assert score.idxmax() == place["link_k -> link_k+1"]
    assert score.max() == pytest.approx(1, abs=1e-6)
    assert (table["ci_low"] <= table["value"] + 1e-9).all()


def test_uniform_attention_is_the_chance_level_of_the_matrix() -> None:
    net = constructed_retrieval(2)
    level = ChainMatrix().constants(net.model, net.task, None)
    assert level["value"].to_numpy() == pytest.approx(1 / net.task.interface.n_ctx, abs=1e-6)
    assert set(level["control"]) == {"uniform"}


def test_a_task_without_chains_is_refused() -> None:
    task = InContextRegression(d=2, n=4)
    model = build_model(TransformerConfig(n_layers=1, n_heads=2, d_model=8), task.interface, 0).eval()
    batch = task.sample(0, "x", 0, 4)
    with pytest.raises(UserError, match="no chains of links"):
        ChainMatrix().accumulator(model, task, None).add(0, batch, torch.zeros(4, 1, 1), {})


def test_ablations_name_the_head_of_each_hop() -> None:
    net = constructed_retrieval(3, "chain")
    analysis = Ablations(chunks=1)
    accumulator = analysis.accumulator(net.model, net.task, None)
    batch = net.task.sample(0, "ablation test", 0, 64)
    with torch.no_grad():
        out, cache = net.model.run_with_cache(batch.inputs, names_filter=analysis.hooks(net.model))
    accumulator.add(0, batch, out, cache)
    table = accumulator.table()
    assert len(table) == len(all_heads(net.model)) * 3
    last = table[table["position"] == "hop 1"].set_index(["layer", "head"])["value"]
    assert (last.loc[1:] == 0).all(), "hop 1 is read out of layer 0"
    assert last.loc[0].max() > 0.5
