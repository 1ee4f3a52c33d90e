"""State dicts under any names, imported by a mapping that states where each weight lies."""

from __future__ import annotations

import pytest
import torch

import interp
from interp.importers.plain import import_plain
from interp.runs.verify import verify
from tasks.errors import UserError

PLAIN = {
    "task": {"kind": "regression", "d": 2, "n": 3},
    "model": {"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 4, "mlp": "none"},
    "train": {"steps": 40, "batch": 4, "lr": 1e-3},
}
PLAIN["model"] |= {"biases": False, "layer_norm": "none", "positions": "none"}
NAMES = """
"token_embed.W_E" = {key = "embed.weight", transpose = true}
"blocks.0.attn.w_q" = {key = "attn.qkv", part = [0, 3]}
"blocks.0.attn.w_k" = {key = "attn.qkv", part = [1, 3]}
"blocks.0.attn.w_v" = {key = "attn.qkv", part = [2, 3]}
"blocks.0.attn.w_o" = "attn.out"
"W_U" = "head"
"""


def test_a_plain_state_dict_by_a_stated_mapping(tmp_path, capsys) -> None:
    gen = torch.Generator().manual_seed(0)
    shapes = {"embed.weight": (4, 2), "attn.qkv": (4, 12), "attn.out": (4, 4), "head": (4, 1)}
    state = {name: torch.randn(shape, generator=gen) for name, shape in shapes.items()}
    torch.save(state, tmp_path / "weights.pt")
    (tmp_path / "names.toml").write_text(NAMES)
    run = interp.Run(
        import_plain(
            tmp_path / "weights.pt",
            tmp_path / "names.toml",
            interp.config.run.parse_config(PLAIN),
            tmp_path / "run",
        )
    )
    x = run.task.sample(0, "eval", 0, 5).inputs
    e = x @ state["embed.weight"].T
    q, k, v = (e @ state["attn.qkv"]).split(4, dim=-1)
    scores = (q @ k.transpose(1, 2) / 2).masked_fill(~torch.ones(7, 7).tril().bool(), -torch.inf)
    expected = (e + scores.softmax(-1) @ v @ state["attn.out"]) @ state["head"]
    torch.testing.assert_close(run.model()(x), expected, atol=1e-5, rtol=0)
    assert run.steps == (40,)
    assert verify(tmp_path / "run").ok


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"W_U" = "head"', '"W_V" = "head"', "no weight 'W_V'"),
        ('"W_U" = "head"', "", "does not state where 'W_U' comes from"),
        ('"W_U" = "head"', '"W_U" = {key = "head", turn = 1}', "'W_U'"),
        ("[2, 3]", "[3, 3]", "part [3, 3]"),
        ("[2, 3]", "[2, 4]", "'attn.qkv' has shape [4, 12], should be [4, 16]"),
        ('"W_U"', "W_U =", "not valid TOML"),
    ],
)
def test_a_mapping_that_does_not_fit_is_named(old, new, said, tmp_path) -> None:
    shapes = {"embed.weight": (4, 2), "attn.qkv": (4, 12), "attn.out": (4, 4), "head": (4, 1)}
    torch.save({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "weights.pt")
    (tmp_path / "names.toml").write_text(NAMES.replace(old, new))
    config = interp.config.run.parse_config(PLAIN)
    with pytest.raises(UserError) as error:
        import_plain(tmp_path / "weights.pt", tmp_path / "names.toml", config, tmp_path / "run")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
