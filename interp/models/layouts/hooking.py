"""The wiring of an adopted module: hook points, who listens, and what passes through each part on its way.

Points are given copies, and only where somebody listens; what comes back goes on in the module. Within `quiet` parts
can be called for their arithmetic alone. Norms and maps are wired by `interp.models.layouts.wires`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from interp.config.model_adopted import AdoptedConfig
from interp.hooks.lens import HookPoint
from interp.models.hooked import Name
from interp.models.layouts.parts import BlockParts, Parts
from interp.models.layouts.wires import names_of, wire_heads, wire_input, wire_norm, wire_output
from interp.models.narrow import Narrowing
from interp.models.surface import LensSurface
from tasks.errors import UserError


class Stopped(Exception):
    """Thrown out of a forward pass that was to stop at a layer, with the stream there."""

    def __init__(self, stream: Tensor):
        super().__init__("stopped")
        self.stream = stream


def bare(name: str) -> str:
    """A hook's name without its block: blocks.3.attn.hook_z is attn.hook_z."""
    return name.split(".", 2)[2] if name.startswith("blocks.") else name


class AdoptedHooks(Narrowing, LensSurface):
    """Hook points on the parts of a module. Also a `Watcher` of the kernels of its attention.

    `refused` says what analyses cannot have, and why: hook names without their block ("attn.hook_pattern"), and "edges"
    for heads and MLPs that can be given inputs of their own.
    """

    config: AdoptedConfig
    parts: Parts
    refused: dict[str, str]
    _batch: int
    _pos: int

    def connect(self) -> None:
        """Make the points and wire every part of the module to them."""
        self.__dict__["_points"] = points = {name: HookPoint() for name in names_of(self.config, self.parts)}
        for name, point in points.items():
            point.name = name
        self._running = self._muted = False
        self.clear()
        self._wire()

    @property
    def hook_dict(self) -> dict[str, HookPoint]:  # type: ignore[override]
        """Hook points by their classic names, less the refused ones."""
        points: dict[str, HookPoint] = self.__dict__["_points"]
        if not self.refused:
            return points
        return {name: point for name, point in points.items() if bare(name) not in self.refused}

    @property
    def mod_dict(self) -> dict[str, HookPoint]:  # type: ignore[override]
        """The same: the module's own parts are reached by their hooks alone."""
        return self.hook_dict

    def hook_names(self, name: Name) -> list[str]:
        """As in `StrictHooks`; of a hook that is refused it says why."""
        if isinstance(name, str) and bare(name) in self.refused:
            raise UserError(f"{self.config.name}: {name} is not offered: {self.refused[bare(name)]}")
        return super().hook_names(name)

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Within it, parts of the module can be called without firing hooks."""
        was, self._muted = self._muted, True
        try:
            yield
        finally:
            self._muted = was

    @property
    def live(self) -> bool:
        """Whether what passes through a part belongs to a forward pass of this model."""
        return self._running and not self._muted

    def listens(self, name: str) -> bool:
        """Whether somebody listens at a point."""
        point = self.__dict__["_points"].get(name)
        return self.live and point is not None and bool(point.fwd_hooks or point.bwd_hooks)

    def fire(self, name: str, value: Tensor) -> Tensor:
        """A copy through a point, where somebody listens."""
        return self.__dict__["_points"][name](value.clone()) if self.listens(name) else value

    def clear(self) -> None:
        """Forget what the last forward pass was asked for."""
        self._layer: int | None = None
        self._start: tuple[int, Tensor] | None = None
        self._stop: int | None = None
        self._rows: list[int] | None = None
        self.__dict__["_before"] = self.__dict__["_final"] = None

    def _wire(self) -> None:
        parts = self.parts
        if parts.embed is not None:
            wire_output(parts.embed, partial(self.fire, "hook_embed"))
        if parts.positions is not None:
            wire_output(parts.positions, self._place)
        for layer, block in enumerate(parts.blocks):
            wire_input(block.block, partial(self._enter, layer))
            self._wire_attention(layer, block, f"blocks.{layer}.")
            self._wire_mlp(block, f"blocks.{layer}.")
            for place, norm in ((f"blocks.{layer}.ln1", block.norm1), (f"blocks.{layer}.ln2", block.norm2)):
                self._wire_norm(norm, place)
            wire_output(block.block, partial(self._leave, layer))
        self._wire_norm(parts.norm_final, "ln_final")
        if parts.norm_final is not None:
            wire_output(parts.norm_final, self._keep_final)
        if parts.unembed is not None:
            wire_input(parts.unembed, self._rows_of)

    def _wire_norm(self, norm: nn.Module | None, place: str) -> None:
        if norm is not None and not isinstance(norm, nn.Identity):
            wire_norm(norm, place, self.fire, self.listens)

    def _wire_attention(self, layer: int, block: BlockParts, stem: str) -> None:
        def begin(module: nn.Module, args: Any, kwargs: Any) -> None:
            self._layer = layer if self.live else None

        def end(module: nn.Module, args: Any, out: Any) -> None:
            self._layer = None

        block.attention.register_forward_pre_hook(begin, with_kwargs=True)
        if self.config.n_heads:
            wire_heads(block, self.config, stem, self.fire, self.listens)
            if block.out is not None and self.config.z_at == "out":
                wire_input(block.out, partial(self._heads_out, stem + "attn.hook_z"))
        block.attention.register_forward_hook(end)
        wire_output(block.attention, partial(self._attended, stem, block.has_mlp))

    def _wire_mlp(self, block: BlockParts, stem: str) -> None:
        entry, leave = block.mlp or block.mlp_in, block.mlp or block.mlp_out
        if entry is not None:
            wire_input(entry, partial(self.fire, stem + "mlp.hook_in"))
        inner = {block.mlp_in: "mlp.hook_pre"} if block.mlp_gate is None else {
            block.mlp_gate: "mlp.hook_pre", block.mlp_in: "mlp.hook_pre_linear"}  # fmt: skip
        for module, name in inner.items():
            if module is not None:
                wire_output(module, partial(self.fire, stem + name))
        if block.mlp_out is not None:
            wire_input(block.mlp_out, partial(self.fire, stem + "mlp.hook_post"))
        if leave is not None:
            wire_output(leave, partial(self.fire, stem + "hook_mlp_out"))

    def _place(self, rows: Tensor) -> Tensor:
        if not self.listens("hook_pos_embed"):
            return rows
        batch = self._batch
        wide = (
            rows
            if rows.ndim == 3 and rows.shape[0] == batch
            else rows.reshape(1, *rows.shape[-2:]).expand(batch, -1, -1)
        )
        return self.fire("hook_pos_embed", wide)

    def _enter(self, layer: int, stream: Tensor) -> Tensor:
        if not self.live:
            return stream
        if self._stop == layer:
            raise Stopped(stream)
        if self._start is not None and self._start[0] == layer:
            stream = self._start[1]
        stream = self.fire(f"blocks.{layer}.hook_resid_pre", stream)
        self.__dict__["_before"] = stream
        return stream

    def _leave(self, layer: int, stream: Tensor) -> Tensor:
        if not self.live:
            return stream
        stream = self.fire(f"blocks.{layer}.hook_resid_post", stream)
        if layer == self.config.n_layers - 1:
            if self._stop == self.config.n_layers:
                raise Stopped(stream)
            self.__dict__["_final"] = stream
        return stream

    def _attended(self, stem: str, has_mlp: bool, out: Tensor) -> Tensor:
        out = self.fire(stem + "hook_attn_out", out)
        name = stem + "hook_resid_mid"
        if not has_mlp or not self.listens(name):
            return out
        mid = self.__dict__["_before"] + out
        return out + (self.fire(name, mid) - mid)

    def _heads_out(self, name: str, z: Tensor) -> Tensor:
        if not self.listens(name):
            return z
        return self.fire(name, z.unflatten(-1, (self.config.n_heads, self.config.d_head))).flatten(-2)

    def _keep_final(self, stream: Tensor) -> Tensor:
        if self.live:
            self.__dict__["_final"] = stream
        return stream

    def _rows_of(self, stream: Tensor) -> Tensor:
        """The stream that is unembedded: at the positions that are read, or at all."""
        if not self.live:
            return stream
        final = stream if stream.shape[1] == self._pos else self.__dict__["_final"]
        return final if self._rows is None else final[:, self._rows]

    @property
    def inside(self) -> bool:
        """Whether a kernel belongs to a block's attention."""
        return self.live and self._layer is not None

    @property
    def batch(self) -> int:
        """Prompts of the forward pass that is running."""
        return self._batch if self.live else 0

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, weigh: Callable[[Tensor], Tensor], scale: float
    ) -> tuple[Tensor, Tensor]:
        """Attention in the open, through the hook points of its layer."""
        stem = f"blocks.{self._layer}.attn.hook_"
        if not self.parts.blocks[0].qkv:
            q, k, v = (self._turned(stem + name, x) for name, x in zip("qkv", (q, k, v), strict=True))
        if k.shape[1] != q.shape[1]:
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
        scores = self.fire(stem + "attn_scores", q @ k.transpose(-1, -2) * scale)
        pattern = self.fire(stem + "pattern", weigh(scores))
        z = pattern @ v
        return (self._turned(stem + "z", z) if self.config.z_at == "kernel" else z), pattern

    def _turned(self, name: str, x: Float[Tensor, "batch head pos k"]) -> Float[Tensor, "batch head pos k"]:
        return self.fire(name, x.transpose(1, 2)).transpose(1, 2) if self.listens(name) else x

    def weigh(self, scores: Tensor, softmax: Callable[[Tensor], Tensor]) -> Tensor:
        """A softmax written out by hand, through the hook points of its layer."""
        stem = f"blocks.{self._layer}.attn.hook_"
        return self.fire(stem + "pattern", softmax(self.fire(stem + "attn_scores", scores)))
