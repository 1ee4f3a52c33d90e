"""A checkpoint under the names and shapes of TransformerLens' classic `HookedTransformer`.

What is written loads into a `HookedTransformer` of TransformerLens 1 to 3 as it is, and into `boot_native` of
TransformerLens 4 after its own `convert_tl_checkpoint`; `lens.json` holds the settings that either is built from.
`HookedTransformer` itself is gone from version 4, so it is tested by names and shapes only, and `boot_native` by its
logits. Only what those models can compute is written: causal or full softmax attention over single tokens with learned
positions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from einops import rearrange
from safetensors.torch import save
from torch import Tensor

from interp.config.model_transformer import TransformerConfig
from interp.importers.plain import read_mapping
from interp.io.files import write_atomically
from interp.runs.folder import RunFolder
from tasks.base import Interface
from tasks.errors import UserError

MAP = "hooked-transformer"
NORMS = {"affine": "LN", "no_affine": "LNPre", "none": None}


def lens_config(config: TransformerConfig, face: Interface) -> dict[str, Any]:
    """The settings of the same model in TransformerLens. Raises UserError for what it cannot compute."""
    refused = {
        f"reads {face.inputs} inputs": face.inputs != "token",
        f"has {config.attention} attention": config.attention != "softmax",
        "hides the query as a key": config.mask_query,
        f"has positions {config.positions!r}": config.positions != "learned",
        "answers with a part of a vocabulary": bool(face.outputs),
    }
    if told := [what for what, here in refused.items() if here]:
        raise UserError(f"this model {told[0]}, which a HookedTransformer cannot: export it without --format")
    return {
        "n_layers": config.n_layers, "n_heads": config.n_heads, "d_model": config.d_model,
        "d_head": config.head_width, "d_mlp": config.mlp_width or 4 * config.d_model, "n_ctx": face.n_ctx,
        "d_vocab": face.d_vocab, "d_vocab_out": face.d_out, "act_fn": "gelu" if config.mlp == "none" else config.mlp,
        "attn_only": config.mlp == "none", "normalization_type": NORMS[config.layer_norm], "eps": 1e-5,
        "attention_dir": "causal" if config.mask == "causal" else "bidirectional",
        "positional_embedding_type": "standard",
    }  # fmt: skip


def lens_weights(weights: dict[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
    """The weights under the classic names; biases that this model lacks are zeros there."""
    sources, _ = read_mapping(MAP, {name: tuple(value.shape) for name, value in weights.items()})
    heads, found = {"h": config.n_heads, "k": config.head_width}, {}
    for name, value in weights.items():
        if name not in sources:
            raise UserError(f"weight {name!r} has no name in a HookedTransformer")
        ours, arrow, theirs = sources[name].reshape.partition(" -> ")
        found[sources[name].key] = rearrange(value, f"{theirs} -> {ours}", **heads) if arrow else value
    return {name: value.contiguous() for name, value in {**_no_biases(found, config), **found}.items()}


def _no_biases(found: dict[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
    """Zeros for the biases of a model without any."""
    W_U, zeros = found["unembed.W_U"], {}
    zeros["unembed.b_U"] = W_U.new_zeros(W_U.shape[1])
    for layer in range(config.n_layers):
        for slot in "QKV":
            zeros[f"blocks.{layer}.attn.b_{slot}"] = W_U.new_zeros(config.n_heads, config.head_width)
        zeros[f"blocks.{layer}.attn.b_O"] = W_U.new_zeros(config.d_model)
        if config.mlp != "none":
            zeros[f"blocks.{layer}.mlp.b_in"] = W_U.new_zeros(config.mlp_width)
            zeros[f"blocks.{layer}.mlp.b_out"] = W_U.new_zeros(config.d_model)
    return zeros


def export_lens(run: RunFolder, step: int, out: str | Path) -> tuple[Path, Path]:
    """Write one checkpoint as OUT/model.safetensors and OUT/lens.json.

    Raises UserError for a model that a HookedTransformer cannot compute, and where either file exists.
    """
    model = run.config.model
    if not isinstance(model, TransformerConfig):
        raise UserError(
            f"{run.path}: a {model.kind} model is no HookedTransformer: export it without --format"
        )
    settings = lens_config(model, run.config.task.interface)
    weights, config = Path(out) / "model.safetensors", Path(out) / "lens.json"
    for path in (weights, config):
        if path.exists():
            raise UserError(f"{path}: exists; choose another folder")
    tensors = lens_weights(run.weights(step), model)
    Path(out).mkdir(parents=True, exist_ok=True)
    write_atomically(weights, save(tensors))
    write_atomically(config, (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode())
    return weights, config
