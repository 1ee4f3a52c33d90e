"""Runs through circuits by a model's own forward pass: equal to our arithmetic, and right on bridged models."""

import pytest
import torch

from interp.causal.behaviour import resampled_pair
from interp.causal.circuits import find_circuit
from interp.causal.edge_batches import Removals
from interp.causal.edge_effects import exact_edges
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import connected, edges
from interp.causal.metrics import metric_of
from interp.causal.paths import patch_paths
from interp.importers.hf import bridge_config
from interp.models import TransformerConfig, build_model
from interp.models.bridge import BridgedModel, bridged
from interp.studies.retrieval_prompts.runs_texts import SmallModel
from interp.studies.retrieval_prompts.runs_weights import build_small
from tasks import InContextRegression, TextRetrieval, build

TASK = TextRetrieval(hops=1, chains=2)
EDGES = (("embed", "L0H1.v"), ("L0H0", "L1H1.k"), ("L0.mlp_out", "L1H0.v"), ("L1H0", "output"))
TIED = 2e-6  # losses near 1 in float32: a step is 1e-7, and a mean and a difference take several


def own():
    task = build({"kind": "retrieval", "hops": 2, "chains": 2})
    model = build_model(TransformerConfig(n_layers=2, n_heads=2, d_model=16), task.interface, 0).eval()
    for weight in model.parameters():
        weight.data.mul_(2)
    return model, task


def language_model(family):
    loaded = build_small(
        SmallModel(family=family, layers=2, heads=2, width=16, stages=((1, 2, 4),), keep=(0,))
    )
    gen = torch.Generator().manual_seed(0)
    for weight in loaded.parameters():
        weight.data += 0.2 * torch.randn(weight.shape, generator=gen)
    bridge = bridged(loaded.eval(), family)
    model = BridgedModel(bridge_config(loaded, bridge.cfg, family, "float32"), TASK.interface, 0)
    model.hold(bridge)
    return model.eval()


def some(model, share, seed):
    gen = torch.Generator().manual_seed(seed)
    return [edge for edge in edges(model) if torch.rand(1, generator=gen) < share]


def test_hooks_and_arithmetic_agree_on_our_transformer():
    model, task = own()
    inputs, other = (task.sample(0, stream, 0, 4).inputs for stream in ("a", "b"))
    arithmetic, hooked = EdgeRuns(model, inputs, other), EdgeRuns(model, inputs, other)
    hooked.mask = None
    for seed, share in enumerate((0.0, 0.3, 0.6, 1.0)):
        circuit = some(model, share, seed)
        a, b = arithmetic.outputs(circuit), hooked.outputs(circuit)
        assert (a - b).abs().max() < 1e-5 * a.abs().max().clamp_min(1)


@pytest.mark.parametrize("family", ["gpt2", "gpt-neox"])
def test_full_and_empty_circuits_of_a_language_model_are_its_runs(family):
    model = language_model(family)
    inputs, other = (TASK.sample(0, stream, 0, 4).inputs for stream in ("a", "b"))
    runs = EdgeRuns(model, inputs, other)
    with torch.no_grad():
        whole, elsewhere = model(inputs), model(other)
    assert (whole - elsewhere).abs().max() > 1e-3
    assert (runs.outputs(runs.known) - whole).abs().max() < 1e-4
    assert (runs.outputs(()) - elsewhere).abs().max() < 1e-4
    inside = ("L0H0", "L0.mlp_pre") in runs.known
    assert inside == (family == "gpt2")  # a parallel block's MLP does not read its own heads


@pytest.mark.parametrize("family", ["gpt2", "gpt-neox"])
def test_an_exact_edge_is_what_a_path_patch_measures(family):
    model = language_model(family)
    pair = TASK.pair("rebind-hop-1", 2, "test", 0, 8)  # a draw on which both families' behaviour differs
    metric = metric_of(TASK, pair)
    scores = exact_edges(model, pair.clean.inputs, pair.corrupt.inputs, metric)
    with torch.no_grad():
        clean, corrupt = (float(metric(model(b.inputs)).mean()) for b in (pair.clean, pair.corrupt))
    assert abs(corrupt - clean) > 0.03  # a share is of this gap, and is no more exact than it
    seen = []
    for edge in EDGES:
        table = patch_paths(model, TASK, pair, [([edge[0]], [edge[1]])], direction="noise", draws=20)
        seen.append(float(scores.values[scores.edges.index(edge)].mean()))
        moved = (1 - table["value"].item()) * (corrupt - clean)
        assert moved == pytest.approx(seen[-1], abs=TIED)
    apart = torch.tensor(seen).sort().values.diff()
    assert apart.min() > 20 * TIED  # one edge's effect for another's would not pass


def test_an_untrained_language_model_has_no_circuit():
    found = find_circuit(language_model("gpt2"), TASK, prompts=32)
    assert found.edges == ()
    assert "no behaviour" in found.settings["note"]


@pytest.mark.parametrize(
    "settings",
    [{"mlp": "gelu"}, {"mask": "full", "attention": "linear"}, {"mask": "full", "positions": "relative"}],
)
def test_edges_taken_away_in_stacks_equal_runs_without_each(settings):
    task = InContextRegression(d=3, n=4)
    model = build_model(
        TransformerConfig(n_layers=3, n_heads=2, d_model=8, dtype="float64", **settings), task.interface, 1
    ).eval()
    pair = resampled_pair(task, 0, 4)
    runs = EdgeRuns(model, pair.clean.inputs, pair.corrupt.inputs)
    source = torch.Generator().manual_seed(0)
    for share in (1.0, 0.6):
        circuit = connected([e for e in runs.order if float(torch.rand(1, generator=source)) < share])
        held = Removals(runs, circuit, task.interface.output_positions)
        assert torch.allclose(held.outputs, runs.outputs(circuit)[:, held.output_positions], atol=1e-12)
        seen = []
        for some, outputs in held.without(sorted(circuit)):
            seen += some
            for edge, one in zip(some, outputs, strict=True):
                alone = runs.outputs(circuit - {edge})[:, held.output_positions]
                assert torch.allclose(one, alone, atol=1e-11), edge
        assert sorted(seen) == sorted(circuit)
