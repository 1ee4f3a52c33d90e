"""Gradient screens: sums that must hold, exactness where everything is linear, a correlation beside each."""

from __future__ import annotations

import pytest
import torch

from interp.causal.attribution import (
    attribute_edges,
    attribute_sites,
    estimate_sites,
    node_scores,
)
from interp.causal.behaviour import resampled_pair
from interp.causal.completeness import completeness
from interp.causal.edge_effects import edge_effects, exact_edges
from interp.causal.edge_runs import EdgeRuns
from interp.causal.estimate import COMPLETE, TRUSTED, against_exact, complete_scores
from interp.causal.graph import written
from interp.causal.interventions import ablation_values, intervene
from interp.causal.metrics import custom, metric_of
from interp.causal.patching import run_patches
from interp.causal.paths import all_paths, patch_paths
from interp.config.model_transformer import TransformerConfig
from interp.hooks.sites import Site, grid
from interp.models import build_model
from interp.models.constructed import constructed_retrieval
from tasks import InContextRegression
from tasks.errors import UserError

TASK = InContextRegression(d=3, n=3)
LAST = custom("last output", lambda o: o[:, -1, 0], (6,))


def model_of(**settings):
    config = TransformerConfig(**{"n_layers": 2, "n_heads": 2, "d_model": 8, "dtype": "float64", **settings})
    return build_model(config, TASK.interface, 2).eval()


def pair():
    found = TASK.pair("replace-w", 0, "test", 0, 10)
    return type(found)(found.kind, found.clean.double(), found.corrupt.double(), found.changed)


@pytest.mark.parametrize("settings", [{"mlp": "none"}, {"layer_norm": "none"}, {"positions": "relative"}, {}])
def test_a_head_is_the_sum_of_its_outgoing_edges(settings):
    """A sender's total derivative is that of its edges: every way onward starts with one of them."""
    model, p = model_of(**settings), pair()
    nodes = node_scores(attribute_edges(model, p.clean.inputs, p.corrupt.inputs, LAST))
    sites = [Site("embed"), *grid(model, "z", 7, by=("layer", "head"))]
    direct = attribute_sites(model, p, sites, LAST, direction="noise")
    for site, value in zip(sites, direct, strict=True):
        assert torch.allclose(nodes[site.label], value, atol=1e-10), site


def test_edges_into_the_output_are_exact_without_a_final_norm():
    """Output edges are linear there, so the first order is all there is."""
    model, p = model_of(layer_norm="none"), pair()
    first = attribute_edges(model, p.clean.inputs, p.corrupt.inputs, LAST)
    exact = exact_edges(model, p.clean.inputs, p.corrupt.inputs, LAST)
    assert first.edges == exact.edges
    rows = [i for i, (_, receiver) in enumerate(first.edges) if receiver == "output"]
    assert torch.allclose(first.values[rows], exact.values[rows], atol=1e-10)
    others = [i for i in range(len(first.edges)) if i not in rows]
    assert not torch.allclose(first.values[others], exact.values[others], atol=1e-6)


@pytest.mark.parametrize("replacement", ["zero", "mean", "mean per position"])
def test_the_replacement_of_an_edge_is_explicit(replacement):
    model, p = model_of(), pair()
    scores = attribute_edges(model, p.clean.inputs, p.corrupt.inputs, LAST, replacement=replacement)
    usual = attribute_edges(model, p.clean.inputs, p.corrupt.inputs, LAST)
    assert scores.replacement == replacement
    assert not torch.allclose(scores.values, usual.values)


def test_integrated_gradients_are_complete_and_get_closer():
    model, p = model_of(layer_norm="none"), pair()
    coarse, fine = (completeness(model, p.clean.inputs, p.corrupt.inputs, LAST, steps) for steps in (1, 64))
    assert fine["error"] < 1e-3
    assert fine["error"] < coarse["error"]
    assert fine["attributed"] == pytest.approx(fine["difference"], rel=1e-3)
    with pytest.raises(UserError, match="at least one step"):
        completeness(model, p.clean.inputs, p.corrupt.inputs, LAST, 0)


