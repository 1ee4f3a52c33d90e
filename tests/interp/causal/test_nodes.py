"""Circuits of heads and MLPs: the planted ones carry everything, other heads nothing; ends of the curve; refusals."""

import pytest
import torch

import interp
from interp.causal.nodes import node_curve, nodes
from interp.models.constructed import constructed_retrieval
from tasks import UserError
from tests.external.adopting import theirs


def test_the_planted_heads_alone_carry_the_answers():
    net = constructed_retrieval(2, variant="chain", distractors=6, dtype="float32")
    pair = net.task.pair("swap-hop-1", 0, "test", 0, 32)
    planted = sorted(net.circuit.roles)
    rest = [site.label for site in nodes(net.model) if site.label not in planted]
    table = node_curve(
        net.model,
        net.task,
        pair,
        [*planted, *rest],
        sizes=(1, len(planted), len(planted) + len(rest)),
        controls=8,
    )
    own = table[table["control"] == "none"].set_index("size")["value"]
    assert own[len(planted)] == pytest.approx(1, abs=1e-3)
    assert own[len(planted) + len(rest)] == pytest.approx(1, abs=1e-5)
    assert own[1] < 0.9  # one of them is not enough
    random = table[(table["control"] == "random") & (table["size"] == len(planted))]
    assert random["value"].min() < 0.5
    assert table["ci_low"].notna().all()


@torch.no_grad()
def test_all_nodes_of_an_adopted_model_are_its_run_and_the_replaced_write_as_elsewhere():
    task = {"kind": "induction", "vocabulary": 13, "length": 4, "candidates": 0}
    run = interp.adopt(theirs.drawn(theirs.KINDS["Llama"]()), task=task, quiet=True)
    model, pair = run.model(), run.task.pair("other-copies", 0, "test", 0, 6)
    order = [site.label for site in nodes(model)]
    assert len(order) == 8 + 2
    heads = order[:8]
    value = node_curve(model, run.task, pair, [*order[8:], *heads], sizes=(2, 10))["value"]
    assert value[1] == pytest.approx(1, abs=1e-5)
    caches = [
        model.run_with_cache(b.inputs, return_cache_object=False)[1] for b in (pair.clean, pair.corrupt)
    ]
    hooks = [
        (name := f"blocks.{layer}.attn.hook_z", lambda z, hook, other=caches[1][name]: other.clone())
        for layer in range(2)
    ]
    loss = [run.task.loss(model(b.inputs), pair.clean).mean() for b in (pair.clean, pair.corrupt)]
    by_hand = run.task.loss(model.run_with_hooks(pair.clean.inputs, fwd_hooks=hooks), pair.clean).mean()
    assert value[0] == pytest.approx(float((by_hand - loss[1]) / (loss[0] - loss[1])), abs=1e-3)
    with pytest.raises(UserError, match="no node"):
        node_curve(model, run.task, pair, ["embed"], sizes=(1,))
    with pytest.raises(UserError, match="cannot keep 3 nodes"):
        node_curve(model, run.task, pair, heads[:2], sizes=(3,))
    with pytest.raises(UserError, match="twice"):
        node_curve(model, run.task, pair, ["L0H0", "L0H0"], sizes=(1,))
