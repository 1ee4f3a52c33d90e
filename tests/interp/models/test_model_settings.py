"""Settings of a transformer that are out of range or do not fit the task, and inputs of another kind: one line each."""

from __future__ import annotations

import pytest
import torch

from interp.models import TransformerConfig, build_model, parse_model
from tasks.base import Interface
from tasks.errors import UserError

TOKENS = Interface(inputs="token", n_ctx=5, d_vocab=9, d_out=9, output_positions=(4,))
FLOATS = Interface(inputs="continuous", n_ctx=5, d_in=3, d_out=1, output_positions=(4,))


def net(interface=TOKENS, seed=0, **changes):
    return build_model(TransformerConfig(n_layers=2, n_heads=2, d_model=8, **changes), interface, seed).eval()


REFUSED = [
    ({"n_layers": 1_000_000}, "parameters in 1,000,000 layers"),
    ({"n_layers": -1}, "n_layers"),
    ({"n_layers": 0}, "n_layers"),
    ({"d_model": -8}, "d_model"),
    ({"d_model": 10**7}, "parameters in 2 layers"),
    ({"n_heads": 3}, "not a multiple of n_heads=3"),
    ({"widht": 3}, "widht"),
    ({"kind": "transfomer"}, "transfomer"),
    ({"attention": "softmax", "attn_scale": "n"}, "does not go with"),
    ({"attention": "linear", "attn_scale": "sqrt_d_head"}, "does not go with"),
    ({"mlp": "none", "d_mlp": 4}, "no neurons"),
    ({"dtype": "float16"}, "dtype"),
]


@pytest.mark.parametrize(("change", "line"), REFUSED)
def test_settings_out_of_range_are_refused_in_one_line(change, line):
    with pytest.raises(UserError, match=line) as error:
        parse_model({"kind": "transformer", "n_layers": 2, "n_heads": 2, "d_model": 8, **change})
    assert "\n" not in str(error.value)


def test_settings_are_frozen_and_survive_a_round_trip():
    config = parse_model({"kind": "transformer", "n_layers": 2, "n_heads": 3, "d_model": 8, "d_head": 5})
    assert parse_model(config.model_dump(mode="json")) == config
    assert net().blocks[0].attn.w_q.shape == (8, 8)
    assert build_model(config, TOKENS, 0).blocks[0].attn.w_q.shape == (8, 15)
    with pytest.raises(ValueError, match="frozen"):
        config.n_layers = 3


@pytest.mark.parametrize(
    ("changes", "interface", "line"),
    [
        ({"positions": "token_type"}, {}, "names none"),
        ({"positions": "both"}, {"token_types": (0, 1)}, "2 token types for 5 positions"),
        ({}, {"token_types": (0, 1, 0, 1, -1)}, "must not be negative"),
        ({}, {"d_vocab": 0}, "d_vocab is 0"),
        ({}, {"d_out": 0}, "d_out is 0"),
        ({}, {"d_vocab": 10**9}, "embedding and unembedding would hold"),
        ({"mask_query": True}, {"n_ctx": 1}, "mask_query"),
    ],
)
def test_settings_that_do_not_fit_the_task_are_refused_in_one_line(changes, interface, line):
    with pytest.raises(UserError, match=line) as error:
        net(TOKENS.model_copy(update=interface), **changes)
    assert "\n" not in str(error.value)


def test_inputs_of_another_kind_or_length_are_refused():
    with pytest.raises(UserError, match=r"must have shape \[batch, pos\], not \[2, 5, 3\]"):
        net()(torch.zeros(2, 5, 3, dtype=torch.long))
    with pytest.raises(UserError, match="must be integer numbers"):
        net()(torch.zeros(2, 5))
    with pytest.raises(UserError, match=r"must have shape \[batch, pos, 3\]"):
        net(FLOATS)(torch.zeros(2, 5, 4))
    with pytest.raises(UserError, match="7 positions"):
        net(FLOATS)(torch.zeros(2, 7, 3))
    assert net(FLOATS, positions="none")(torch.zeros(2, 7, 3)).shape == (2, 7, 1)
    with pytest.raises(UserError, match="hides the only position"):
        net(FLOATS, mask_query=True)(torch.zeros(2, 1, 3))
