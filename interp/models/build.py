"""The registry of model kinds as models: the builder of each kind, and building a model from its settings.

Configurations are data, independent of models (`interp.config.model`); a kind is registered here with both. Builders
that come with the package are named by their module and imported when a model of the kind is built.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

import torch

from interp.config.model import kind_of, register_settings, settings_class
from interp.config.model_base import ModelSettings
from tasks.base import Interface
from tasks.errors import UserError

Builder = Callable[[Any, Interface, int], torch.nn.Module]
B = TypeVar("B", bound=Builder)

_BUILDERS: dict[str, Builder | str] = {
    "transformer": "interp.models.transformer:HookedTransformer",
    "lstm": "interp.models.lstm:HookedLSTM",
    "linear": "interp.models.linear:LinearTransformer",
    "feature-linear": "interp.models.linear:feature_linear",
    "tied-attention": "interp.models.tied_attention:TiedAttention",
    "index-network": "interp.models.index_network:IndexNetwork",
    "language-model": "interp.models.bridge:BridgedModel",
    "adopted": "interp.models.adopted:AdoptedModel",
}


def register(kind: str, settings: type[ModelSettings]) -> Callable[[B], B]:
    """Decorator of a builder: register a model kind, so that configurations and runs can use it.

    `settings` is its configuration, whose `kind` defaults to the same name; the builder is a class on
    `interp.models.hooked.StrictHooks`, or a function, called with (settings, interface, seed). Raises UserError for a
    kind that is taken, or settings of another kind.
    """
    if kind_of(settings) != kind:
        raise UserError(
            f"model kind {kind!r}: its settings {settings.__name__} have kind {kind_of(settings)!r}"
        )

    def add(builder: B) -> B:
        register_settings(settings)
        _BUILDERS[kind] = builder
        return builder

    return add


def builder_of(kind: str) -> Builder | str | None:
    """Who builds the models of a kind: a class or function, or where one of this package lies; None for nobody."""
    settings_class(kind)
    return _BUILDERS.get(kind)


def build_model(config: ModelSettings, interface: Interface, seed: int) -> Any:
    """A freshly initialised model for a task's interface: a pure function of its arguments.

    The global random state is neither read nor changed. Raises UserError if settings and interface do not
    fit, or nobody registered a builder for the kind.
    """
    builder = builder_of(config.kind)
    if builder is None:
        raise UserError(
            f"model kind {config.kind!r} has settings but no builder: register it (interp.models.register)"
        )
    if isinstance(builder, str):
        module, _, name = builder.partition(":")
        builder = getattr(import_module(module), name)
    config.check(interface)
    return builder(config, interface, seed)