def test_site_attribution_is_exact_where_the_model_is_linear():
    """One layer, the pattern apart: with linear attention off and no norm, the last block's stream is read linearly."""
    model, p = model_of(layer_norm="none", mlp="none", n_layers=1), pair()
    sites = grid(model, "z", 7)
    first = attribute_sites(model, p, sites, LAST)
    exact = run_patches(model, p, sites, LAST)
    assert torch.allclose(first + exact.corrupt, exact.values, atol=1e-10)


def test_a_screen_shows_exact_values_and_their_correlation():
    model, p = model_of(), pair()
    table = estimate_sites(model, p, grid(model, "resid_pre", 7), metric_of(TASK, p), sample=6, draws=50)
    assert table["exact"].notna().sum() == 6
    assert table["correlation"].nunique() == 1
    assert -1 <= table["correlation"][0] <= 1
    plain = model_of(layer_norm="none")
    sites = [Site("output"), *grid(plain, "z", 7, by=("layer", "head"))]
    assert estimate_sites(plain, p, sites, LAST, sample=5, draws=50)["value"][0] == pytest.approx(1)
    with pytest.raises(UserError, match="at least 2 sites"):
        estimate_sites(model, p, [Site("embed")], LAST)


def test_attribution_leaves_the_model_as_it_was():
    model, p = model_of(), pair()
    before = model(p.clean.inputs).detach().clone()
    attribute_edges(model, p.clean.inputs, p.corrupt.inputs, LAST, ig_steps=2)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(model(p.clean.inputs), before)


def test_path_patching_follows_the_planted_paths_only():
    net = constructed_retrieval(2, variant="chain", distractors=6, dtype="float32")
    p = net.task.pair("swap-hop-1", 0, "test", 0, 16)
    table = patch_paths(net.model, net.task, p, all_paths(net.model), draws=50)
    effect = {(r.sender, r.receiver): r.value for r in table.itertuples()}
    assert max(abs(v) for edge, v in effect.items() if edge not in net.circuit.edges) < 1e-5
    role = {name: head for head, name in net.circuit.roles.items()}
    first, second = role["query -> link_1"], role["query -> link_2"]
    assert effect["embed", f"{first}.v"] > 0.9  # the swapped value reaches everything through the first head
    assert abs(effect["embed", f"{second}.k"]) < 1e-5  # swapping a link's value changes no key
    assert 0.1 < effect[first, f"{second}.q"] < 0.9  # hop 2 alone follows
    assert 0.1 < effect[first, "output"] < 0.9  # and hop 1 alone here


def test_sets_of_senders_and_receivers():
    net = constructed_retrieval(2, variant="chain", dtype="float32")
    p = net.task.pair("swap-hop-1", 0, "test", 0, 16)
    role = {name: head for head, name in net.circuit.roles.items()}
    first, second = role["query -> link_1"], role["query -> link_2"]
    paths = [(["embed", first], [f"{second}.q", "output"]), ([first], [second])]
    table = patch_paths(net.model, net.task, p, paths, draws=50)
    assert table["value"][0] == pytest.approx(1, abs=1e-4)
    with pytest.raises(UserError, match="comes before"):
        patch_paths(net.model, net.task, p, [([second], [first])])
    with pytest.raises(UserError, match="no receiver"):
        patch_paths(net.model, net.task, p, [([first], ["L9H9"])])
    with pytest.raises(UserError, match="no sender"):
        patch_paths(net.model, net.task, p, [(["output"], [second])])


@pytest.mark.parametrize(
    "settings", [{}, {"mlp": "none", "layer_norm": "none"}, {"positions": "relative", "mask": "full"}]
)
def test_exact_edges_equal_path_patching(settings):
    """Two roads to one number: the fast engine's edges, and hooks at the receiver."""
    model, p = model_of(**settings), pair()
    exact = exact_edges(model, p.clean.inputs, p.corrupt.inputs, LAST)
    table = patch_paths(model, TASK, p, all_paths(model), direction="noise", metric=LAST, draws=20)
    with torch.no_grad():
        ends = [float(LAST(model(b.inputs)).mean()) for b in (p.clean, p.corrupt)]
    shift = exact.values.mean(1).detach().numpy() / (ends[0] - ends[1])
    assert table["value"].to_numpy() == pytest.approx(1 + shift, abs=1e-8)


