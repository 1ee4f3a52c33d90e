"""Circuits of nets that descend or iterate by wired weights: exactly what was planted, nothing in untrained nets.

Nets of more than a layer stand among 8 decoys here, of which a quarter read the task's tokens, among 20 with
ALGOSCOPE_FULL=1; those of one stand among 20.
"""

from __future__ import annotations

import os

import pytest
import torch

from interp.calibration.circuits import NETS, recovered
from interp.causal.behaviour import rounding
from interp.causal.circuits import find_circuit
from interp.models import build_model
from interp.models.distractors import head_norms
from tasks import InContextRegression
from tasks.errors import UserError

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
SHALLOW = ("1 hops", "1 steps")  # 20 decoys each; the others have them with full counts
D, N = 3, 12
TASK = InContextRegression(d=D, n=N, layout="merged")


def search(model, **settings):
    """All edges that carry anything: single effects on the distance to the whole model's output, above rounding."""
    settings = {"search": "threshold", "prompts": 64, "draws": 100, "threshold": rounding(model), **settings}
    return find_circuit(model, TASK, metric="squared_output_distance", **settings)


@pytest.mark.parametrize("name", NETS)
def test_the_default_search_returns_exactly_what_was_planted_among_decoys(name):
    exact = not name.startswith(("GD", "Newton"))  # retrieval makes no error, so few prompts show it
    prompts = 32 if exact else 64
    distractors = 20 if FULL or any(word in name for word in SHALLOW) else 8
    row = recovered([name], prompts=prompts, distractors=distractors).iloc[0]
    assert row["distractors"] == distractors
    assert (row["precision"], row["recall"], row["right_heads"]) == (1.0, 1.0, True)


@pytest.mark.parametrize("name", ["retrieval, 2 hops, chain", "GD++, 2 steps, relu", "Newton, 1 steps"])
def test_single_effects_on_the_output_find_it_too(name):
    net = NETS[name](20, 0)
    found = find_circuit(
        net.model,
        net.task,
        metric="squared_output_distance",
        search="threshold",
        threshold=rounding(net.model),
        draws=100,
    )
    assert set(found.edges) == net.circuit.edges
    assert min(found.scores) > 1e-7, "far above rounding (5e-26), so no edge was found by chance"


def test_a_net_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="no hand-constructed model"):
        recovered(["GD, 9 steps"])


def test_the_row_of_a_net_whose_circuit_is_wrong_says_so(monkeypatch):
    """A decoy whose writes are read is found, and stands in the table as a wrong edge."""
    build = NETS["GD, 1 steps, linear"]

    def betrayed(distractors: int, seed: int):
        net = build(distractors, seed)
        label = (net.model.W_U[:, 0] != 0).nonzero().item()
        seat = int(min(net.circuit.distractors).split("H")[1])
        writes = net.model.blocks[0].attn.W_O[seat].data
        writes[:, label] = 0.01 * writes.norm(dim=1)
        return net

    monkeypatch.setitem(NETS, "betrayed", betrayed)
    row = recovered(["betrayed"]).iloc[0]
    assert row["recall"] == 1
    assert row["precision"] < 1
    assert not row["right_heads"]


@pytest.mark.parametrize("seed", [1, 2])
def test_other_seats_and_other_prompts_change_nothing(seed):
    net = NETS["GD++, 2 steps, relu"](20, seed)
    assert set(search(net.model, seed=seed).edges) == net.circuit.edges


def test_single_effects_on_a_signed_metric_can_cancel_and_miss_edges_that_carry_something():
    net = NETS["GD++, 2 steps, linear"](20, 0)
    found = find_circuit(net.model, TASK, search="threshold", prompts=64, draws=100)
    assert set(found.edges) < net.circuit.edges


@pytest.mark.parametrize("name", ["GD, 2 steps, linear", "GD++, 2 steps, relu"])
def test_an_untrained_net_of_the_same_shape_has_no_circuit(name):
    model = NETS[name](4, 0).model
    for seed in range(4):
        untrained = build_model(model.config, TASK.interface, seed).eval()
        found = search(untrained, seed=seed)
        assert found.edges == ()
        assert "no behaviour" in found.settings["note"]


@pytest.mark.parametrize("name", ["GD, 2 steps, linear", "GD++, 2 steps, relu", "Newton, 1 steps"])
def test_decoys_attend_more_strongly_write_as_much_and_are_read_by_nothing(name):
    net = NETS[name](20, 0)
    model, circuit = net.model, net.circuit
    norms = head_norms(model, TASK)
    target = torch.cat([norms[head] for head in circuit.heads]).median()
    batch = TASK.sample(3, "eval", 0, 32)
    base, cache = model.run_with_cache(batch.inputs)
    attended = {
        head: float(cache[f"blocks.{head[1]}.attn.hook_pattern"][:, int(head.split("H")[1])].abs().mean())
        for head in circuit.heads | circuit.distractors
    }
    planted = torch.tensor([attended[head] for head in circuit.heads]).median()
    assert torch.tensor([attended[head] for head in circuit.distractors]).median() > planted
    silenced = []
    for head in sorted(circuit.distractors):
        assert norms[head].median().item() == pytest.approx(target.item(), rel=0.05)
        layer, seat = int(head[1]), int(head.split("H")[1])
        reads_task = model.blocks[layer].attn.W_V[seat][:D].any()
        silenced.append((layer, seat, bool(reads_task)))

        def silence(z: torch.Tensor, hook: object, seat: int = seat) -> torch.Tensor:
            return z.index_fill(2, torch.tensor(seat), 0.0)

        cut = model.run_with_hooks(batch.inputs, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", silence)])
        assert torch.equal(cut, base) or torch.allclose(cut, base, atol=1e-13)
    assert sum(reads for *_, reads in silenced) == 5
