"""Patches of other people's models from the patched layer on: what whole passes give, and those where need be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from interp.causal import suffix
from interp.causal.metrics import metric_of
from interp.causal.patching import engine_of
from interp.causal.reference import HooksEngine
from interp.causal.suffix import SuffixEngine
from interp.hooks.sites import Site, grid
from tests.interp.causal.test_hooked_edges import TASK, language_model

COMPONENTS = ("resid_pre", "z", "q", "k", "pattern", "attn_out", "mlp_pre", "resid_post")


@pytest.fixture(scope="module", params=["gpt2", "gpt-neox"])
def setting(request):
    model = language_model(request.param)
    pair = TASK.pair("rebind-hop-1", 2, "test", 0, 4)
    with torch.no_grad():
        metric = metric_of(TASK, pair, "loss", clean_outputs=model(pair.clean.inputs))
        cache = model.run_with_cache(pair.clean.inputs, return_cache_object=False)[1]
    return model, pair.corrupt.inputs, metric, cache


def sites_of(model, n_pos):
    there = [c for c in COMPONENTS if Site(c, 0).hook(2) in model.hook_dict]
    sites = [site for c in there for site in grid(model, c, n_pos, by=("layer", "head"))]
    return [*sites, *grid(model, "z", n_pos)[:: 3 * n_pos // 2], Site("embed"), Site("output")]


def passes(model):
    """Counts the prompts that run through each block of the model."""
    counts = [0] * model.config.n_layers
    points = [model.hook_dict[f"blocks.{layer}.hook_resid_post"] for layer in range(model.config.n_layers)]

    def counting(layer):
        def count(module, given, out):
            counts[layer] += len(out)

        return count

    handles = [point.register_forward_hook(counting(layer)) for layer, point in enumerate(points)]
    return counts, handles


def test_values_are_those_of_whole_passes(setting):
    model, inputs, metric, cache = setting
    assert engine_of(model) == "suffix"
    sites = sites_of(model, inputs.shape[1])
    exact = HooksEngine(model, inputs, metric).values(sites, cache)
    counts, handles = passes(model)
    found = SuffixEngine(model, inputs, metric).values(sites, cache)
    for handle in handles:
        handle.remove()
    assert exact.std() > 0.01
    torch.testing.assert_close(found, exact, atol=2e-6, rtol=0)
    whole = len(inputs) * len(sites)
    assert counts[0] < 0.7 * whole, "before a patch one prompt runs"
    assert counts[0] < counts[1] <= whole + 5 * len(inputs)


def test_a_model_that_cannot_be_entered_is_run_whole(setting, monkeypatch):
    model, inputs, metric, cache = setting
    sites = grid(model, "z", inputs.shape[1], by=("layer", "head"))
    exact = HooksEngine(model, inputs, metric).values(sites, cache)
    monkeypatch.setattr(suffix, "CLOSE", -1.0)  # nothing is as close as that
    engine = SuffixEngine(model, inputs, metric)
    assert torch.equal(engine.values(sites, cache), exact)
    assert engine._whole


def test_padding_is_seen(setting):
    model, inputs, _, _ = setting
    assert not suffix.padded(model.config, inputs)
    assert suffix.padded(SimpleNamespace(pad=int(inputs[0, 0])), inputs)
    assert not suffix.padded(SimpleNamespace(pad=int(inputs.max()) + 1), inputs)
