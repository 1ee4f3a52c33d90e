"""Tied attention and index networks: against closed forms, hooks that are causally effective, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interp.models import build_model, parse_model
from tasks.base import Interface
from tasks.errors import UserError
from tasks.theory.single_index import attention_student


def _face(d_out=1, length=3, d=8):
    return Interface(inputs="continuous", n_ctx=length, d_in=d, d_out=d_out, output_positions=(length - 1,))


def _attention(face, **settings):
    return build_model(parse_model({"kind": "tied-attention", "dtype": "float64", **settings}), face, 0)


def _network(face, **settings):
    return build_model(parse_model({"kind": "index-network", "dtype": "float64", **settings}), face, 0)


X = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 8**0.5


@pytest.mark.parametrize(("reduction", "d_out"), [("identity", 9), ("trace", 1), ("projection", 1)])
def test_attention_is_equation_one(reduction, d_out):
    model = _attention(_face(d_out), reduction=reduction, positional="opposite")
    z = (X + model.encodings) @ model.w[0]
    expected = np.asarray(attention_student(reduction, 3)(z.detach().numpy())).reshape(5, 1, d_out)
    out = model(X)
    assert out.shape == (5, 3, d_out)
    np.testing.assert_allclose(out.detach(), np.broadcast_to(expected, (5, 3, d_out)), atol=1e-12)


def test_weights_start_on_the_sphere_where_they_were_told():
    for rows, tied in ((1, True), (3, False)):
        model = _network(_face(), tied=tied, start=0.25)
        assert model.w.shape == (rows, 8)
        torch.testing.assert_close(model.w.norm(dim=1), torch.full((rows,), 8**0.5, dtype=torch.float64))
        torch.testing.assert_close(model.w[:, 0], torch.full((rows,), 0.25 * 8**0.5, dtype=torch.float64))
        assert not model.w[:, 1].any()
    drawn = torch.stack([build_model(_network(_face()).config, _face(), s).w[0] for s in range(400)])
    assert drawn.mean(0).abs().max() < 0.25
    assert torch.equal(_network(_face()).w, _network(_face()).w)


def test_even_without_encodings_and_not_with_injected_ones():
    for settings, even in (({}, True), ({"positional": "injected", "shift": (0.5, -0.5, 0.2)}, False)):
        model = _attention(_face(), reduction="trace", **settings)
        before = model(X)
        with torch.no_grad():
            model.w.neg_()
        assert torch.allclose(before, model(X), atol=1e-12) == even


def test_injected_encodings_shift_the_fields():
    model = _attention(_face(), reduction="trace", positional="injected", shift=(0.5, -0.5, 0.2))
    _, cache = model.run_with_cache(X, names_filter="blocks.0.attn.hook_q")
    plain = X @ model.w[0]
    torch.testing.assert_close(
        cache["blocks.0.attn.hook_q"][:, :, 0, 0], plain + torch.tensor([0.5, -0.5, 0.2], dtype=torch.float64)
    )
    torch.testing.assert_close(
        model.positional_overlaps(), torch.tensor([0.5, -0.5, 0.2], dtype=torch.float64)
    )


def test_networks_compute_what_they_say():
    tied, untied = (
        _network(_face(), activation="minus-tanh"),
        _network(_face(), tied=False, activation="square"),
    )
    s = (X @ tied.w[0]).sum(-1) / 3**0.5
    torch.testing.assert_close(tied(X)[:, 1, 0], -torch.tanh(s))
    s = torch.einsum("bld,ld->b", X, untied.w) / 3**0.5
    torch.testing.assert_close(untied(X)[:, 2, 0], s**2)


def test_every_hook_changes_the_output():
    attention = _attention(_face(), reduction="trace", positional="opposite")
    for model in (attention, _network(_face())):
        before = model(X)
        for name in model.hook_dict:
            after = model.run_with_hooks(X, fwd_hooks=[(name, lambda t, hook: t * 1.5 + 0.1 * t.abs())])
            assert not torch.allclose(before, after), name


def test_the_stream_before_the_head_can_be_taken_and_given_back():
    model = _attention(_face(), reduction="trace", positional="opposite")
    resid = model(X, stop_at_layer=0)
    torch.testing.assert_close(model(resid, start_at_layer=0), model(X))
    for bad in ({"stop_at_layer": 1}, {"start_at_layer": 1}, {"start_at_layer": 5}):
        with pytest.raises(UserError):
            model(X, **bad)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "tied-attention"}, "gives 9 outputs"),
        ({"kind": "tied-attention", "reduction": "trace", "positional": "injected"}, "shift"),
        ({"kind": "tied-attention", "reduction": "trace", "shift": (1.0,)}, "shift"),
        (
            {"kind": "tied-attention", "reduction": "trace", "positional": "injected", "shift": (1.0,)},
            "3 tokens",
        ),
        ({"kind": "index-network", "start": 2.0}, "overlap"),
        ({"kind": "index-network", "activation": "gelu"}, "activation"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(settings, says):
    with pytest.raises(UserError, match=says) as error:
        build_model(parse_model(settings), _face(), 0)
    assert "\n" not in str(error.value)


def test_other_inputs_are_refused():
    with pytest.raises(UserError, match="must be tokens"):
        _network(_face())(X[:, :2])
    tokens = Interface(inputs="token", n_ctx=3, d_vocab=5, d_out=1, output_positions=(2,))
    with pytest.raises(UserError, match="continuous tokens"):
        _network(tokens)
