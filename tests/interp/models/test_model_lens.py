"""TransformerLens' own tools on our model, hook names that must not be misspelt, and functional use."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from interp.hooks.lens import ActivationCache, FactoredMatrix, patching
from interp.models import TransformerConfig, build_model
from tasks.base import Interface
from tasks.errors import UserError

ROOT = Path(__file__).parents[3]
TOKENS = Interface(inputs="token", n_ctx=5, d_vocab=9, d_out=9, output_positions=(4,))
FLOATS = Interface(inputs="continuous", n_ctx=5, d_in=3, d_out=1, output_positions=(4,))


def net(interface=TOKENS, seed=0, **changes):
    return build_model(TransformerConfig(n_layers=2, n_heads=2, d_model=8, **changes), interface, seed).eval()


def tokens(seed: int, batch: int = 4) -> torch.Tensor:
    return torch.randint(0, 9, (batch, 5), generator=torch.Generator().manual_seed(seed))


def last_logit(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, -1, 0].mean()


def test_the_librarys_patching_runs_and_restores_the_clean_output():
    model, clean, corrupt = net(), tokens(0), tokens(1)
    with torch.no_grad():
        target, cache = model.run_with_cache(clean)
        base = last_logit(model(corrupt))
        resid = patching.get_act_patch_resid_pre(model, corrupt, cache, last_logit)
        heads = patching.get_act_patch_attn_head_out_all_pos(model, corrupt, cache, last_logit)
        by_pos = patching.get_act_patch_attn_head_out_by_pos(model, corrupt, cache, last_logit)
        pattern = patching.get_act_patch_attn_head_pattern_all_pos(model, corrupt, cache, last_logit)
        blocks = patching.get_act_patch_block_every(model, corrupt, cache, last_logit)
    assert resid.shape == (2, 5)
    assert heads.shape == pattern.shape == (2, 2)
    assert by_pos.shape == (2, 5, 2)
    assert blocks.shape == (3, 2, 5)
    assert (heads - base).abs().min() > 1e-7
    moved = model.run_with_hooks(
        corrupt, fwd_hooks=[("blocks.0.hook_resid_pre", lambda x, hook: cache[hook.name])]
    )
    assert torch.equal(moved, target)


def test_the_librarys_direct_path_patching_uses_the_forked_inputs():
    model, clean, corrupt = net(mask="full"), tokens(0), tokens(1)
    with torch.no_grad():
        _, cache = model.run_with_cache(clean)
        _, corrupted_cache = model.run_with_cache(corrupt)
        table = patching.get_act_patch_direct_path(
            model, corrupt, cache, corrupted_cache, last_logit, src_layer=0, src_head=1, component="k"
        )
        base = last_logit(model(corrupt))
    assert table[0].abs().max() == 0
    assert (table[1] - base).abs().min() > 1e-9
    assert not model.cfg.use_split_qkv_input


def test_forked_inputs_and_head_results_leave_the_output_as_it_is():
    model = net()
    plain = model(tokens(0))
    model.set_use_attn_result(True)
    model.set_use_split_qkv_input(True)
    assert torch.allclose(model(tokens(0)), plain, atol=1e-6)


def test_factored_matrices_are_the_heads_own_maps():
    model = net(attention="linear", layer_norm="none", positions="none", biases=False)
    _, cache = model.run_with_cache(tokens(0))
    x = cache["blocks.0.hook_resid_pre"]
    qk, ov = model.QK, model.OV
    assert isinstance(ov, FactoredMatrix)
    scores = torch.einsum("bid,de,bje->bij", x, qk.AB[0, 1], x)
    assert torch.allclose(scores, cache["blocks.0.attn.hook_attn_scores"][:, 1], atol=1e-6)
    model.set_use_attn_result(True)
    _, cache = model.run_with_cache(tokens(0))
    written = cache["blocks.0.attn.hook_pattern"][:, 0] @ x @ ov.AB[0, 0]
    assert torch.allclose(written, cache["blocks.0.attn.hook_result"][:, :, 0], atol=1e-6)


def test_weights_per_head_are_views_of_two_dimensional_storage():
    model = net()
    attn = model.blocks[0].attn
    for name, stored in (("W_Q", attn.w_q), ("W_K", attn.w_k), ("W_V", attn.w_v), ("W_O", attn.w_o)):
        view = getattr(attn, name)
        assert stored.ndim == 2
        with torch.no_grad():
            view[1] = 7.0
        assert (stored == 7.0).sum() == view[1].numel()
    assert attn.W_Q.shape == (2, 8, 4)
    assert attn.W_O.shape == (2, 4, 8)


def test_the_cache_is_the_librarys_own_and_logit_attributions_work():
    model = net(layer_norm="no_affine")
    model.set_use_attn_result(True)
    logits, cache = model.run_with_cache(tokens(0))
    assert isinstance(cache, ActivationCache)
    stack, labels = cache.get_full_resid_decomposition(layer=2, expand_neurons=False, return_labels=True)
    parts = cache.logit_attrs(stack, tokens=3)
    assert len(labels) == parts.shape[0]
    assert torch.allclose(parts.sum(0) + model.b_U[3], logits[..., 3], atol=1e-5)
    assert model.all_head_labels() == ["L0H0", "L0H1", "L1H0", "L1H1"]
    _, plain = model.run_with_cache(tokens(0), return_cache_object=False)
    assert type(plain) is dict
    with pytest.raises(NotImplementedError):
        model.to_tokens("text")
    with pytest.raises(UserError, match="not an output"):
        model.to_single_token("cat")


def nothing(activation: torch.Tensor, hook: object) -> None:
    return None


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("blocks.0.attn.hook_patern", "did you mean 'blocks.0.attn.hook_pattern'"),
        ("blocks.2.hook_resid_pre", "did you mean 'blocks.[01].hook_resid_pre'"),
        ("blocks.0.attn.hook_result", r"set_use_attn_result\(True\)"),
        ("blocks.0.attn.hook_k_input", r"set_use_split_qkv_input\(True\)"),
        (lambda name: name.endswith("hook_nothing"), "no hook name satisfies"),
        (lambda name: name.endswith("hook_result"), "did not fire"),
    ],
)
def test_a_hook_that_cannot_act_is_an_error_in_one_line(name, line):
    model = net()
    for run in (
        lambda: model.run_with_hooks(tokens(0), fwd_hooks=[(name, nothing)]),
        lambda: model.run_with_cache(tokens(0), names_filter=name),
    ):
        with pytest.raises(UserError, match=line) as error:
            run()
        assert "\n" not in str(error.value)
    assert not any(point.fwd_hooks for point in model.hook_points())


def test_hooks_outside_a_partial_run_are_errors_and_leave_nothing_behind():
    model = net()
    with pytest.raises(UserError, match="start_at_layer"):
        model.run_with_hooks(tokens(0), stop_at_layer=1, fwd_hooks=[("blocks.1.hook_resid_pre", nothing)])
    with pytest.raises(UserError, match="did not fire"), model.hooks(fwd_hooks=[("hook_embed", nothing)]):
        pass
    with pytest.raises(ZeroDivisionError):
        model.run_with_hooks(tokens(0), fwd_hooks=[("hook_embed", lambda x, hook: x / (1 // 0))])
    assert not any(point.fwd_hooks for point in model.hook_points())
    _, cache = model.run_with_cache(tokens(0), names_filter=["hook_embed", "blocks.1.attn.hook_z"])
    assert set(cache.keys()) == {"hook_embed", "blocks.1.attn.hook_z"}


def test_backward_hooks_see_gradients():
    model, seen = net(), []
    with model.hooks(bwd_hooks=[("blocks.0.hook_resid_post", lambda g, hook: seen.append(g))]):
        model(tokens(0)).sum().backward()
    assert len(seen) == 1


def test_a_model_is_a_function_of_its_arguments_and_leaves_the_global_state_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, two, other = net(seed=3), net(seed=3), net(seed=4)
    double = net(seed=3, dtype="float64")
    assert torch.equal(torch.get_rng_state(), state)
    for (name, a), b, c in zip(one.named_parameters(), two.parameters(), double.parameters(), strict=True):
        assert torch.equal(a, b), name
        assert torch.equal(a, c.float()), name
    assert not torch.equal(one.W_U, other.W_U)


@pytest.mark.parametrize(
    ("init", "stds"),
    [
        ("gpt2", {"w_q": 0.02, "w_o": 0.01, "W_in": 0.02, "W_out": 0.01, "W_pos": 0.02, "W_U": 0.02}),
        (
            "fan_in",
            {"w_q": 1 / 8, "w_o": 1 / 16, "W_in": 1 / 8, "W_out": 1 / 32, "W_pos": 0.02, "W_U": 1 / 8},
        ),
    ],
)
def test_initial_scales(init, stds):
    interface = TOKENS.model_copy(update={"n_ctx": 200, "d_out": 100})
    model = build_model(TransformerConfig(n_layers=2, n_heads=4, d_model=64, init=init), interface, 0)
    for name, parameter in model.named_parameters():
        leaf = name.rsplit(".", 1)[-1]
        if leaf in stds:
            assert parameter.std().item() == pytest.approx(stds[leaf], rel=0.05), name
            assert abs(parameter.mean().item()) < 4 * stds[leaf] / parameter.numel() ** 0.5
        elif parameter.ndim == 1:
            assert set(parameter.tolist()) <= {1.0 if leaf == "w" else 0.0}, name


def test_stacked_models_run_under_vmap_and_functional_call():
    models = [net(FLOATS, seed) for seed in range(3)]
    inputs = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    params, buffers = stack_module_state(models)
    base = copy.deepcopy(models[0]).to("meta")
    outputs = vmap(lambda p, b: functional_call(base, (p, b), (inputs,)))(params, buffers)
    for model, output in zip(models, outputs, strict=True):
        assert torch.allclose(model(inputs), output, atol=1e-5)
    grads = vmap(torch.func.grad(lambda p, b: functional_call(base, (p, b), (inputs,)).pow(2).sum()))(
        params, buffers
    )
    models[1](inputs).pow(2).sum().backward()
    assert torch.allclose(grads["blocks.0.attn.w_q"][1], models[1].blocks[0].attn.w_q.grad, atol=1e-4)


COMPILED = """
import torch
from interp.models import TransformerConfig, build_model
from tasks.base import Interface
torch.set_num_threads(1)
interface = Interface(inputs="continuous", n_ctx=5, d_in=3, d_out=1, output_positions=(4,))
config = TransformerConfig(n_layers=1, n_heads=1, d_model=4, mlp="none", layer_norm="none")
model = build_model(config, interface, 0)
inputs = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
step = torch.compile(lambda x: model(x).pow(2).sum(), backend="aot_eager", fullgraph=True)
assert torch.allclose(step(inputs), model(inputs).pow(2).sum())
step(inputs).backward()
assert model.W_U.grad is not None
moved = model.run_with_hooks(inputs, fwd_hooks=[("hook_embed", lambda x, hook: x + 1.0)])
assert (moved - model(inputs)).abs().max() > 1e-3
_, cache = model.run_with_cache(inputs, names_filter="blocks.0.attn.hook_pattern")
assert len(cache) == 1
print("hooks act")
"""


def test_hooks_still_act_after_a_train_step_was_compiled(forked):
    """In a process of its own, because the type checks of the test run cannot be traced; the backend that needs no C++
    compiler traces and differentiates the same graph."""
    done = forked(COMPILED)
    assert done.stdout.strip() == "hooks act", done.stderr[-2000:]
