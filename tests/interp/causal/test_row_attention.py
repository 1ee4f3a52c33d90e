"""The fast engine's attention where shortcuts could lose digits: rows that attend to one position, large scores."""

from __future__ import annotations

import pytest
import torch

from interp.causal.engine import FastEngine
from interp.causal.metrics import custom
from interp.causal.reference import HooksEngine
from interp.causal.row_attention import MOST
from interp.config.model_transformer import TransformerConfig
from interp.hooks.sites import grid
from interp.models import build_model
from tasks.base import Interface

POSITIONS = 7


def sharp_model(sharpness: float, dtype: str, mask: str = "causal"):
    """A model whose scores are `sharpness` times those of a fresh one, so that rows attend to few positions."""
    face = Interface(
        inputs="continuous", n_ctx=POSITIONS, d_in=3, d_out=2, output_positions=(0, POSITIONS - 1)
    )
    settings = TransformerConfig(n_layers=3, n_heads=2, d_model=8, dtype=dtype, mask=mask)
    model = build_model(settings, face, 0).eval()
    with torch.no_grad():
        for block in model.blocks:
            block.attn.w_q *= sharpness
    return model


def both(sharpness: float, dtype: str, mask: str = "causal"):
    """Values of the fast engine and of hooks at every site with positions and every head, and the base run."""
    model = sharp_model(sharpness, dtype, mask)
    source = torch.Generator().manual_seed(2)
    clean, corrupt = torch.randn(2, 4, POSITIONS, 3, generator=source, dtype=torch.float64).to(
        getattr(torch, dtype)
    )
    cache = model.run_with_cache(clean, return_cache_object=False)[1]
    sites = [s for name in ("resid_pre", "z", "q", "k") for s in grid(model, name, POSITIONS)]
    sites += [s for name in ("resid_pre", "z") for s in grid(model, name, POSITIONS, by=("layer", "head"))]
    metric = custom("squared", lambda o: o[:, [0, POSITIONS - 1]].square().mean((1, 2)), (0, POSITIONS - 1))
    fast = FastEngine(model, corrupt, metric)
    return fast.values(sites, cache), HooksEngine(model, corrupt, metric).values(sites, cache), fast.base


@pytest.mark.parametrize("mask", ["causal", "full"])
@pytest.mark.parametrize("sharpness", [1.0, 10.0, 1000.0])
def test_rows_that_attend_to_one_position_lose_no_digits(sharpness, mask):
    fast, slow, base = both(sharpness, "float64", mask)
    rest = 1 - torch.stack([layer.pattern[:, :, 1:].amax(-1) for layer in base.layers])
    largest = max(float(layer.scores.abs().max()) for layer in base.layers)
    assert (largest < MOST / 2) == (sharpness < 1000)  # both ways of the weights are taken
    assert (float(rest.min()) < 1e-6) == (sharpness > 1)  # and rows with next to nothing left for the others
    assert torch.allclose(fast, slow, rtol=1e-8, atol=1e-11)


def test_single_precision_is_as_near_as_whole_passes():
    fast, slow, _ = both(30.0, "float32")
    assert float((fast - slow).abs().max()) < 1e-5 * float(slow.abs().max())
