"""Settings of an imported language model: its source, and the sizes that analyses need.

The weights are elsewhere (`interp.io.hf_reference.Reference`). `settings` is the model's own configuration, from
which an untrained model is built.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from interp.config.model_base import ModelSettings
from tasks.base import Interface


class BridgeConfig(ModelSettings):
    """A Hugging Face causal language model behind TransformerLens' bridge.

    `parallel`: attention and MLP of a block read the same stream (GPT-NeoX). `gated`: the MLP has a gate.
    `n_kv_heads` is under `n_heads` where heads share keys and values.
    """

    elsewhere: ClassVar[bool] = True

    kind: Literal["language-model"] = "language-model"
    name: str
    architecture: str
    settings: dict[str, JsonValue]
    n_layers: int = Field(ge=1)
    n_heads: int = Field(ge=1)
    n_kv_heads: int = Field(ge=1)
    d_model: int = Field(ge=1)
    d_head: int = Field(ge=1)
    d_mlp: int = Field(ge=1)
    n_ctx: int = Field(ge=1)
    d_vocab: int = Field(ge=1)
    parallel: bool
    gated: bool
    dtype: Literal["float32", "bfloat16"] = "float32"

    @property
    def attention(self) -> str:
        """Patterns are shares of a row."""
        return "softmax"

    @property
    def mask(self) -> str:
        """Models without a causal mask are rejected at import."""
        return "causal"

    @property
    def mask_query(self) -> bool:
        """Every row sees itself."""
        return False

    @property
    def edges_known(self) -> bool:
        """Whether the input of a head or an MLP can be recomputed from its parts: not with gates or shared keys."""
        return not self.gated and self.n_kv_heads == self.n_heads

    def check(self, interface: Interface) -> None:
        """Refuse a task this model cannot read. Raises UserError."""
        if interface.inputs != "token":
            self.refuse(f"reads tokens, and the task gives {interface.inputs} inputs: use the task 'prompts'")
        if interface.n_ctx > self.n_ctx:
            self.refuse(
                f"prompts of {interface.n_ctx} tokens are longer than the context of {self.n_ctx}: "
                "ask for fewer hops, chains or shots"
            )
        top = max(interface.outputs, default=interface.d_vocab - 1)
        if top >= self.d_vocab:
            self.refuse(f"the task's token {top} is outside the vocabulary of {self.d_vocab}")
