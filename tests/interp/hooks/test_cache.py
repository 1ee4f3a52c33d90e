"""A stream taken apart through an affine LayerNorm adds up to what the model computes from it."""

from __future__ import annotations

import pytest
import torch

from interp.config.model_transformer import TransformerConfig
from interp.models import build_model
from tasks import InContextRegression, UserError


def cached(layer_norm: str):
    task = InContextRegression(d=3, n=4)
    config = TransformerConfig(n_layers=2, n_heads=2, d_model=8, layer_norm=layer_norm, mlp="gelu_new")  # type: ignore[arg-type]
    model = build_model(config, task.interface, 0).eval()
    gen = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        weight.data += 0.3 * torch.randn(weight.shape, generator=gen)
    batch = task.sample(0, "eval", 0, 5)
    with torch.no_grad():
        outputs, cache = model.run_with_cache(batch.inputs)
    return model, outputs, cache


@pytest.mark.parametrize("layer_norm", ["affine", "no_affine", "none"])
def test_components_add_up_to_what_the_norm_makes_of_their_sum(layer_norm):
    model, outputs, cache = cached(layer_norm)
    with torch.no_grad():
        for take in (cache.decompose_resid, cache.get_full_resid_decomposition):
            rows, labels = take(apply_ln=True, return_labels=True)
            assert len(rows) == len(labels)
            assert labels.count("ln_bias") == (layer_norm == "affine")
            whole = rows.sum(0)
            logits = whole @ model.W_U + (model.b_U if hasattr(model, "b_U") else model.bias_U)
            assert (logits - outputs).abs().max() < 1e-4
            if layer_norm != "none":
                assert (whole - cache["ln_final.hook_normalized"]).abs().max() < 1e-4


def test_the_last_stream_is_normalised_as_the_model_does():
    _, _, cache = cached("affine")
    with torch.no_grad():
        last = cache.accumulated_resid(apply_ln=True)[-1]
        assert (last - cache["ln_final.hook_normalized"]).abs().max() < 1e-4
        inner = cache.accumulated_resid(layer=1, apply_ln=True)[-1]
        assert (inner - cache["blocks.1.ln1.hook_normalized"]).abs().max() < 1e-4
        inner = cache.decompose_resid(layer=1, apply_ln=True).sum(0)
        assert (inner - cache["blocks.1.ln1.hook_normalized"]).abs().max() < 1e-4


def test_logit_attributions_have_the_gain_and_name_the_bias_apart():
    model, outputs, cache = cached("affine")
    with torch.no_grad():
        found = cache.logit_attrs(cache.decompose_resid(), tokens=0).sum(0)
        bias = cache.ln_bias() @ model.W_U[:, 0] + (model.b_U if hasattr(model, "b_U") else model.bias_U)[0]
        assert (found + bias - outputs[..., 0]).abs().max() < 1e-4


def test_what_would_leave_the_gain_out_is_refused():
    model, _, cache = cached("affine")
    with pytest.raises(UserError, match="gain"):
        cache.get_full_resid_decomposition(apply_ln=True, project_output_onto=model.W_U[:, 0])
