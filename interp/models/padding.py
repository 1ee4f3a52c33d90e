"""Which tokens of a prompt are real: all but those that fill it up, on the sides where it is filled up."""

from __future__ import annotations

from jaxtyping import Bool, Int
from torch import Tensor


def real_tokens(tokens: Int[Tensor, "batch pos"], pad: int, side: str) -> Bool[Tensor, "batch pos"]:
    """False on the run of `pad` at the beginning ("left"), at the end ("right"), or both; True elsewhere.

    >>> import torch
    >>> real_tokens(torch.tensor([[0, 1, 0, 2, 0]]), 0, "right").tolist()
    [[True, True, True, True, False]]
    """
    other = (tokens != pad).long()
    real = tokens == tokens
    if side != "right":
        real = real & (other.cumsum(1) > 0)
    if side != "left":
        real = real & (other.flip(1).cumsum(1).flip(1) > 0)
    return real
