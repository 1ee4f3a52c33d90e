"""Layout: where the parts of a transformer block lie in somebody else's module, as data.

Paths are those of `named_modules`. Those of a block may be written whole, with `{l}` for the layer
("transformer.h.{l}.attn.c_attn"), or from the block on ("attn.c_attn"). A wrapper around the module, or a missing outer
shell (a bare `GPT2Model`), is found by itself: what counts is how the paths end.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

BLOCK_PATHS = ("attention", "out", "norm1", "norm2", "mlp", "mlp_in", "mlp_gate", "mlp_out")


class Layout(BaseModel):
    """Names of the parts.

    `blocks`: the list of blocks. `embed`: the token embedding (or linear read-in). `positions`: the table of learned
    positions; empty for rotary or none. `norm_final`: the norm after the last block. `unembed`: the map from the stream
    to the outputs, or several names of which one is there; where the module has none its outputs are the normalised
    stream itself, unless it is "tied" (the embedding's transpose). `attention`: the module of attention. `qkv`: the map
    that gives queries, keys and values side by side, or three maps; empty where they are seen at the attention kernel
    alone. `order`: how they lie in a joint map: all queries, then keys, then values ("qkv"), or head by head ("heads").
    `out`: the output projection. `norm1`, `norm2`: the norms before attention and MLP. `mlp`: the MLP's module (empty:
    its maps lie in the block), `mlp_in`, `mlp_gate`, `mlp_out` its maps. `parallel`: attention and MLP read the same
    stream.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "own"
    blocks: str
    embed: str = ""
    positions: str = ""
    norm_final: str = ""
    unembed: tuple[str, ...] = ()
    attention: str
    qkv: tuple[str, ...] = ()
    order: Literal["qkv", "heads"] = "qkv"
    out: str = ""
    norm1: str = ""
    norm2: str = ""
    mlp: str = ""
    mlp_in: str = ""
    mlp_gate: str = ""
    mlp_out: str = ""
    parallel: bool = False

    @model_validator(mode="before")
    @classmethod
    def _within_a_block(cls, data: object) -> object:
        """Paths with {l} are cut to what comes after the block; a lone `qkv` becomes a list of one."""
        if not isinstance(data, dict):
            return data
        found = dict(data)
        for name in ("qkv", "unembed"):
            if isinstance(found.get(name), str):
                found[name] = (found[name],) if found[name] else ()
        stem = f"{found.get('blocks', '')}.{{l}}."
        for name in BLOCK_PATHS:
            if isinstance(found.get(name), str):
                found[name] = found[name].removeprefix(stem)
        if isinstance(found.get("qkv"), list | tuple):
            found["qkv"] = tuple(str(path).removeprefix(stem) for path in found["qkv"])
        return found

    @property
    def tied(self) -> bool:
        """Whether outputs are read with the embedding's transpose, outside the module."""
        return self.unembed == ("tied",)

    @model_validator(mode="after")
    def _one_or_three(self) -> Layout:
        if len(self.qkv) not in (0, 1, 3):
            raise ValueError(f"qkv names {len(self.qkv)} maps: give one joint map, or those of q, k and v")
        if self.mlp_gate and not self.mlp_in:
            raise ValueError("mlp_gate without mlp_in: name both maps of a gated MLP")
        return self
