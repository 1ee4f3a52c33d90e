"""The registry of model kinds as settings: which configuration belongs to a `kind`, and reading one.

Independent of models: kinds are registered with their builders in `interp.models.build`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny, ValidationError
from pydantic_core import PydanticCustomError

from interp.config.model_adopted import AdoptedConfig
from interp.config.model_base import ModelSettings
from interp.config.model_bridge import BridgeConfig
from interp.config.model_linear import FeatureLinearConfig, LinearConfig
from interp.config.model_lstm import LSTMConfig
from interp.config.model_single_index import IndexNetworkConfig, TiedAttentionConfig
from interp.config.model_transformer import TransformerConfig
from tasks.complaints import first_problem
from tasks.errors import UserError
from tasks.plugins import load_plugins

MODULES = "ALGOSCOPE_MODELS"  # the variable of modules that register model kinds
GROUP = "algoscope.models"  # the entry points that do
SHIPPED = (
    TransformerConfig, LSTMConfig, LinearConfig, FeatureLinearConfig, TiedAttentionConfig, IndexNetworkConfig,
    BridgeConfig, AdoptedConfig,
)  # fmt: skip
_SETTINGS: dict[str, type[ModelSettings]] = {}


def kind_of(settings: type[ModelSettings]) -> str:
    """The kind of a configuration class: the default of its `kind`."""
    return str(settings.model_fields["kind"].default)


def register_settings(settings: type[ModelSettings]) -> str:
    """Register a configuration class under its kind. Raises UserError if another class has that kind."""
    kind = kind_of(settings)
    known = _SETTINGS.get(kind)
    if known is not None and known.__qualname__ != settings.__qualname__:
        raise UserError(f"model kind {kind!r} is taken by {known.__module__}.{known.__qualname__}")
    _SETTINGS[kind] = settings
    return kind


def model_kinds() -> list[str]:
    """Kinds of every registered model.

    Included are those of installed plug-ins (entry points `algoscope.models`) and of the modules that the environment
    variable ALGOSCOPE_MODELS names, comma between them. Raises UserError for a module that is not there.
    """
    load_plugins(MODULES, GROUP, _SETTINGS)
    return sorted(_SETTINGS)


def settings_class(kind: object) -> type[ModelSettings] | None:
    """The configuration class of a kind, None for a kind that is unknown."""
    if isinstance(kind, str) and (kind in _SETTINGS or kind in model_kinds()):
        return _SETTINGS[kind]
    return None


def _by_kind(settings: Any) -> Any:
    if not isinstance(settings, dict):
        return settings
    kind = settings.get("kind")
    found = settings_class(kind)
    if found is None:
        if kind is None:
            raise PydanticCustomError("union_tag_not_found", "no kind of model")
        raise PydanticCustomError("union_tag_invalid", "no such kind of model", {"tag": str(kind)})
    return found.model_validate(settings)


ModelConfig = Annotated[SerializeAsAny[ModelSettings], BeforeValidator(_by_kind)]


def parse_model(settings: dict[str, Any]) -> ModelSettings:
    """The configuration that a dictionary describes. Raises UserError with the first error, on one line."""
    kind = settings.get("kind")
    found = settings_class(kind)
    if found is None:
        raise UserError(f"model: unknown kind {kind!r}: known are {', '.join(model_kinds())}")
    try:
        return found.model_validate(settings)
    except ValidationError as error:
        raise UserError(first_problem(error, found.model_fields, "model")) from None


for _shipped in SHIPPED:
    register_settings(_shipped)