def estimate_of(net, method="EAP", **settings):
    """An attribution estimate of a net's edges, and the exact effects of all of them."""
    prompts = resampled_pair(net.task, 0, 32)
    clean, other = prompts.clean.inputs, prompts.corrupt.inputs
    loss = metric_of(net.task, prompts, "loss")
    runs = EdgeRuns(net.model, clean, other)
    ends = loss(runs.outputs(runs.known)), loss(runs.outputs(()))
    scores = complete_scores(net.model, clean, other, loss, method)
    truth = edge_effects(exact_edges(net.model, clean, other, loss), *ends, 50).value
    return against_exact(net.model, clean, other, loss, scores, ends, draws=50, **settings), truth


def test_an_estimate_that_saturated_attention_blinds_is_called_worthless():
    """Saturated softmax: gradients through the pattern vanish, EAP sees no edge into a query or key."""
    net = constructed_retrieval(2, "chain", distractors=4, dtype="float32")
    found, truth = estimate_of(net, sample=10_000)
    table = found.table
    assert torch.allclose(torch.tensor(table["exact"].to_numpy()), truth)
    planted = [edge in net.circuit.edges for edge in zip(table["sender"], table["receiver"], strict=True)]
    assert table[planted]["exact"].min() > 0.02
    assert (table[planted]["value"].abs() < 0.02).any()  # needed, and the estimate does not see it
    assert table["correlation"].nunique() == 1
    assert found.scores.error > COMPLETE
    assert found.unreliable
    assert "worthless" in found.report()
    few, _ = estimate_of(net, sample=6, top=2)
    assert set(few.table["checked"]) == {"", "random", "largest"}
    assert few.table["exact"].notna().sum() <= 8
    with pytest.raises(UserError, match="at least 2 edges"):
        estimate_of(net, sample=1)


def test_steps_double_until_the_estimate_is_complete_and_it_is_then_trusted_where_it_is_right():
    model, p = model_of(layer_norm="none", mlp="none"), pair()
    scores = complete_scores(model, p.clean.inputs, p.corrupt.inputs, LAST, "EAP-IG", 1)
    assert scores.error <= COMPLETE
    direct = completeness(model, p.clean.inputs, p.corrupt.inputs, LAST, scores.ig_steps)
    assert scores.error == pytest.approx(direct["error"], abs=1e-6)
    ends = (LAST(model(p.clean.inputs)).detach(), LAST(model(p.corrupt.inputs)).detach())
    found = against_exact(model, p.clean.inputs, p.corrupt.inputs, LAST, scores, ends, draws=50)
    assert found.correlation > TRUSTED
    assert found.unreliable == ""
    with pytest.raises(UserError, match="unknown scoring method"):
        complete_scores(model, p.clean.inputs, p.corrupt.inputs, LAST, "guess")


@pytest.mark.parametrize("replacement", ["zero", "mean", "mean per position"])
def test_exact_edges_under_ablations_equal_runs_by_hooks(replacement):
    """An edge into the output alone: its ablation is a change of the last stream."""
    model, p = model_of(), pair()
    scores = exact_edges(
        model, p.clean.inputs, p.corrupt.inputs, LAST, replacement=replacement, only={("L0H0", "output")}
    )
    assert scores.edges == (("L0H0", "output"),)
    out = written(model, p.clean.inputs)
    instead = ablation_values(replacement, Site.parse("L0H0"), out.out["L0H0"])
    site = Site("output")
    moved, _ = intervene(model, p.clean.inputs, [(site, out.final + instead - out.out["L0H0"])])
    with torch.no_grad():
        expected = LAST(moved) - LAST(model(p.clean.inputs))
    assert torch.allclose(scores.values[0], expected, atol=1e-5)
    assert scores.replacement == replacement
