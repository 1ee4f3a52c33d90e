"""Settings of the linear transformer, on covariates and on trained features of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from interp.config.model_base import Dtype, ModelSettings, check_interface, refuse_too_many
from tasks.base import Interface


class LinearSettings(ModelSettings):
    """Attention layers alone on tokens [x; y], each with a value matrix P and a query-key matrix Q of width
    d + 1.

    `family`: "gd" trains one d by d preconditioner A per layer (Q = blockdiag(A, 0), P's corner 1); "gd++" also the
    upper block B of P, which rewrites the covariates; "full" trains all of P and Q. `corner` is where the label
    corner of a full P starts ("random": like the rest; 1 in the other families). `attention` is the nonlinearity of
    the scores: none, relu, or softmax. Weights start normal with standard deviation `init_std`.
    """

    n_layers: int = Field(ge=1)
    family: Literal["gd", "gd++", "full"] = "gd++"
    attention: Literal["linear", "relu", "softmax"] = "linear"
    init_std: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    corner: float | Literal["random"] = 1.0
    dtype: Dtype = "float32"

    @model_validator(mode="after")
    def _consistent(self) -> LinearSettings:
        if self.family != "full" and self.corner != 1.0:
            raise ValueError(f"corner is 1 in family {self.family!r}; only family 'full' trains it")
        return self

    def feature_parameters(self, interface: Interface) -> int:
        """Weights of the map that features go through."""
        return 0

    def check(self, interface: Interface) -> None:
        """Raise UserError for a task without merged tokens [x; y], or a model too large to hold."""
        if interface.inputs != "continuous" or interface.output_positions != (interface.n_ctx - 1,):
            self.refuse("reads tokens [x; y] with the query last: use a regression task with layout 'merged'")
        if interface.d_out != 1 or interface.d_in < 2 or interface.n_ctx < 2:
            self.refuse("needs covariates, one label and at least one example before the query")
        check_interface(self, interface, interface.d_in)
        refuse_too_many(
            2 * self.n_layers * interface.d_in**2 + self.feature_parameters(interface),
            self.n_layers,
            "the layers",
        )


class LinearConfig(LinearSettings):
    """Linear attention on the covariates as they are."""

    kind: Literal["linear"] = "linear"


class FeatureLinearConfig(LinearSettings):
    """Linear attention on features: a trained ReLU net of width `hidden` maps the covariates first.

    The non-linear variant of Ahn et al. (2310.01082), whose net is 5-30-5.
    """

    kind: Literal["feature-linear"] = "feature-linear"
    hidden: int = Field(default=30, ge=1)

    def feature_parameters(self, interface: Interface) -> int:
        """Weights of the ReLU net, in and out."""
        return 2 * self.hidden * interface.d_in
