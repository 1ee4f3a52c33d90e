"""Settings of an adopted model: who builds its module, how its parts are named, and its sizes.

Sizes were read off a run of the module when it was adopted; opening the run proves them again
(`interp.models.layouts.check`). The weights are in the checkpoints, or in files that these refer to.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from interp.config.layout import Layout
from interp.config.model_base import ModelSettings
from tasks.base import Interface


class AdoptedConfig(ModelSettings):
    """Somebody else's module under the classic hook names.

    `builder` makes the module: "module:function", "hf" (a Hugging Face model of `settings`), or "live:NAME", an object
    that was given in this very process. `n_kv_heads` is under `n_heads` where heads share keys and values. `d_mlp` is 0
    where no MLP is seen. `mask`: whether any row attends to later tokens. `z_at`: where heads' outputs are
    seen, at the output projection or at the kernel of attention. `pad`: the token that fills up short prompts, on
    `pad_side`; elsewhere it is a token like any other.
    """

    elsewhere: ClassVar[bool] = True

    kind: Literal["adopted"] = "adopted"
    builder: str
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    architecture: str
    layout: Layout
    n_layers: int = Field(ge=1)
    n_heads: int = Field(ge=0)
    n_kv_heads: int = Field(ge=0)
    d_model: int = Field(ge=1)
    d_head: int = Field(ge=0)
    d_mlp: int = Field(ge=0)
    n_ctx: int = Field(ge=1)
    d_vocab: int = Field(ge=0)
    d_out: int = Field(ge=1)
    mask: Literal["causal", "full"]
    z_at: Literal["out", "kernel", "none"] = "out"
    pad: int | None = None
    pad_side: Literal["left", "right", "both"] = "both"
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.architecture

    @property
    def attention(self) -> str:
        """Patterns are shares of a row; a module whose rows do not sum to 1 shows no patterns."""
        return "softmax"

    @property
    def mask_query(self) -> bool:
        """Every row sees itself."""
        return False

    @property
    def parallel(self) -> bool:
        """Whether attention and MLP of a block read the same stream."""
        return self.layout.parallel

    @property
    def edges_known(self) -> bool:
        """Whether edges can be asked for; the check on load refuses them where they do not hold."""
        return self.n_heads > 0 and bool(self.layout.out)

    @property
    def gated(self) -> bool:
        """Whether the MLP has a gate."""
        return bool(self.layout.mlp_gate)

    def check(self, interface: Interface) -> None:
        """Refuse a task this module cannot read. Raises UserError."""
        if (interface.inputs == "token") != (self.d_vocab > 0) or interface.inputs == "pair":
            reads = "tokens" if self.d_vocab else "numbers"
            self.refuse(f"{self.architecture} reads {reads}, and the task gives {interface.inputs} inputs")
        if interface.n_ctx > self.n_ctx:
            self.refuse(
                f"prompts of {interface.n_ctx} tokens are longer than the module's context of {self.n_ctx}"
            )
        if self.d_vocab and interface.d_vocab > self.d_vocab:
            self.refuse(
                f"the task has {interface.d_vocab} tokens, and the module's vocabulary is {self.d_vocab}"
            )
        top = max(interface.outputs, default=interface.d_out - 1)
        if top >= self.d_out:
            self.refuse(f"the task asks for output {top}, and the module has {self.d_out}")
