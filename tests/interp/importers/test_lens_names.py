"""Classic HookedTransformer names out and in again, and TransformerLens' own native model loading them."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from interp.cli import run as cli
from interp.config.run import configure
from interp.importers.lens_export import export_lens, lens_config
from interp.importers.plain import import_plain
from interp.importers.record import record
from interp.models import build_model
from interp.run import Run
from tasks import UserError

TASK = {
    "kind": "retrieval",
    "hops": 1,
    "chains": 2,
    "vocab": 6,
    "symbols": "discrete",
    "layout": "flat",
    "target": "ic",
}
TRAIN = {"steps": 1, "batch": 4, "lr": 0.1}
MODELS = {
    "norms and biases": {"mask": "causal"},
    "no norms, no biases, full": {"mask": "full", "layer_norm": "none", "biases": False, "mlp": "relu"},
    "attention alone": {"mask": "causal", "layer_norm": "no_affine", "mlp": "none"},
}


def _run(place, **model) -> Run:
    sizes = {"kind": "transformer", "n_layers": 2, "n_heads": 2, "d_model": 16, "d_head": 4}
    config = configure({"task": TASK, "model": sizes | model, "train": TRAIN})
    made = build_model(config.model, config.task.interface, 0)
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn(weight.shape, generator=source) * 0.4 + (weight.ndim == 1) * 0.5)
    return Run(record(place, config, (0,), lambda _: made.state_dict()))


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_boot_native_gives_the_same_logits(name, tmp_path):
    from transformer_lens.model_bridge.sources.native import boot
    from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

    run = _run(tmp_path / "run", **MODELS[name])
    weights, config = export_lens(run.folder, 0, tmp_path / "out")
    bridge = boot(json.loads(config.read_text()))
    classic = load_file(weights)
    bias = classic.get("unembed.b_U")
    bridge.load_state_dict(convert_tl_checkpoint(classic, bridge.cfg), strict=True)
    inputs = run.task.sample(0, "eval", 0, 5).inputs
    wanted = run.model()(inputs)
    found = bridge(inputs)
    assert bias is not None
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_classic_names_have_classic_shapes_and_come_in_again(tmp_path, capsys):
    run = _run(tmp_path / "run", mask="causal")
    assert cli(["export", str(run.path), "--out", str(tmp_path / "out"), "--format", "transformer-lens"]) == 0
    classic = load_file(tmp_path / "out" / "model.safetensors")
    assert classic["blocks.1.attn.W_Q"].shape == (2, 16, 4)
    assert classic["blocks.1.attn.W_O"].shape == (2, 4, 16)
    assert classic["blocks.0.mlp.W_in"].shape == (16, 64)
    assert classic["unembed.W_U"].shape[0] == 16
    own = run.model()
    torch.testing.assert_close(classic["blocks.0.attn.W_K"], own.blocks[0].attn.W_K)
    more = {"blocks.0.attn.mask": torch.ones(9, 9), "blocks.1.attn.IGNORE": torch.tensor(-1.0)}
    torch.save({**classic, **more}, tmp_path / "theirs.pt")
    again = Run(import_plain(tmp_path / "theirs.pt", "hooked-transformer", run.config, tmp_path / "again"))
    inputs = run.task.sample(0, "eval", 0, 3).inputs
    with torch.no_grad():
        assert torch.equal(again.model()(inputs), own(inputs))
    torch.save({**classic, "blocks.0.attn.W_new": torch.ones(1)}, tmp_path / "odd.pt")
    with pytest.raises(UserError, match=r"W_new.* not known here"):
        import_plain(tmp_path / "odd.pt", "hooked-transformer", run.config, tmp_path / "odd")
    assert cli(["export", str(run.path), "--out", str(tmp_path / "out"), "--format", "transformer-lens"]) == 2


def test_what_a_hooked_transformer_cannot_compute_is_refused(tmp_path):
    run = _run(tmp_path / "run", mask="causal", positions="relative")
    with pytest.raises(UserError, match="has positions 'relative', which a HookedTransformer cannot"):
        export_lens(run.folder, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    regression = configure("regression")
    with pytest.raises(UserError, match="reads continuous inputs"):
        lens_config(regression.model, regression.task.interface)


FORMS = """
ignore = ["*.mask"]
"token_embed.W_E" = "tokens"
"positions.W_pos" = {zeros = true}
"blocks.{l}.attn.w_q" = {key = "layers.{l}.q", reshape = "h d k -> d (h k)"}
"blocks.{l}.attn.w_k" = {key = "layers.{l}.k", transpose = true}
"blocks.{l}.attn.w_v" = {zeros = true}
"blocks.1.attn.w_v" = {key = "last_v"}
"blocks.{l}.attn.w_o" = {zeros = true}
"W_U" = {eye = true}
"""


def test_a_mapping_says_layers_constants_and_shapes(tmp_path):
    sizes = {"kind": "transformer", "n_layers": 2, "n_heads": 2, "d_model": 6, "d_head": 3, "mlp": "none"}
    settings = {**sizes, "layer_norm": "none", "biases": False, "mask": "causal"}
    config = configure({"task": TASK, "model": settings, "train": TRAIN})
    vocab = config.task.interface.d_vocab
    source = torch.Generator().manual_seed(1)
    state = {"tokens": torch.randn(vocab, 6, generator=source), "last_v": torch.randn(6, 6, generator=source)}
    for layer in range(2):
        state[f"layers.{layer}.q"] = torch.randn(2, 6, 3, generator=source)
        state[f"layers.{layer}.k"] = torch.randn(6, 6, generator=source)
        state[f"layers.{layer}.mask"] = torch.ones(3)
    torch.save(state, tmp_path / "w.pt")
    (tmp_path / "map.toml").write_text(FORMS)
    model = Run(import_plain(tmp_path / "w.pt", tmp_path / "map.toml", config, tmp_path / "run")).model()
    assert torch.equal(model.blocks[1].attn.W_Q, state["layers.1.q"])
    assert torch.equal(model.blocks[0].attn.w_k, state["layers.0.k"].T)
    assert torch.equal(model.blocks[1].attn.w_v, state["last_v"])
    assert not model.blocks[0].attn.w_v.any()
    assert torch.equal(model.W_U, torch.eye(6))
    wrong = {
        "h d k -> d (h k)": ("h d -> d h", "cannot be arranged as 'h d -> d h'"),
        "{eye = true}": ("{}", "names no key"),
        '["*.mask"]': ("[]", "layers.0.mask"),
        '{key = "last_v"}': ("{eye = true, zeros = true}", "give one of key"),
    }
    for old, (new, told) in wrong.items():
        (tmp_path / "map.toml").write_text(FORMS.replace(old, new))
        with pytest.raises(UserError, match=told.replace("(", r"\(")):
            import_plain(tmp_path / "w.pt", tmp_path / "map.toml", config, tmp_path / "other")
