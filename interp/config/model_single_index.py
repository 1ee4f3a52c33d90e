"""Settings of the students of sequence single-index models: tied attention, tied and untied networks."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from interp.config.model_base import Dtype, ModelSettings, check_interface, refuse_too_many
from tasks.base import Interface


class SphereSettings(ModelSettings):
    """Students whose weight vectors live on the sphere |w| = sqrt(d).

    `start` is "random" (uniform) or the overlap with the first axis, w_1 / sqrt(d), from which every vector starts;
    the second axis, along which encodings lie, then starts at 0.
    """

    start: float | Literal["random"] = "random"
    dtype: Dtype = "float32"

    @model_validator(mode="after")
    def _start_on_the_sphere(self) -> SphereSettings:
        if self.start != "random" and not -1 <= float(self.start) <= 1:
            raise ValueError(f"start is an overlap in [-1, 1] or 'random', not {self.start}")
        return self

    def check_directions(self, interface: Interface, rows: int) -> None:
        """Refuse a task without continuous tokens, or too large. Raises UserError."""
        if interface.inputs != "continuous" or interface.d_in < 3:
            self.refuse("reads continuous tokens of at least 3 dimensions: use the task kind 'single-index'")
        check_interface(self, interface, 1)
        refuse_too_many(rows * interface.d_in, 1, "the directions")


class TiedAttentionConfig(SphereSettings):
    """Attention with one direction w for queries and keys, f = R(softmax((X+P) w w^T (X+P)^T)).

    Arnaboldi et al. (arXiv 2506.02651), eq. (1). `reduction` is identity (L*L outputs), trace / sqrt(L), or
    projection on the uniform unit vector. `positional`: none, opposite (+-p along the second axis), or injected
    (P_l = shift_l w / d, which adds the constants `shift` to the fields and breaks the evenness in w).
    """

    kind: Literal["tied-attention"] = "tied-attention"
    reduction: Literal["identity", "trace", "projection"] = "identity"
    positional: Literal["none", "opposite", "injected"] = "none"
    shift: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _shift_is_for_injection(self) -> TiedAttentionConfig:
        if (self.positional == "injected") != bool(self.shift):
            raise ValueError("give shift (one number a token) with positional = 'injected', and only then")
        return self

    def check(self, interface: Interface) -> None:
        """Refuse a task of other outputs or tokens than these settings give. Raises UserError."""
        self.check_directions(interface, 1)
        outputs = interface.n_ctx**2 if self.reduction == "identity" else 1
        if interface.d_out != outputs:
            self.refuse(
                f"reduction {self.reduction!r} on {interface.n_ctx} tokens gives {outputs} outputs, the task wants "
                f"{interface.d_out}"
            )
        if self.shift and len(self.shift) != interface.n_ctx:
            self.refuse(f"shift has {len(self.shift)} numbers for {interface.n_ctx} tokens")


class IndexNetworkConfig(SphereSettings):
    """f = sigma(sum_l x_l.w_l / sqrt(L)): one direction for all tokens (tied) or one for each (untied)."""

    kind: Literal["index-network"] = "index-network"
    tied: bool = True
    activation: Literal["identity", "relu", "square", "tanh", "minus-tanh"] = "relu"

    def check(self, interface: Interface) -> None:
        """Refuse a task of more than one output. Raises UserError."""
        self.check_directions(interface, 1 if self.tied else interface.n_ctx)
        if interface.d_out != 1:
            self.refuse(f"has one output, the task wants {interface.d_out}")
