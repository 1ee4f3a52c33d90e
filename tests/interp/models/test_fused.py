"""Fused kernels in training: the same function and gradients, given up as soon as somebody hooks what they hide."""

from __future__ import annotations

import itertools

import pytest
import torch

from interp.config.model_transformer import TransformerConfig
from interp.models import build_model
from interp.models.fused import LANES, fuse, padded_attention, softmax
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


@pytest.mark.parametrize("keys", [1, 2, 13, LANES - 1, LANES, LANES + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_changes_weights_and_gradients_by_rounding(keys, dtype):
    scores = torch.randn(3, 2, keys, keys, dtype=dtype, generator=torch.Generator().manual_seed(keys))
    seen = torch.ones(keys, keys, dtype=torch.bool).tril()
    masked, like = (scores.masked_fill(~seen, -torch.inf).requires_grad_() for _ in range(2))
    ours, torchs = softmax(masked), like.softmax(-1)
    assert ours.is_contiguous()
    weights = torch.arange(ours.numel(), dtype=dtype).view(ours.shape).cos()
    for made in (ours, torchs):
        (made * weights).sum().backward()
    rounding = 8 * torch.finfo(dtype).eps  # of an exponential, a sum of up to 17 and a quotient, twice
    torch.testing.assert_close(ours, torchs, atol=0, rtol=rounding)
    torch.testing.assert_close(masked.grad, like.grad, atol=rounding, rtol=0)
    assert torch.equal(softmax(masked, padded=False), torchs)


@pytest.mark.parametrize("keys", [3, LANES, LANES + 1])
def test_a_row_that_may_see_nothing_is_as_from_torch(keys):
    q, k, v = torch.randn(3, 2, 2, keys, 4, generator=torch.Generator().manual_seed(0))
    seen = torch.ones(keys, keys, dtype=torch.bool).tril(-1)
    blind = torch.zeros(keys, keys).masked_fill(~seen, -torch.inf)
    assert torch.equal(softmax(blind).isnan(), blind.softmax(-1).isnan())
    usual = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    torch.testing.assert_close(padded_attention(q, k, v, seen), usual, atol=1e-6, rtol=0)
    assert (padded_attention(q, k, v, seen)[:, :, 0] == 0).all()
