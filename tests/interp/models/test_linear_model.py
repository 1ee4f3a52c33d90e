"""The linear transformer: token form, Gram form, Lemma 1, averaged loss, hooks, settings."""

from __future__ import annotations

import pytest
import torch

from interp.config.model_linear import FeatureLinearConfig, LinearConfig
from interp.hooks.lens import ActivationCache
from interp.models import linear_gram
from interp.models.build import build_model
from interp.models.linear import LinearTransformer
from interp.studies.linear_attention import theory as linear_depth
from interp.studies.one_step_gd import theory as linear
from tasks.errors import UserError
from tasks.regression import InContextRegression

TASK = InContextRegression(d=5, n=20, layout="merged")
FAMILIES = ("gd", "gd++", "full")


def build(seed: int = 0, task: InContextRegression = TASK, **settings) -> LinearTransformer:
    config = LinearConfig(**{"n_layers": 3, "init_std": 0.3, "dtype": "float64", **settings})
    return build_model(config, task.interface, seed)


def hand_constructed(steps: list[float], flattening: list[float]) -> LinearTransformer:
    """Descent with known step sizes: A = -a I, B = b I."""
    model = build(n_layers=len(steps))
    with torch.no_grad():
        for layer, a, b in zip(model.layers, steps, [*flattening, 0.0], strict=True):
            layer.A.copy_(-a * torch.eye(5))
            layer.B.copy_(b * torch.eye(5))
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-10)])
def test_gram_form_is_the_token_form(family: str, dtype: str, bound: float) -> None:
    model = build(family=family, dtype=dtype, init_std=0.05 if family == "full" else 0.15)
    inputs = TASK.sample(0, "x", 0, 64).inputs.to(getattr(torch, dtype))
    tokens, cache = model.run_with_cache(inputs)
    assert "blocks.2.attn.hook_pattern" in cache
    assert (model(inputs) - tokens).abs().max() < bound
    assert tokens[:, -1].abs().max() > 1e-3


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-10)])
def test_each_layer_is_a_step_of_preconditioned_descent(dtype: str, bound: float) -> None:
    kind = getattr(torch, dtype)
    model = build(family="gd", dtype=dtype, init_std=0.15)
    batch = TASK.sample(1, "x", 0, 64)
    x, y, inputs = batch.x.to(kind), batch.y.to(kind), batch.inputs.to(kind)
    _, cache = model.run_with_cache(inputs)
    w = torch.zeros(64, 5, dtype=kind)
    for index, layer in enumerate(model.layers):
        left = (x[:, :-1] * w[:, None]).sum(-1) - y[:, :-1]
        gradient = (left[..., None] * x[:, :-1]).mean(1)
        w = w + gradient @ layer.A
        read = -cache[f"blocks.{index}.hook_resid_post"][:, -1, -1]
        assert (read - (w * x[:, -1]).sum(-1)).abs().max() < bound
    assert (model(inputs)[:, -1, 0] - read).abs().max() < bound


@pytest.mark.parametrize("attention", ["linear", "relu", "softmax"])
def test_the_query_is_no_key_and_hooks_act(attention: str) -> None:
    model = build(attention=attention, init_std=0.5)
    inputs = TASK.sample(0, "x", 0, 8).inputs.double()
    other = inputs.clone()
    other[:, -1] += 1
    _, before = model.run_with_cache(inputs)
    _, after = model.run_with_cache(other)
    torch.testing.assert_close(
        before["blocks.2.hook_resid_post"][:, :-1], after["blocks.2.hook_resid_post"][:, :-1]
    )
    plain = model(inputs)
    silent = {"blocks.0.attn.hook_result", "hook_q_input", "hook_k_input", "hook_v_input", "hook_result"}
    for name in model.hook_dict:
        if name.split(".")[-1] in silent:
            continue
        changed = model.run_with_hooks(inputs, fwd_hooks=[(name, lambda a, hook: a * 1.5 + 0.1)])
        assert (changed - plain)[:, -1].abs().max() > 1e-9, name


