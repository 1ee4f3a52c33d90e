"""Settings of the hooked LSTM."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from interp.config.model_base import Dtype, ModelSettings, check_interface, refuse_too_many
from tasks.base import Interface


class LSTMConfig(ModelSettings):
    """A stack of LSTM layers of one width, read from left to right, without residual connections.

    Weights start uniform in +-1/sqrt(d_model), the field's usual choice for LSTMs.
    """

    kind: Literal["lstm"] = "lstm"
    n_layers: int = Field(ge=1)
    d_model: int = Field(ge=1)
    biases: bool = True
    dtype: Dtype = "float32"

    @model_validator(mode="after")
    def _bounded(self) -> LSTMConfig:
        refuse_too_many(8 * self.n_layers * self.d_model**2, self.n_layers, "the layers")
        return self

    def check(self, interface: Interface) -> None:
        """Refuse an interface whose tables would be too large. Raises UserError."""
        check_interface(self, interface, self.d_model)
