"""Sizes of somebody else's module, read off one run of it: heads, widths, and where attention is seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from interp.config.layout import Layout
from interp.models.layouts.kernel import Kernel
from interp.models.layouts.parts import Parts
from interp.models.layouts.weights import matrix
from interp.models.layouts.wires import StreamEntry
from tasks.errors import UserError


@dataclasses.dataclass
class Sizes:
    """What a run of the module showed; no heads where no kernel of attention was seen."""

    d_model: int = 0
    n_heads: int = 0
    n_kv_heads: int = 0
    d_head: int = 0
    z_at: Literal["out", "kernel", "none"] = "none"
    mask: Literal["causal", "full"] = "causal"


class _Survey:
    """A watcher that only looks."""

    def __init__(self, parts: Parts):
        self.parts, self.sizes, self.layer = parts, Sizes(), None
        self.kernel = self.mapped = False
        self.layers: set[int] = set()
        self.scored = 0

    @property
    def inside(self) -> bool:
        return self.layer is not None

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, weigh: Callable[[Tensor], Tensor], scale: float
    ) -> tuple[Tensor, Tensor]:
        self.kernel = True
        self.sizes.n_kv_heads = k.shape[1]
        if k.shape[1] != q.shape[1]:
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
        pattern = weigh(q @ k.transpose(-1, -2) * scale)
        self._seen(pattern, q.shape[-1])
        return pattern @ v, pattern

    def weigh(self, scores: Tensor, softmax: Callable[[Tensor], Tensor]) -> Tensor:
        pattern = softmax(scores)
        self._seen(pattern, 0)
        return pattern

    def _seen(self, pattern: Tensor, width: int) -> None:
        if pattern.shape[-1] != pattern.shape[-2]:
            return
        assert self.layer is not None
        self.layers.add(self.layer)
        self.sizes.n_heads = pattern.shape[1]
        self.sizes.d_head = width or self.sizes.d_head
        if bool((pattern.triu(1) > 0).any()):
            self.sizes.mask = "full"

    def hooks(self) -> list[Any]:
        """Hooks that keep track of where the module is."""
        found = []
        for layer, block in enumerate(self.parts.blocks):

            def begin(module: nn.Module, args: Any, kwargs: Any, layer: int = layer) -> None:
                self.layer = layer

            def end(module: nn.Module, args: Any, out: Any) -> None:
                self.layer = None

            found.append(block.attention.register_forward_pre_hook(begin, with_kwargs=True))
            found.append(block.attention.register_forward_hook(end))
            if block.out is not None:
                found.append(block.out.register_forward_pre_hook(self._through_out))
        first = self.parts.blocks[0].block
        found.append(first.register_forward_pre_hook(self._stream, with_kwargs=True))
        return found

    def _through_out(self, module: nn.Module, args: Any) -> None:
        self.mapped = self.mapped or self.inside

    def _stream(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.sizes.d_model = StreamEntry(args, kwargs).value.shape[-1]


@torch.no_grad()
def survey(module: nn.Module, parts: Parts, layout: Layout, inputs: Tensor) -> Sizes:
    """Run a module once and read its sizes. Raises UserError when it cannot be run on these prompts."""
    watcher = _Survey(parts)
    hooks = watcher.hooks()
    try:
        with Kernel(watcher):
            module(inputs)
    except UserError:
        raise
    except Exception as error:  # whatever somebody else's module may raise
        line = " ".join(str(error).split())[:120]
        raise UserError(
            f"{type(module).__name__} does not run on the task's prompts {list(inputs.shape)} ({type(error).__name__}: "
            f"{line}); it is called as module(inputs)"
        ) from None
    finally:
        for hook in hooks:
            hook.remove()
    sizes = watcher.sizes
    if not sizes.d_model:
        raise UserError(
            f"layout {layout.name!r}: the blocks at {layout.blocks!r} did not run: check the layout"
        )
    if len(watcher.layers) < len(parts.blocks):
        sizes.n_heads = 0
    return _headed(sizes, parts, layout, watcher)


def _headed(sizes: Sizes, parts: Parts, layout: Layout, watcher: _Survey) -> Sizes:
    if not sizes.n_heads:
        return dataclasses.replace(sizes, n_kv_heads=0, d_head=0, z_at="none")
    block = parts.blocks[0]
    if not sizes.d_head:
        inner = matrix(block.out).shape[0] if block.out is not None else sizes.d_model
        sizes.d_head = inner // sizes.n_heads
    sizes.n_kv_heads = _shared(sizes, block.qkv, layout) or sizes.n_kv_heads or sizes.n_heads
    sizes.z_at = "out" if watcher.mapped else "kernel" if watcher.kernel else "none"
    return sizes


def _shared(sizes: Sizes, qkv: tuple[nn.Module, ...], layout: Layout) -> int:
    """Heads of keys and values, by the width of their maps."""
    if len(qkv) == 3:
        return matrix(qkv[1]).shape[1] // sizes.d_head
    if len(qkv) == 1:
        return (matrix(qkv[0]).shape[1] // sizes.d_head - sizes.n_heads) // 2
    return 0
