"""The LSTM: two forms on the same weights, hooks that act, and settings that are refused."""

from __future__ import annotations

import pytest
import torch

from interp.models import LSTMConfig, build_model, parse_model
from tasks.base import Interface
from tasks.errors import UserError

FLOATS = Interface(inputs="continuous", n_ctx=6, d_in=3, d_out=2, output_positions=(5,))


def net(**changes):
    return build_model(LSTMConfig(n_layers=2, d_model=5, **changes), FLOATS, 0)


def inputs() -> torch.Tensor:
    return torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_form_and_cell_loop_agree_in_outputs_and_gradients(biases, dtype):
    model = net(biases=biases, dtype=dtype)
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    fused = model(inputs())
    fused.pow(2).sum().backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    assert all(grad.abs().max() > 0 for grad in grads.values())
    model.zero_grad()
    model.set_use_gate_hooks(True)
    looped = model(inputs())
    looped.pow(2).sum().backward()
    assert torch.allclose(fused, looped, atol=tolerance)
    assert all(torch.allclose(grads[n], p.grad, atol=20 * tolerance) for n, p in model.named_parameters())


NO_EFFECT = {
    f"blocks.{layer}.cells.0.hook_forget": "at the first position it multiplies a cell state of zero"
    for layer in (0, 1)
}


@pytest.mark.parametrize("gates", [True, False])
def test_noise_on_any_hook_that_fires_changes_the_output(gates):
    model = net()
    model.set_use_gate_hooks(gates)
    base, cache = model.run_with_cache(inputs())
    assert len(cache) == (5 + 2 * 6 * 5 if gates else 5)
    for name in cache:
        moved = model.run_with_hooks(inputs(), fwd_hooks=[(name, lambda x, hook: x + 0.5)])
        assert ((moved - base).abs().max() > 1e-5) == (name not in NO_EFFECT), name


def test_gate_hooks_reach_later_positions_only():
    model = net()
    model.set_use_gate_hooks(True)
    moved = model.run_with_hooks(
        inputs(), fwd_hooks=[("blocks.0.cells.3.hook_cell", lambda x, hook: x + 1.0)]
    )
    change = (moved - model(inputs())).abs().amax((0, 2))
    assert change[:3].max() == 0
    assert change[3:].min() > 0


def test_a_run_in_two_halves_equals_the_whole_and_silent_hooks_are_errors():
    model = net()
    whole = model(inputs())
    assert torch.equal(model(model(inputs(), stop_at_layer=1), start_at_layer=1), whole)
    with pytest.raises(UserError, match=r"set_use_gate_hooks\(True\)"):
        model.run_with_cache(inputs(), names_filter="blocks.0.cells.0.hook_cell")
    with pytest.raises(UserError, match=r"did you mean .blocks\.1\.hook_resid_post."):
        model.run_with_cache(inputs(), names_filter="blocks.1.hook_resid_pst")
    model.set_use_gate_hooks(True)
    with pytest.raises(UserError, match="6 positions, not 7"):
        model(torch.zeros(1, 7, 3))


def test_building_leaves_the_global_random_state_alone_and_is_repeatable():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, two = net(), net()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert max(p.abs().max().item() for p in one.parameters()) <= 5**-0.5


@pytest.mark.parametrize(
    "change", [{"n_layers": 0}, {"d_model": -1}, {"n_layers": 1_000_000}, {"n_heads": 2}]
)
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(UserError, match=r"n_layers|d_model|parameters|n_heads"):
        parse_model({"kind": "lstm", "n_layers": 2, "d_model": 5, **change})
