"""One by one, doubling, or neither: hand-constructed nets of both kinds and of none, and models made elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from interp.heads.damage import damage
from interp.heads.growth import hop_growth
from interp.models.constructed import constructed_induction, constructed_retrieval
from interp.models.constructed_hops import constructed_doubling
from tasks import UserError
from tasks.markov import MarkovChains

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
SEEDS = range(100 if FULL else 1)
MODELS = Path(os.environ.get("ALGOSCOPE_DATA", "")) / "hop_induction"


def last(table):
    return table[table["metric"] == "verdict"].iloc[0]


def made(kind, seed):
    """A hand-constructed net of a kind, of sizes by the seed, with distractor heads."""
    more = {"distractors": 4 * (seed % 4), "seed": seed, "chains": 2 + seed % 2}
    if kind == "doubling":
        return constructed_doubling(3, vocab=8 * more["chains"], **more)
    return constructed_retrieval(3 + seed % 3, "chain", vocab=18, **more)


@pytest.mark.parametrize("kind", ["doubling", "one by one"])
def test_hand_constructed_nets_of_both_kinds_are_told_apart(kind, record_property):
    nets = (made(kind, seed) for seed in SEEDS)
    said = [last(hop_growth(net.model, net.task, prompts=48))["members"] for net in nets]
    right = sum(answer == kind for answer in said)
    row = {"section": "growth", "what": kind, "tried": len(said), "result": f"{right} right", "remark": ""}
    record_property("trust", row)
    assert right >= 0.95 * len(said)


def test_what_a_head_reaches_and_what_that_rests_on():
    net = constructed_doubling(3, vocab=16, distractors=6, seed=3)
    table = hop_growth(net.model, net.task, prompts=48)
    reach = table[table["metric"] == "reach"]
    planted = {tuple(map(int, head[1:].split("H"))) for head in net.circuit.heads}
    assert {(r.layer, r.head) for r in reach.itertuples()} == planted
    assert all(r.position == f"find^{2**r.layer}" for r in reach.itertuples())
    effects = table[table["metric"] == "effect"].set_index("members")["value"]
    assert effects["find^2 -> find^4"].min() > 0.8
    assert effects["find^1 -> find^4"].abs().max() < 1e-6


def test_the_verdict_is_neither_where_no_kind_is_shown():
    net = constructed_retrieval(2, "merge", vocab=16, chains=2)
    assert (
        last(hop_growth(net.model, net.task, prompts=32))["members"] == "neither"
    )  # no head goes three hops
    net = made("doubling", 0)
    with torch.no_grad():
        for block in net.model.blocks:
            block.attn.w_q.normal_()
    found = hop_growth(net.model, net.task, prompts=32)
    assert (last(found)["members"], len(found)) == ("neither", 1)  # nothing reached, nothing said
    assert "cannot be distinguished" in last(found)["note"]
    with pytest.raises(UserError, match="8 prompts give no intervals"):
        hop_growth(net.model, net.task, prompts=8)
    with pytest.raises(UserError, match="no hops to follow"):
        hop_growth(net.model, MarkovChains(), prompts=32)


def test_damage_is_foretold_by_the_planted_circuit_and_not_by_another():
    net = constructed_induction(vocab=12, distractors=6, dtype="float32")
    table = damage(net.model, net.task, net.circuit.edges, prompts=48)
    agreed = table[table["metric"] == "rank correlation"].iloc[0]
    assert agreed["value"] > 0.95
    measured = table[table["metric"] == "measured"].set_index(["layer", "head"])["value"]
    for name in net.circuit.heads:
        assert measured[tuple(map(int, name[1:].split("H")))] > 0.5
    idle = sorted(net.circuit.distractors)[0]
    wrong = damage(net.model, net.task, [("embed", f"{idle}.v"), (idle, "output")], prompts=48)
    assert wrong[wrong["metric"] == "rank correlation"].iloc[0]["value"] < 0.5
    nothing = damage(net.model, net.task, [], prompts=16)
    assert "no behaviour" in nothing[nothing["metric"] == "rank correlation"].iloc[0]["note"]


@pytest.mark.skipif(
    not MODELS.is_dir(), reason="k-hop models made elsewhere: set ALGOSCOPE_DATA to hop_induction/"
)
def test_the_deep_models_made_elsewhere_double():
    transformers = pytest.importorskip("transformers")
    import interp
    from tasks.khop import KHop

    config = transformers.GPT2Config(
        vocab_size=30, n_positions=100, n_embd=128, n_layer=4, n_head=4, bos_token_id=0, eos_token_id=0
    )
    file = MODELS / "width4-depth4" / "model_100000.pt"
    run = interp.adopt(
        lambda: transformers.GPT2Model(config), checkpoints=file, task=KHop(vocabulary=30).at(7), layout="gpt2",
        quiet=True,
    )  # fmt: skip
    table = run.hop_growth(prompts=48).table
    assert last(table)["members"] == "doubling"
    assert run.untrained_model() is not None
    silent = hop_growth(run.untrained_model(), run.task, prompts=32)
    assert (last(silent)["members"], len(silent)) == ("neither", 1)
