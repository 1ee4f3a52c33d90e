"""From a task's tokens to the residual stream: the read-in of each kind of input, and the position vectors."""

from __future__ import annotations

import torch
from jaxtyping import Float, Num, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from interp.config.model_transformer import TransformerConfig
from tasks.base import Interface
from tasks.errors import UserError


def parameter(*shape: int) -> nn.Parameter:
    """A parameter to be filled by `initialise`."""
    return nn.Parameter(torch.zeros(*shape))


class ReadIn(nn.Module):
    """Tokens to residual stream: a linear map (continuous), a table (token), or two tables added (pair)."""

    def __init__(self, interface: Interface, d_model: int, biases: bool):
        super().__init__()
        self.interface = interface
        if interface.inputs == "continuous":
            self.W_E = parameter(interface.d_in, d_model)
            self.b_E = parameter(d_model) if biases else None
        elif interface.inputs == "token":
            self.W_E = parameter(interface.d_vocab, d_model)
        else:
            self.W_E_key = parameter(interface.d_vocab, d_model)
            self.W_E_value = parameter(interface.d_vocab + 1, d_model)

    def check(self, inputs: Tensor) -> None:
        """Refuse inputs of another shape or kind than the interface says. Raises UserError."""
        kind = self.interface.inputs
        last = {"continuous": (self.interface.d_in,), "token": (), "pair": (2,)}[kind]
        if inputs.ndim != 2 + len(last) or inputs.shape[2:] != last:
            wanted = ", ".join(["batch", "pos", *map(str, last)])
            raise UserError(f"{kind} inputs must have shape [{wanted}], not {list(inputs.shape)}")
        if inputs.is_floating_point() != (kind == "continuous"):
            wanted = "floating-point" if kind == "continuous" else "integer"
            raise UserError(f"{kind} inputs must be {wanted} numbers, not {inputs.dtype}")

    def forward(self, inputs: Num[Tensor, "batch pos *token"]) -> Float[Tensor, "batch pos d_model"]:
        self.check(inputs)
        if self.interface.inputs == "continuous":
            out = inputs.to(self.W_E.dtype) @ self.W_E
            return out if self.b_E is None else out + self.b_E
        if self.interface.inputs == "token":
            return F.embedding(inputs, self.W_E)
        return F.embedding(inputs[..., 0], self.W_E_key) + F.embedding(inputs[..., 1], self.W_E_value)


class Positions(nn.Module):
    """Learned vectors for positions, for token types, or for both (then added)."""

    token_types: Shaped[Tensor, "n_ctx"]

    def __init__(self, config: TransformerConfig, interface: Interface):
        super().__init__()
        self.n_ctx = interface.n_ctx
        self.W_pos = self.W_type = None
        if config.positions in ("learned", "both"):
            self.W_pos = parameter(interface.n_ctx, config.d_model)
        if config.positions in ("token_type", "both"):
            self.W_type = parameter(max(interface.token_types) + 1, config.d_model)
        types = torch.tensor(interface.token_types or (0,) * interface.n_ctx)
        self.register_buffer("token_types", types, persistent=False)

    def forward(self, batch: int, pos: int) -> Float[Tensor, "batch pos d_model"]:
        if pos > self.n_ctx:
            raise UserError(
                f"{pos} positions, but this model has vectors for {self.n_ctx}: shorten the prompt"
            )
        rows = 0.0
        if self.W_pos is not None:
            rows = rows + self.W_pos[:pos]
        if self.W_type is not None:
            rows = rows + F.embedding(self.token_types[:pos], self.W_type)
        return torch.as_tensor(rows).repeat(batch, 1, 1)
