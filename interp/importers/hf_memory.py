"""What looking at a language model takes, counted from its settings before anything is loaded.

Bytes of tensors, not of the process: Python, torch and the loader's own needs (a few hundred megabytes) come on top.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from interp.models.bridge import quiet
from interp.models.bridge_config import BridgeConfig
from tasks.base import Interface

_WIDTH = {"float32": 4, "bfloat16": 2}


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

    "weights" is one revision, the most that is held of a run; "untrained twin" stands beside it while controls are
    read. Some bridged models hold query, key and value weights a second time, split (GPT-NeoX); it is counted for
    all. "attention" is every layer's pattern, kept only by what asks for it; "stream" the residual stream after every
    layer; "logits" those of the last token.
    """
    width, length = _WIDTH[config.dtype], interface.n_ctx
    split = 3 * config.n_layers * (config.d_model + 1) * config.n_heads * config.d_head  # with biases
    weights = (parameters_of(config) + split) * width
    rows = {
        "weights": weights,
        "untrained twin": weights,
        "attention": prompts * config.n_layers * config.n_heads * length**2 * width,
        "stream": prompts * (config.n_layers + 1) * length * config.d_model * width,
        "logits": prompts * config.d_vocab * width,
    }
    return pd.DataFrame({"metric": list(rows), "value": list(rows.values()), "unit": "bytes"})