def test_split_inputs_and_results_are_the_same_net() -> None:
    model = build()
    inputs = TASK.sample(0, "x", 0, 8).inputs.double()
    plain = model(inputs)
    model.set_use_split_qkv_input(True)
    model.set_use_attn_result(True)
    out, cache = model.run_with_cache(inputs)
    assert cache["blocks.0.attn.hook_q_input"].shape == (8, 21, 1, 6)
    assert cache["blocks.0.attn.hook_result"].shape == (8, 21, 1, 6)
    torch.testing.assert_close(out, plain)


def test_the_lens_cache_decomposes_the_residual_stream() -> None:
    model = build()
    inputs = TASK.sample(0, "x", 0, 8).inputs.double()
    out, cache = model.run_with_cache(inputs)
    assert isinstance(cache, ActivationCache)
    parts = torch.stack([cache["hook_embed"], *(cache[f"blocks.{k}.hook_attn_out"] for k in range(3))]).sum(0)
    torch.testing.assert_close(parts, cache["blocks.2.hook_resid_post"])
    torch.testing.assert_close(model(parts, start_at_layer=3), out)
    middle = model(inputs, stop_at_layer=1)
    torch.testing.assert_close(model(middle, start_at_layer=1), out)
    form = model.QK.AB[0, 0]
    scores = torch.einsum("bqd,de,bke->bqk", inputs, form, inputs)
    torch.testing.assert_close(scores, cache["blocks.0.attn.hook_attn_scores"][:, 0])


