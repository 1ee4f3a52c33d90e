"""Memory requirements of analysing a language model, computed from its settings before anything is loaded.

Bytes of tensors, not of the process: Python, torch and the loader's own needs (a few hundred megabytes) come on top.
`show` prints the count for two published sizes; nothing is fetched or loaded for it.

    python -m interp.importers.hf_memory
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from interp.config.model_bridge import BridgeConfig
from interp.models.bridge import quiet
from tasks.base import Interface
from tasks.prompts import TextRetrieval

_WIDTH = {"float32": 4, "bfloat16": 2}
PROMPTS = 128  # what the study patches at once
PUBLISHED: dict[str, dict[str, Any]] = {  # sizes as their makers state them
    "GPT-2 small": {
        "model_type": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024, "vocab_size": 50257,
    },
    "Pythia 1B": {
        "model_type": "gpt_neox", "num_hidden_layers": 16, "num_attention_heads": 8, "hidden_size": 2048,
        "intermediate_size": 8192, "max_position_embeddings": 2048, "vocab_size": 50304, "tie_word_embeddings": False,
    },
}  # fmt: skip


def parameters_of(config: BridgeConfig) -> int:
    """Trained numbers of a model, counted on a model without storage; tied weights count once."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = dict(config.settings)
    with quiet(), torch.device("meta"):
        own = AutoConfig.for_model(str(settings.pop("model_type")), **settings)
        model: Any = AutoModelForCausalLM.from_config(own, trust_remote_code=False)
    return sum(weight.numel() for weight in model.parameters())


def memory(config: BridgeConfig, interface: Interface, prompts: int) -> pd.DataFrame:
    """Bytes by what they are for, for `prompts` prompts at once: one row each, `value` in bytes.

    "weights" is one revision, at most one of which is in memory; "untrained model" comes on top while controls are
    measured. Some bridged models hold query, key and value weights a second time, split (GPT-NeoX); it is counted for
    all. "attention" is every layer's pattern, kept only by what asks for it; "stream" the residual stream after every
    layer; "logits" those of the last token.
    """
    width, length = _WIDTH[config.dtype], interface.n_ctx
    split = 3 * config.n_layers * (config.d_model + 1) * config.n_heads * config.d_head  # with biases
    weights = (parameters_of(config) + split) * width
    rows = {
        "weights": weights,
        "untrained model": weights,
        "attention": prompts * config.n_layers * config.n_heads * length**2 * width,
        "stream": prompts * (config.n_layers + 1) * length * config.d_model * width,
        "logits": prompts * config.d_vocab * width,
    }
    return pd.DataFrame({"metric": list(rows), "value": list(rows.values()), "unit": "bytes"})


def published(name: str, dtype: Any = "float32") -> BridgeConfig:
    """The settings of a published model, by its name in `PUBLISHED`."""
    settings = PUBLISHED[name]
    neox = settings["model_type"] == "gpt_neox"
    layers, heads, width, context = (
        settings[key]
        for key in (
            ("num_hidden_layers", "num_attention_heads", "hidden_size", "max_position_embeddings")
            if neox
            else ("n_layer", "n_head", "n_embd", "n_positions")
        )
    )
    return BridgeConfig(
        name=name, architecture="GPTNeoXForCausalLM" if neox else "GPT2LMHeadModel", settings=settings,
        n_layers=layers, n_heads=heads, n_kv_heads=heads, d_model=width, d_head=width // heads, d_mlp=4 * width,
        n_ctx=context, d_vocab=settings["vocab_size"], parallel=neox, gated=False, dtype=dtype,
    )  # fmt: skip


def show() -> None:
    """Print the README's table: megabytes by model and type, for two-hop equations among four chains."""
    task = TextRetrieval(hops=2)
    print(
        "| model | parameters | type | one revision | untrained model | attention | residual stream | logits |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in PUBLISHED:
        for dtype in _WIDTH:
            config = published(name, dtype)
            cells = [f"{value / 1e6:,.0f}" for value in memory(config, task.interface, PROMPTS)["value"]]
            print(f"| {name} | {parameters_of(config):,} | {dtype} | {' | '.join(cells)} |")


if __name__ == "__main__":
    show()
