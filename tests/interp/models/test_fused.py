"""Fused kernels in training: the same function and gradients, given up as soon as somebody hooks what they hide."""

from __future__ import annotations

import itertools

import pytest
import torch

from interp.config.model_transformer import TransformerConfig
from interp.models import build_model
from interp.models.fused import fuse
from tasks.regression import InContextRegression

TASK = InContextRegression(d=3, n=5)


def model_of(mask: str = "causal", layer_norm: str = "affine", mask_query: bool = False):
    config = TransformerConfig(
        n_layers=2,
        n_heads=2,
        d_model=8,
        mask=mask,
        layer_norm=layer_norm,
        mask_query=mask_query,
        dtype="float64",
    )
    return build_model(config, TASK.interface, 0)


def gradients(model, inputs):
    model.zero_grad()
    out = model(inputs)
    out.square().sum().backward()
    return out.detach(), [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize(
    ("mask", "layer_norm", "mask_query"),
    list(itertools.product(["causal", "full"], ["none", "no_affine", "affine"], [False, True])),
)
def test_outputs_and_gradients_are_those_of_the_plain_parts(mask, layer_norm, mask_query, monkeypatch):
    model, inputs = model_of(mask, layer_norm, mask_query), TASK.sample(0, "test", 0, 4).inputs.double()
    plain = gradients(model, inputs)
    fuse(model)
    calls, real = [], torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        "torch.nn.functional.scaled_dot_product_attention",
        lambda *a, **k: (calls.append(1), real(*a, **k))[1],
    )
    fused = gradients(model, inputs)
    assert len(calls) == 2, "one a layer"
    torch.testing.assert_close(fused, plain, atol=1e-12, rtol=1e-10)
    model.eval()
    assert torch.equal(model(inputs), plain[0]), "what is analysed never takes them"
    assert len(calls) == 2


def test_hooks_on_what_a_kernel_hides_see_it_and_act():
    model, inputs = model_of(), TASK.sample(0, "test", 0, 4).inputs.double()
    fuse(model)
    usual = model(inputs)
    silent = model.run_with_hooks(inputs, fwd_hooks=[("blocks.0.attn.hook_pattern", lambda x, hook: 0 * x)])
    assert (silent - usual).abs().max() > 1e-3
    cache = model.run_with_cache(inputs)[1]
    assert {"blocks.1.attn.hook_pattern", "blocks.1.ln1.hook_scale", "ln_final.hook_normalized"} <= set(cache)
    torch.testing.assert_close(
        cache["blocks.1.attn.hook_pattern"].sum(-1), torch.ones(4, 2, inputs.shape[1]).double()
    )