@pytest.mark.parametrize("family", ["gd", "gd++"])
def test_averaged_loss_is_the_mean_squared_error(family: str) -> None:
    task = InContextRegression(d=3, n=6, layout="merged", eigenvalues=(2.0, 0.7, 0.3))
    model = build(family=family, task=task, init_std=0.4)
    S = torch.diag(torch.tensor(task.covariance_eigenvalues)).double()
    x = task.sample(0, "x", 0, 1).x.double()[:, :-1]
    exact = model.averaged_loss(x, torch.eye(3).double(), S).detach()
    w = torch.randn(200_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    query = (
        torch.randn(200_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) @ S.sqrt()
    )
    tokens = torch.cat(
        [
            torch.cat([x.expand(200_000, -1, -1), query[:, None]], 1),
            torch.zeros(200_000, 7, 1, dtype=torch.float64),
        ],
        -1,
    )
    tokens[:, :-1, -1] = (tokens[:, :-1, :-1] * w[:, None]).sum(-1)
    error = (model(tokens)[:, -1, 0] - (w * query).sum(-1)).square().detach()
    assert abs(float(error.mean()) - float(exact)) < 4 * float(error.std()) / 200_000**0.5


def test_averaged_loss_scatters_less() -> None:
    model = hand_constructed([20 * linear.isotropic_step(20, 5)], [])
    batch = TASK.sample(0, "x", 0, 20_000).double()
    eye = torch.eye(5).double()
    averaged = model.averaged_loss(batch.x[:, :-1], eye, eye).detach()
    plain = (model(batch.inputs)[:, -1, 0] - batch.y[:, -1]).square().detach()
    assert averaged.std() < plain.std() / 5
    assert (
        abs(float(averaged.mean()) - linear.isotropic_loss(20, 5)) < 4 * float(averaged.std()) / 20_000**0.5
    )


def test_hand_wired_nets_follow_the_spectral_recursion() -> None:
    steps, flattening = [0.381, 2.42, 9.72], [0.904, 0.568]
    model = hand_constructed(steps, flattening)
    x = TASK.sample(0, "x", 0, 500).x.double()[:, :-1]
    eye = torch.eye(5).double()
    expected = linear_depth.depth_loss(linear_depth.spectra(x), torch.tensor(steps), torch.tensor(flattening))
    torch.testing.assert_close(model.averaged_loss(x, eye, eye), expected, rtol=1e-5, atol=1e-8)


def test_seeds_and_starts() -> None:
    assert torch.equal(build(seed=3).layers[0].A, build(seed=3).layers[0].A)
    assert not torch.equal(build(seed=3).layers[0].A, build(seed=4).layers[0].A)
    assert sum(p.numel() for p in build().parameters()) == 150
    assert build(family="full").layers[0].P_full[-1, -1] == 1
    assert build(family="full", corner="random").layers[0].P_full[-1, -1] != 1


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (InContextRegression(d=5, n=4), {}, "layout 'merged'"),
        (TASK, {"family": "gd", "corner": 2.0}, "corner is 1"),
        (TASK, {"n_layers": 0}, "n_layers"),
    ],
)
def test_settings_that_do_not_fit(task: InContextRegression, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(LinearConfig(**{"n_layers": 1, **settings}), task.interface, 0)


def test_inputs_that_do_not_fit() -> None:
    model = build()
    with pytest.raises(UserError, match="at least 2, 6"):
        model(torch.zeros(2, 21, 5).double())
    with pytest.raises(UserError, match="unknown hook"):
        model.run_with_hooks(torch.zeros(2, 21, 6).double(), fwd_hooks=[("blocks.7.hook", print)])
    with pytest.raises(UserError, match="family 'gd'"):
        build(family="full").averaged_loss(
            torch.zeros(2, 20, 5).double(), torch.eye(5).double(), torch.eye(5).double()
        )


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_both_forms_agree_at_every_depth(layers: int) -> None:
    model = build(n_layers=layers, family="full", init_std=0.1)
    inputs = TASK.sample(0, "x", 0, 16).inputs.double()
    tokens, _ = model.run_with_cache(inputs)
    torch.testing.assert_close(model(inputs), tokens)
    slow, fast = (
        torch.autograd.grad(out[:, -1].square().mean(), model.layers[0].P_full)
        for out in (tokens, model(inputs))
    )
    torch.testing.assert_close(fast, slow)


def test_a_longer_prompt_divides_by_its_own_length() -> None:
    model = hand_constructed([0.5], [])
    long = InContextRegression(d=5, n=80, layout="merged").sample(0, "x", 0, 4).double()
    expected = 0.5 / 80 * torch.einsum("bn,bnd,bd->b", long.y[:, :-1], long.x[:, :-1], long.x[:, -1])
    torch.testing.assert_close(model(long.inputs)[:, -1, 0], expected)


def test_gram_matrices_of_the_walk_are_those_of_the_tokens() -> None:
    model = build()
    inputs = TASK.sample(0, "x", 0, 8).inputs.double()
    _, cache = model.run_with_cache(inputs)
    grams = linear_gram.grams(inputs, model.weights())
    assert len(grams) == 4
    for index, found in enumerate(grams[:-1]):
        torch.testing.assert_close(found, linear_gram.gram(cache[f"blocks.{index}.hook_resid_pre"]))


def features(dtype: str = "float64", seed: int = 0) -> LinearTransformer:
    config = FeatureLinearConfig(n_layers=3, family="full", init_std=0.1, dtype=dtype, hidden=30)
    return build_model(config, TASK.interface, seed)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-10)])
def test_features_take_both_forms(dtype: str, bound: float) -> None:
    """The fast form is the hooked one, and both are linear attention on the features of every token."""
    model = features(dtype)
    inputs = TASK.sample(0, "x", 0, 64).inputs.to(getattr(torch, dtype))
    hooked, cache = model.run_with_cache(inputs)
    assert (model(inputs)[:, -1] - hooked[:, -1]).abs().max() < bound * hooked[:, -1].abs().max()
    assert cache["features.hook_post"].shape == (64, 21, 30)
    torch.testing.assert_close(cache["hook_embed"][..., -1], inputs[..., -1])
    plain = build_model(LinearConfig(n_layers=3, family="full", init_std=0.1, dtype=dtype), TASK.interface, 0)
    torch.testing.assert_close(plain(cache["hook_embed"])[:, -1], hooked[:, -1], rtol=1e-4, atol=1e-6)


def test_features_refuse_what_needs_bare_covariates() -> None:
    with pytest.raises(UserError, match="kind 'linear'"):
        features().averaged_loss(
            TASK.sample(0, "x", 0, 4).double().x[:, :-1], torch.eye(5).double(), torch.eye(5).double()
        )
    with pytest.raises(UserError, match="merged"):
        build_model(FeatureLinearConfig(n_layers=1), InContextRegression(d=5, n=20).interface, 0)
