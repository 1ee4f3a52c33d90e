"""Loading weights into a model: by name and shape, or by the reference that stands for a language model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from interp.config.model_bridge import BridgeConfig
from interp.io.hf_reference import Reference
from tasks.errors import UserError


def load_weights(model: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """Load weights into a model, or say in one line which name or shape does not fit.

    A language model finds its own by the reference that stands for them.
    """
    if isinstance(getattr(model, "config", None), BridgeConfig):
        cast(Any, model).refer(Reference.unpack(weights, where))
        return
    check_fit(model, weights, where)
    model.load_state_dict(weights)


def check_fit(model: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights that are not those of a model, by name, shape and type. Raises UserError naming the first."""
    own = model.state_dict()
    if odd := sorted(set(own) ^ set(weights)):
        raise UserError(
            f"{where}: weight {odd[0]!r} is {'missing' if odd[0] in own else 'unknown to this model'}"
        )
    for name, value in weights.items():
        if value.shape != own[name].shape or value.dtype != own[name].dtype:
            raise UserError(
                f"{where}: weight {name!r} is {value.dtype} {tuple(value.shape)}, not as in this model"
            )
