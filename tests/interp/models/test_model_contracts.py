"""The contract of the hooked transformer: every hook matters, decompositions add up, restarts are exact."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.hooks.lens import HookPoint
from interp.models import TransformerConfig, build_model
from interp.models.readout import readout_attribution
from tasks.base import Interface
from tasks.errors import UserError

INTERFACES = {
    "continuous": Interface(
        inputs="continuous", n_ctx=6, d_in=3, d_out=2, token_types=(0, 1) * 3, output_positions=(5,)
    ),
    "token": Interface(
        inputs="token", n_ctx=6, d_vocab=7, d_out=7, token_types=(0, 1) * 3, output_positions=(5,)
    ),
    "pair": Interface(
        inputs="pair", n_ctx=6, d_vocab=7, d_out=14, token_types=(0, 1) * 3, output_positions=(5,)
    ),
}


def prompts(kind: str, batch: int = 3, seed: int = 0) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    if kind == "continuous":
        return torch.randn(batch, 6, 3, generator=source)
    return torch.randint(0, 7, (batch, 6) if kind == "token" else (batch, 6, 2), generator=source)


def made(kind: str = "continuous", **changes):
    fields = {"n_layers": 2, "n_heads": 2, "d_model": 8, **changes}
    return build_model(TransformerConfig(**fields), INTERFACES[kind], 0).eval()


def shaken(model, seed: int = 1):
    """Parameters moved away from zeros and ones, so that gains and biases count."""
    source = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=source))
    return model


OPTIONS = {
    "attention": ["softmax", "linear", "relu"],
    "mask": ["causal", "full"],
    "mask_query": [False, True],
    "layer_norm": ["none", "no_affine", "affine"],
    "mlp": ["none", "gelu", "gelu_new", "relu"],
    "biases": [True, False],
    "positions": ["learned", "token_type", "both", "relative", "none"],
    "init": ["gpt2", "fan_in"],
    "dtype": ["float32", "float64"],
}


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(list(INTERFACES)),
    scale=st.sampled_from(["n", "position", "none"]),
    options=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in OPTIONS.items()}),
)
def test_every_combination_of_options_builds_runs_and_trains(kind, scale, options):
    if options["attention"] != "softmax":
        options["attn_scale"] = scale
    model = made(kind, **options)
    outputs, cache = model.run_with_cache(prompts(kind))
    assert outputs.shape == (3, 6, model.interface.d_out)
    assert outputs.dtype == getattr(torch, options["dtype"])
    assert outputs.isfinite().all()
    assert len(cache) > 8
    many = prompts(kind, batch=16)  # with a few prompts every score of a rectified head can be negative
    shaken(model)(many).pow(2).sum().backward()
    for name, parameter in model.named_parameters():
        if no_gradient(name, options):
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def no_gradient(name: str, options: dict) -> bool:
    """The one exception: a key bias adds the same to every score of a row, which softmax does not see."""
    return name.endswith("b_k") and options["attention"] == "softmax"


NO_EFFECT: dict[str, str] = {}
"""Hooks whose perturbation may leave the output alone, each with its reason. There is none."""


@pytest.mark.parametrize("layer_norm", ["none", "no_affine", "affine"])
@pytest.mark.parametrize("attention", ["softmax", "linear", "relu"])
@pytest.mark.parametrize(("kind", "mlp", "fork"), [("continuous", "gelu", False), ("pair", "none", True)])
def test_noise_on_any_hook_that_fires_changes_the_output(kind, mlp, fork, attention, layer_norm):
    model = shaken(made(kind, attention=attention, layer_norm=layer_norm, mlp=mlp))
    model.set_use_attn_result(True)
    model.set_use_split_qkv_input(fork)
    inputs = prompts(kind)
    base, cache = model.run_with_cache(inputs)
    silent = []
    for name in cache:
        noise = 0.5 * torch.randn(cache[name].shape, generator=torch.Generator().manual_seed(0))
        moved = model.run_with_hooks(inputs, fwd_hooks=[(name, lambda x, hook, noise=noise: x + noise)])
        if (moved - base).abs().max() < 1e-4 and name not in NO_EFFECT:
            silent.append(name)
    assert silent == []
    never = sorted(set(model.hook_dict) - set(cache))
    assert all("_input" in name for name in never) or fork, never
    assert all(".ln1." in name for name in never) or not fork, never


@pytest.mark.parametrize(
    ("kind", "mlp", "positions"), list(itertools.product(INTERFACES, ["none", "gelu"], ["both", "none"]))
)
def test_the_residual_stream_is_the_sum_of_its_parts(kind, mlp, positions):
    model = shaken(made(kind, mlp=mlp, positions=positions, dtype="float64"))
    model.set_use_attn_result(True)
    _, cache = model.run_with_cache(prompts(kind))
    last = cache["blocks.1.hook_resid_post"]
    assert torch.allclose(cache.decompose_resid(layer=2).sum(0), last, atol=1e-12)
    assert torch.allclose(cache.accumulated_resid(layer=2)[-1], last, atol=1e-12)
    heads = cache.stack_head_results(layer=2)
    parts = heads.sum(0) + cache["hook_embed"] + model.accumulated_bias(2, include_mlp_biases=False)
    parts = parts + (cache["hook_pos_embed"] if positions != "none" else 0)
    if mlp != "none":
        parts = parts + sum(cache[f"blocks.{layer}.hook_mlp_out"] for layer in range(2))
    assert torch.allclose(parts, last, atol=1e-12)
    full = cache.get_full_resid_decomposition(layer=2, expand_neurons=mlp != "none")
    assert torch.allclose(full.sum(0), last, atol=1e-10)


@pytest.mark.parametrize("layer_norm", ["none", "no_affine", "affine"])
@pytest.mark.parametrize("mlp", ["none", "gelu_new"])
def test_contributions_to_the_output_add_up_with_a_folded_norm(layer_norm, mlp):
    model = shaken(made("pair", layer_norm=layer_norm, mlp=mlp))
    outputs, cache = model.run_with_cache(prompts("pair"))
    for position in (0, -1):
        parts, labels = readout_attribution(model, cache, position)
        assert len(labels) == parts.shape[0]
        assert (parts.sum(0) - outputs[:, position]).abs().max() < 1e-5
    head = labels.index("L1H0")
    cut = model.run_with_hooks(
        prompts("pair"),
        fwd_hooks=[("blocks.1.attn.hook_z", lambda z, hook: z * torch.tensor([0.0, 1.0])[:, None])],
    )
    if layer_norm == "none" and mlp == "none":
        assert torch.allclose(outputs[:, -1] - cut[:, -1], parts[head], atol=1e-5)


def test_contributions_refuse_a_foreign_cache_and_a_missing_hook():
    model, other = shaken(made()), shaken(made(), seed=2)
    _, cache = model.run_with_cache(prompts("continuous"))
    with pytest.raises(UserError, match="another model"):
        readout_attribution(other, cache)
    with pytest.raises(UserError, match="position 9 is outside"):
        readout_attribution(model, cache, 9)
    _, small = model.run_with_cache(prompts("continuous"), names_filter="hook_embed")
    with pytest.raises(UserError, match="hook_pos_embed"):
        readout_attribution(model, small)


def test_a_run_in_two_halves_equals_the_whole_bit_for_bit():
    model = shaken(made("token", n_layers=3))
    inputs = prompts("token")
    whole, cache = model.run_with_cache(inputs)
    for layer in range(4):
        half = model(inputs, stop_at_layer=layer)
        if layer < 3:
            assert torch.equal(half, cache[f"blocks.{layer}.hook_resid_pre"])
        assert torch.equal(model(half, start_at_layer=layer), whole)
    assert torch.equal(model(inputs, stop_at_layer=-1), model(inputs, stop_at_layer=2))
    middle = model(model(inputs, stop_at_layer=1), start_at_layer=1, stop_at_layer=2)
    assert torch.equal(middle, cache["blocks.1.hook_resid_post"])
    with pytest.raises(UserError, match="outside this model's 3 layers"):
        model(inputs, stop_at_layer=4)
    with pytest.raises(UserError, match="comes before"):
        model(half, start_at_layer=2, stop_at_layer=1)
    with pytest.raises(UserError, match="needs a residual stream"):
        model(inputs, start_at_layer=1)


@pytest.mark.parametrize("mask", ["causal", "full"])
@pytest.mark.parametrize("mask_query", [False, True])
@pytest.mark.parametrize("scale", ["n", "position", "none"])
@pytest.mark.parametrize("attention", ["linear", "relu"])
def test_linear_patterns_match_their_closed_form(attention, scale, mask_query, mask):
    model = shaken(made(attention=attention, attn_scale=scale, mask=mask, mask_query=mask_query))
    _, cache = model.run_with_cache(prompts("continuous"))
    q, k = (cache[f"blocks.0.attn.hook_{name}"] for name in "qk")
    scores = torch.einsum("bihd,bjhd->bhij", q, k)
    expected = torch.zeros_like(scores)
    for i, j in itertools.product(range(6), range(6)):
        if (mask == "full" or j <= i) and not (mask_query and j == 5):
            row = (6 if mask == "full" else i + 1) - (mask_query and (mask == "full" or i == 5))
            n = {"n": 5 if mask_query else 6, "position": row, "none": 1}[scale]
            value = scores[:, :, i, j]
            expected[:, :, i, j] = (value.relu() if attention == "relu" else value) / n
    assert torch.allclose(cache["blocks.0.attn.hook_pattern"], expected, atol=1e-6)


def test_softmax_rows_sum_to_one_and_see_only_what_the_mask_allows():
    model = shaken(made(mask_query=True))
    _, cache = model.run_with_cache(prompts("continuous"))
    pattern = cache["blocks.1.attn.hook_pattern"]
    assert torch.allclose(pattern.sum(-1), torch.ones(3, 2, 6))
    assert pattern.triu(1).abs().max() == 0
    assert pattern[..., 5].abs().max() == 0


def test_one_linear_layer_is_one_step_of_preconditioned_gradient_descent():
    """Ahn et al. 2023, lemma 1: value selects the label, the query-key form is A; the slot gains x_q' A X'y / n."""
    d, n = 3, 8
    interface = Interface(inputs="continuous", n_ctx=n + 1, d_in=d + 1, d_out=1, output_positions=(n,))
    config = TransformerConfig(
        n_layers=1, n_heads=1, d_model=d + 1, attention="linear", mask="full", mask_query=True, layer_norm="none",
        mlp="none", biases=False, positions="none", dtype="float64",
    )  # fmt: skip
    model = build_model(config, interface, 0)
    source = torch.Generator().manual_seed(3)
    A = torch.randn(d, d, generator=source, dtype=torch.float64)
    slot = torch.zeros(d + 1, dtype=torch.float64)
    slot[d] = 1
    attn = model.blocks[0].attn
    with torch.no_grad():
        model.token_embed.W_E.copy_(torch.eye(d + 1))
        model.W_U.copy_(slot[:, None])
        attn.w_q.zero_()[:d, :d] = A
        attn.w_k.zero_()[:d, :d] = torch.eye(d)
        attn.w_v.copy_(torch.outer(slot, slot))
        attn.w_o.copy_(torch.outer(slot, slot))
    x = torch.randn(5, n + 1, d, generator=source, dtype=torch.float64)
    y = torch.randn(5, n, generator=source, dtype=torch.float64)
    tokens = torch.cat([x, torch.cat([y, torch.zeros(5, 1)], 1)[..., None]], -1)
    weights = torch.einsum("bnd,bn->bd", x[:, :n], y) / n
    assert torch.allclose(
        model(tokens)[:, n, 0], torch.einsum("bd,de,be->b", x[:, n], A, weights), atol=1e-12
    )


def test_hooks_may_write_in_place_without_touching_a_parameter():
    model = made(positions="both")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    inputs = prompts("continuous")

    def zero_first(activation: torch.Tensor, hook: HookPoint) -> torch.Tensor:
        activation[:, 0] = 0.0
        return activation

    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            _, cache = model.run_with_cache(inputs)
            for name in cache:
                model.run_with_hooks(inputs, fwd_hooks=[(name, zero_first)])
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_interventions_on_scores_cannot_break_the_mask():
    model = shaken(made())
    inputs = prompts("continuous")
    changed = inputs.clone()
    changed[:, 5] += 1.0
    hook = [("blocks.0.attn.hook_attn_scores", lambda x, hook: x + 10.0)]
    one, two = model.run_with_hooks(inputs, fwd_hooks=hook), model.run_with_hooks(changed, fwd_hooks=hook)
    assert torch.equal(one[:, :5], two[:, :5])
