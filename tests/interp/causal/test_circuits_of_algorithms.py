"""Circuits of nets that descend or iterate by wired weights: exactly what was planted, nothing in untrained nets."""

from __future__ import annotations

import pytest
import torch

from interp.causal.circuits import find_circuit, rounding
from interp.causal.faithfulness import precision_recall
from interp.models import build_model
from interp.models.decoys import head_norms
from interp.models.wired_algorithms import wired_gradient_descent, wired_newton
from tasks import InContextRegression

D, N = 3, 12
TASK = InContextRegression(d=D, n=N, layout="merged")
DESCENDING = {
    f"{'GD' if flattening is None else 'GD++'}, {steps} steps, {attention}": (steps, flattening, attention)
    for steps in (1, 2, 3)
    for flattening in (None, 0.1)
    for attention in ("linear", "relu")
}
NETS = [*DESCENDING, "Newton, 1 step", "Newton, 2 steps"]


def wired(name: str, seed: int = 0, decoys: int = 20):
    if name.startswith("Newton"):
        return wired_newton(int(name.split()[1]), D, N, 0.1, seed, decoys=decoys)
    steps, flattening, attention = DESCENDING[name]
    flat = None if flattening is None else [flattening] * steps
    return wired_gradient_descent([0.5] * steps, D, N, flat, attention, seed, decoys=decoys)


def search(model, **settings):
    """All edges that carry anything: the distance to the whole model's output, and rounding as threshold."""
    settings = {"prompts": 64, "draws": 100, "threshold": rounding(model), **settings}
    return find_circuit(model, TASK, metric="prediction_change", **settings)


@pytest.mark.parametrize("name", NETS)
def test_search_returns_exactly_what_was_planted_among_decoys(name):
    model, circuit = wired(name)
    assert len(circuit.decoys) == 20
    found = search(model)
    assert precision_recall(found.edges, circuit.edges) == (1.0, 1.0)
    assert found.heads == circuit.heads
    assert min(found.scores) > 1e12 * rounding(model)


@pytest.mark.parametrize("seed", [1, 2])
def test_other_seats_and_other_prompts_change_nothing(seed):
    model, circuit = wired("GD++, 2 steps, relu", seed)
    assert set(search(model, seed=seed).edges) == circuit.edges


def test_a_signed_metric_can_cancel_and_misses_edges_that_carry_something():
    model, circuit = wired("GD++, 2 steps, linear")
    found = find_circuit(model, TASK, prompts=64, draws=100)
    assert precision_recall(found.edges, circuit.edges)[0] == 1.0
    assert set(found.edges) < circuit.edges


@pytest.mark.parametrize("name", ["GD, 2 steps, linear", "GD++, 2 steps, relu"])
def test_an_untrained_net_of_the_same_shape_has_no_circuit(name):
    model, _ = wired(name, decoys=4)
    for seed in range(4):
        untrained = build_model(model.config, TASK.interface, seed).eval()
        found = search(untrained, seed=seed)
        assert found.edges == ()
        assert "no behaviour" in found.settings["note"]


@pytest.mark.parametrize("name", ["GD, 2 steps, linear", "GD++, 2 steps, relu", "Newton, 1 step"])
def test_decoys_attend_more_strongly_write_as_much_and_are_read_by_nothing(name):
    model, circuit = wired(name)
    norms = head_norms(model, TASK)
    target = torch.cat([norms[head] for head in circuit.heads]).median()
    batch = TASK.sample(3, "eval", 0, 32)
    base, cache = model.run_with_cache(batch.inputs)
    attended = {
        head: float(cache[f"blocks.{head[1]}.attn.hook_pattern"][:, int(head.split("H")[1])].abs().mean())
        for head in circuit.heads | circuit.decoys
    }
    planted = torch.tensor([attended[head] for head in circuit.heads]).median()
    assert torch.tensor([attended[head] for head in circuit.decoys]).median() > planted
    silenced = []
    for head in sorted(circuit.decoys):
        assert norms[head].median().item() == pytest.approx(target.item(), rel=0.05)
        layer, seat = int(head[1]), int(head.split("H")[1])
        reads_task = model.blocks[layer].attn.W_V[seat][:D].any()
        silenced.append((layer, seat, bool(reads_task)))

        def silence(z: torch.Tensor, hook: object, seat: int = seat) -> torch.Tensor:
            return z.index_fill(2, torch.tensor(seat), 0.0)

        cut = model.run_with_hooks(batch.inputs, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", silence)])
        assert torch.equal(cut, base) or torch.allclose(cut, base, atol=1e-13)
    assert sum(reads for *_, reads in silenced) == 5
