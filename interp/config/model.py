"""The union of model configurations, told apart by `kind`, and the one way to build a model from one."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from interp.config.model_bridge import BridgeConfig
from interp.config.model_linear import FeatureLinearConfig, LinearConfig
from interp.config.model_lstm import LSTMConfig
from interp.config.model_single_index import IndexNetworkConfig, TiedAttentionConfig
from interp.config.model_transformer import TransformerConfig
from tasks.base import first_problem
from tasks.errors import UserError

ModelConfig = Annotated[
    TransformerConfig
    | LSTMConfig
    | LinearConfig
    | FeatureLinearConfig
    | TiedAttentionConfig
    | IndexNetworkConfig
    | BridgeConfig,
    Field(discriminator="kind"),
]


def parse_model(settings: dict[str, Any]) -> ModelConfig:
    """The configuration that a dictionary describes. Raises UserError with the first complaint, on one line."""
    try:
        return TypeAdapter(ModelConfig).validate_python(settings)
    except ValidationError as error:
        raise UserError(f"model: {first_problem(error)}") from None
