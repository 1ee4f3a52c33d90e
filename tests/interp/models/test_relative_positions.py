"""Relative positions: scores against a direct loop, hooks, prompts of other lengths, and what stays as it was."""

from __future__ import annotations

import pytest
import torch

from interp.config.model_transformer import TransformerConfig
from interp.models import build_model
from interp.models.fused import fuse
from tasks.base import Interface
from tasks.errors import UserError

FACE = Interface(inputs="token", n_ctx=7, d_vocab=5, d_out=5, output_positions=(6,))
SCORES = "blocks.1.attn.hook_attn_scores"


def model_of(**settings):
    fields = {"n_layers": 2, "n_heads": 2, "d_model": 8, "positions": "relative", "dtype": "float64"}
    return build_model(TransformerConfig(**{**fields, **settings}), FACE, 0).eval()


def prompts(pos: int = 7):
    return torch.randint(5, (3, pos), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mask", ["causal", "full"])
@pytest.mark.parametrize("pos", [7, 4])
def test_scores_are_those_of_a_direct_loop(mask, pos):
    model = model_of(mask=mask)
    cache = model.run_with_cache(prompts(pos))[1]
    q, k, scores = (cache[f"blocks.1.attn.hook_{part}"] for part in ("q", "k", "attn_scores"))
    vectors = model.blocks[1].attn.W_rel
    assert vectors.shape == (2, 7 if mask == "causal" else 13, 4)
    zero = 0 if mask == "causal" else 6
    for t in range(pos):
        for s in range(t + 1 if mask == "causal" else pos):
            key = k[:, s] + vectors[:, t - s + zero]
            assert torch.allclose(scores[:, :, t, s], (q[:, t] * key).sum(-1) / 2, atol=1e-12)


def test_scores_before_the_softmax_are_causal_and_gradients_flow_through_them():
    model = model_of()
    base = model(prompts())

    def flatten(scores, hook):
        return torch.zeros_like(scores)

    moved = model.run_with_hooks(prompts(), fwd_hooks=[(SCORES, flatten)])
    assert (moved - base).abs().max() > 1e-4
    model(prompts()).square().sum().backward()
    assert all(block.attn.W_rel.grad.abs().max() > 0 for block in model.blocks)


def test_only_distances_count():
    """Without a causal edge a prompt shifted by a place is answered alike, which absolute positions cannot promise."""
    tokens = torch.tensor([[1, 1, 1, 1, 2, 3, 4], [1, 1, 1, 2, 3, 4, 0]])
    last = model_of(n_layers=1)
    pattern = last.run_with_cache(tokens)[1]["blocks.0.attn.hook_attn_scores"]
    assert torch.allclose(pattern[0, :, 6, 3:7], pattern[1, :, 5, 2:6], atol=1e-12)
    absolute = model_of(n_layers=1, positions="learned")
    pattern = absolute.run_with_cache(tokens)[1]["blocks.0.attn.hook_attn_scores"]
    assert not torch.allclose(pattern[0, :, 6, 3:7], pattern[1, :, 5, 2:6], atol=1e-6)


def test_hook_names_and_other_weights_are_those_of_a_model_without_positions():
    relative, plain = model_of(), model_of(positions="none")
    assert set(relative.hook_dict) == set(plain.hook_dict)
    own = dict(relative.named_parameters())
    assert all(torch.equal(own[name], weight) for name, weight in plain.named_parameters())
    assert set(own) - {n for n, _ in plain.named_parameters()} == {f"blocks.{i}.attn.W_rel" for i in (0, 1)}


def test_fused_training_is_the_same_function():
    model = model_of().train()
    plain = model(prompts())
    fuse(model)
    assert torch.allclose(model(prompts()), plain, atol=1e-12)


def test_longer_prompts_and_too_many_distances_are_refused():
    with pytest.raises(UserError, match="distances below 7: shorten the prompt"):
        model_of()(prompts(8))
    wide = TransformerConfig(n_layers=4, n_heads=8, d_model=8, d_head=128, mlp="none", positions="relative")
    with pytest.raises(UserError, match="too many"):
        build_model(wide, FACE.model_copy(update={"n_ctx": 2**18}), 0)
