"""Loading weights into a model: by name and shape, or as a model that was made elsewhere takes its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from interp.io.hf_reference import REFERENCE
from interp.io.weight_files import WeightFiles
from tasks.errors import UserError


def load_weights(model: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """Load weights into a model, or say in one line which name or shape does not fit.

    A model with `take_weights` is made elsewhere and takes them by its own names; where a checkpoint refers to files,
    these are read.
    """
    if hasattr(model, "take_weights"):
        cast(Any, model).take_weights(weights_behind(weights, where), where)
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


def weights_of(model: Any, weights: Mapping[str, Tensor], where: str) -> Mapping[str, Tensor]:
    """A checkpoint's weights by the names of the model's parameters, the files read that it refers to."""
    found = weights_behind(weights, where)
    return model.named_weights(found, where) if hasattr(model, "named_weights") else found


def weights_behind(weights: Mapping[str, Tensor], where: str) -> Mapping[str, Tensor]:
    """The weights in the files that a checkpoint refers to; those that it holds, as they are."""
    if REFERENCE not in weights:
        return weights
    found = WeightFiles.behind(weights)
    return weights if found is None else found.read()
