"""A model's weights in a model for prompts of another length."""

from __future__ import annotations

from typing import Any

from tasks.base import Interface
from tasks.errors import UserError


def resized(model: Any, interface: Interface) -> Any:
    """The model itself where its prompts are of that length already, else the same weights for the other length.

    Weights that stand for positions serve shorter prompts only: for longer ones raises UserError and names them.
    """
    from interp.models.build import build_model

    if interface == model.interface:
        return model
    if model.config.elsewhere and interface.n_ctx <= model.config.n_ctx:
        return model
    other = build_model(model.config, interface, 0)
    own = dict(model.named_parameters())
    tied = [name for name, weight in other.named_parameters() if weight.shape != own[name].shape]
    if tied and interface.n_ctx <= model.interface.n_ctx:
        return model
    if tied:
        raise UserError(
            f"prompts of {interface.n_ctx} tokens are longer than in training ({model.interface.n_ctx}), and "
            f"{tied[0]} has no weights for what comes after: train with model.positions=token_type"
        )
    other.load_state_dict({name: own[name] for name, _ in other.named_parameters()}, strict=False)
    return other.eval()
