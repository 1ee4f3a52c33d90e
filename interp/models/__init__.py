"""Models that are trained and taken apart. Names load on first use, so that importing the package stays
cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.models.bridge_config import BridgeConfig
    from interp.models.config import ModelConfig, build_model, parse_model
    from interp.models.linear_config import FeatureLinearConfig, LinearConfig
    from interp.models.lstm_config import LSTMConfig
    from interp.models.single_index_config import IndexNetworkConfig, TiedAttentionConfig
    from interp.models.transformer_config import TransformerConfig

_HOMES = {
    "ModelConfig": "config",
    "build_model": "config",
    "parse_model": "config",
    "BridgeConfig": "bridge_config",
    "TransformerConfig": "transformer_config",
    "LSTMConfig": "lstm_config",
    "LinearConfig": "linear_config",
    "FeatureLinearConfig": "linear_config",
    "TiedAttentionConfig": "single_index_config",
    "IndexNetworkConfig": "single_index_config",
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
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
