"""Wired nets solve their task, and their declared circuit is the one that their weights hold."""

from __future__ import annotations

import itertools

import pytest
import torch

from interp.models.constructed import constructed_induction, constructed_retrieval
from interp.models.distractors import head_norms
from tasks.errors import UserError

FEWEST = {1: 1, 2: 2, 3: 2, 4: 2}


def solved(net, batch: int = 200) -> torch.Tensor:
    prompts = net.task.sample(7, "eval", 0, batch)
    with torch.no_grad():
        return net.task.score(net.model(prompts.inputs), prompts).mean(0)


def make(name: str, distractors: int = 0, seed: int = 0):
    if name == "induction":
        return constructed_induction(20, distractors=distractors, seed=seed)
    variant, hops = name.split("-")
    return constructed_retrieval(int(hops), variant, 20, distractors=distractors, seed=seed)


NETS = [f"{variant}-{hops}" for variant, hops in itertools.product(["merge", "chain"], range(1, 5))] + [
    "induction"
]


@pytest.mark.parametrize("distractors", [0, 20])
@pytest.mark.parametrize("name", NETS)
def test_wired_nets_solve_every_hop_of_their_task(name, distractors):
    net = make(name, distractors, seed=3)
    assert solved(net).tolist() == [1.0] * len(net.task.output_names)
    assert len(net.circuit.distractors) == distractors
    assert not net.circuit.distractors & net.circuit.heads


@pytest.mark.parametrize("hops", [1, 2, 3, 4])
def test_layers_are_the_fewest_for_merging_nets_and_one_a_hop_for_chains(hops):
    merge, chain = constructed_retrieval(hops), constructed_retrieval(hops, "chain")
    assert merge.model.config.n_layers == FEWEST[hops]
    assert chain.model.config.n_layers == hops
    assert merge.model.config.mask == "full"
    assert merge.model.config.positions == "none"


@pytest.mark.parametrize("name", NETS)
def test_declared_edges_are_those_of_the_weights(name):
    """Sender's output directions times receiver's input weights is non-zero exactly on the declared edges."""
    net = make(name, distractors=20)
    model, circuit = net.model, net.circuit
    writes = {
        "embed": torch.cat([p for n, p in model.named_parameters() if n.startswith(("token_embed", "pos"))])
    }
    reads = {"output": model.W_U}
    for layer, head in itertools.product(range(model.cfg.n_layers), range(model.cfg.n_heads)):
        place = f"L{layer}H{head}"
        if place in circuit.heads:
            attn = model.blocks[layer].attn
            writes[place] = attn.W_V[head] @ attn.W_O[head]
            reads |= {
                f"{place}.q": attn.W_Q[head],
                f"{place}.k": attn.W_K[head],
                f"{place}.v": attn.W_V[head],
            }
    found = {
        (sender, receiver)
        for (sender, written), (receiver, read) in itertools.product(writes.items(), reads.items())
        if (sender == "embed" or receiver == "output" or sender[:2] < receiver[:2])
        and (written @ read).abs().max() > 1e-12
    }
    assert found == circuit.edges | circuit.positional


@pytest.mark.parametrize("name", ["merge-3", "chain-2", "induction"])
def test_decoys_attend_sharply_write_as_much_and_are_read_by_nothing(name):
    net = make(name, distractors=20, seed=1)
    model, circuit = net.model, net.circuit
    norms = head_norms(model, net.task)
    target = torch.cat([norms[head] for head in circuit.heads]).median()
    prompts = net.task.sample(5, "eval", 0, 40)
    base, cache = model.run_with_cache(prompts.inputs)
    for head in circuit.distractors:
        layer, seat = int(head[1]), int(head.split("H")[1])
        assert norms[head].median().item() == pytest.approx(target.item(), rel=0.05)
        assert cache[f"blocks.{layer}.attn.hook_pattern"][:, seat].amax(-1).mean() > 0.8

        def silence(z: torch.Tensor, hook: object, seat: int = seat) -> torch.Tensor:
            return z.index_fill(2, torch.tensor(seat), 0.0)

        cut = model.run_with_hooks(prompts.inputs, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", silence)])
        assert torch.allclose(cut, base, atol=1e-12)
    task_slot = model.token_embed.W_E if name == "induction" else model.token_embed.W_E_key
    reading = 0
    for head in circuit.distractors:
        attn = model.blocks[int(head[1])].attn
        reading += bool(
            (task_slot[:, : net.task.vocab] @ attn.W_V[int(head.split("H")[1])][: net.task.vocab]).any()
        )
    assert reading == 5


@pytest.mark.parametrize("name", NETS)
def test_every_planted_head_is_needed(name):
    net = make(name, distractors=4)
    for head in net.circuit.heads:
        layer, seat = int(head[1]), int(head.split("H")[1])
        prompts = net.task.sample(7, "eval", 0, 60)

        def silence(z: torch.Tensor, hook: object, seat: int = seat) -> torch.Tensor:
            return z.index_fill(2, torch.tensor(seat), 0.0)

        hook = [(f"blocks.{layer}.attn.hook_z", silence)]
        cut = net.task.score(net.model.run_with_hooks(prompts.inputs, fwd_hooks=hook), prompts).mean(0)
        assert cut.min() < 0.6, head


def test_the_merging_net_has_no_head_from_the_query_to_the_last_link():
    net = constructed_retrieval(3)
    prompts = net.task.sample(0, "eval", 0, 100)
    _, cache = net.model.run_with_cache(prompts.inputs)
    rows = torch.arange(100)
    for layer in range(2):
        query = cache[f"blocks.{layer}.attn.hook_pattern"][:, :, -1]
        for head in range(query.shape[1]):
            assert query[rows, head, prompts.src[:, 2]].mean() < 0.2
    chain = constructed_retrieval(3, "chain")
    _, cache = chain.model.run_with_cache(prompts.inputs)
    assert cache["blocks.2.attn.hook_pattern"][rows, 0, -1, prompts.src[:, 2]].min() > 0.999


def test_seeds_move_the_heads_and_nothing_else():
    one, two = (
        constructed_retrieval(4, vocab=20, distractors=20, seed=0),
        constructed_retrieval(4, vocab=20, distractors=20, seed=1),
    )
    assert sorted(one.circuit.roles.values()) == sorted(two.circuit.roles.values())
    assert one.circuit.heads != two.circuit.heads
    again = constructed_retrieval(4, vocab=20, distractors=20, seed=0)
    assert again.circuit == one.circuit
    assert all(
        torch.equal(a, b) for a, b in zip(again.model.parameters(), one.model.parameters(), strict=True)
    )


def test_more_hops_than_wired_are_refused():
    with pytest.raises(UserError, match="1 to 4 hops, not 5"):
        constructed_retrieval(5)
    assert solved(constructed_retrieval(5, "chain")).tolist() == [1.0] * 5
