"""Hooked models. Names load on first use, so that importing the package is cheap."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.config.model import ModelConfig, parse_model
    from interp.config.model_bridge import BridgeConfig
    from interp.config.model_linear import FeatureLinearConfig, LinearConfig
    from interp.config.model_lstm import LSTMConfig
    from interp.config.model_single_index import IndexNetworkConfig, TiedAttentionConfig
    from interp.config.model_transformer import TransformerConfig
    from interp.models.build import build_model, register

_HOMES = {
    "ModelConfig": "interp.config.model",
    "build_model": "interp.models.build",
    "register": "interp.models.build",
    "parse_model": "interp.config.model",
    "BridgeConfig": "interp.config.model_bridge",
    "TransformerConfig": "interp.config.model_transformer",
    "LSTMConfig": "interp.config.model_lstm",
    "LinearConfig": "interp.config.model_linear",
    "FeatureLinearConfig": "interp.config.model_linear",
    "TiedAttentionConfig": "interp.config.model_single_index",
    "IndexNetworkConfig": "interp.config.model_single_index",
}

__all__ = [
    "BridgeConfig",
    "FeatureLinearConfig",
    "IndexNetworkConfig",
    "LSTMConfig",
    "LinearConfig",
    "ModelConfig",
    "TiedAttentionConfig",
    "TransformerConfig",
    "build_model",
    "parse_model",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
