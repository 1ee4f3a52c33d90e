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
    d_out: int = 0
    z_at: Literal["out", "kernel", "none"] = "none"
    mask: Literal["causal", "full"] = "causal"


class _Survey:
    """A watcher that only looks."""

    def __init__(self, parts: Parts, batch: int):
        self.parts, self.sizes, self.layer, self.batch = parts, Sizes(), None, batch
        self.kernel = self.mapped = False
        self.heads: dict[int, list[tuple[int, int]]] = {}  # by layer: heads and widths of every kernel
        self.turns = 0
        self.stream: tuple[int, ...] = ()

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
        self._seen(pattern, q.shape[-1] if v.shape[-1] == q.shape[-1] else -1)
        return pattern @ v, pattern

    def weigh(self, scores: Tensor, softmax: Callable[[Tensor], Tensor]) -> Tensor:
        pattern = softmax(scores)
        self._seen(pattern, 0)
        return pattern

    def _seen(self, pattern: Tensor, width: int) -> None:
        if pattern.shape[-1] != pattern.shape[-2]:
            return
        assert self.layer is not None
        self.heads.setdefault(self.layer, []).append((pattern.shape[1], width))
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
        self.stream = tuple(StreamEntry(args, kwargs).value.shape)
        self.sizes.d_model = self.stream[-1]
        self.turns += 1

    @property
    def alike(self) -> bool:
        """Whether every block has one kernel of attention, with the same heads in all, values as wide as queries."""
        seen = [tuple(found) for found in self.heads.values()]
        whole = len(seen) == len(self.parts.blocks) and len(set(seen)) == 1
        return whole and len(seen[0]) == 1 and seen[0][0][1] >= 0


@torch.no_grad()
def survey(module: nn.Module, parts: Parts, layout: Layout, inputs: Tensor) -> Sizes:
    """Run a module once and read its sizes. Raises UserError when it cannot be run on these prompts."""
    watcher = _Survey(parts, len(inputs))
    hooks = watcher.hooks()
    try:
        with Kernel(watcher):
            out = module(inputs)
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
    _check_stream(watcher, layout, module, inputs)
    sizes = watcher.sizes
    found = outputs_of(out, type(module).__name__)
    if found.ndim != 3 or len(found) != len(inputs):
        raise UserError(
            f"{type(module).__name__}: its outputs are {list(found.shape)} for prompts {list(inputs.shape)}; "
            "[batch, pos, out] are wanted (batch first)"
        )
    sizes.d_out = found.shape[-1]
    if not watcher.alike:
        sizes.n_heads = 0
    return _headed(sizes, parts, layout, watcher)


def _check_stream(watcher: _Survey, layout: Layout, module: nn.Module, inputs: Tensor) -> None:
    """Raises UserError for blocks that did not run, ran several times, or read something else than a place a token."""
    name = type(module).__name__
    if not watcher.stream:
        raise UserError(
            f"layout {layout.name!r}: the blocks at {layout.blocks!r} did not run: check the layout"
        )
    if watcher.turns > 1:
        raise UserError(
            f"{name}: its first block runs {watcher.turns} times: its turns cannot be distinguished"
        )
    if len(watcher.stream) != 3 or watcher.stream[:2] != tuple(inputs.shape[:2]):
        raise UserError(
            f"{name}: the stream of its blocks is {list(watcher.stream)} for prompts {list(inputs.shape)}: batch "
            "first, and a place for every token, are needed"
        )


def outputs_of(out: Any, name: str) -> Tensor:
    """The outputs among what a module returns. Raises UserError where there are none."""
    if isinstance(out, Tensor):
        return out
    for key in ("logits", "last_hidden_state"):
        found = out.get(key) if isinstance(out, dict) else getattr(out, key, None)
        if isinstance(found, Tensor):
            return found
    if isinstance(out, tuple | list) and out and isinstance(out[0], Tensor):
        return out[0]
    raise UserError(
        f"{name}: returns {type(out).__name__} without a tensor of outputs (logits, or the first of several)"
    )


def _headed(sizes: Sizes, parts: Parts, layout: Layout, watcher: _Survey) -> Sizes:
    if not sizes.n_heads:
        return dataclasses.replace(sizes, n_kv_heads=0, d_head=0, z_at="none")
    block = parts.blocks[0]
    if not sizes.d_head:
        inner = matrix(block.out).shape[0] if block.out is not None else sizes.d_model
        sizes.d_head = inner // sizes.n_heads
    sizes.n_kv_heads = _shared(sizes, block.qkv, layout) or sizes.n_kv_heads or sizes.n_heads
    _check_maps(sizes, block.qkv, layout)
    sizes.z_at = "out" if watcher.mapped else "kernel" if watcher.kernel else "none"
    return sizes


def _shared(sizes: Sizes, qkv: tuple[nn.Module, ...], layout: Layout) -> int:
    """Heads of keys and values, by the width of their maps."""
    if len(qkv) == 3:
        return matrix(qkv[1]).shape[1] // sizes.d_head
    if len(qkv) == 1:
        return (matrix(qkv[0]).shape[1] // sizes.d_head - sizes.n_heads) // 2
    return 0


def _check_maps(sizes: Sizes, qkv: tuple[nn.Module, ...], layout: Layout) -> None:
    """Raises UserError for maps whose widths are not those of the heads that were seen."""
    found = [matrix(module).shape[1] for module in qkv]
    heads, shared, width = sizes.n_heads, sizes.n_kv_heads, sizes.d_head
    wanted = [heads * width, shared * width, shared * width]
    joint = len(found) == 1 and (layout.order == "qkv" or heads == shared)
    if found and found != (wanted if len(found) == 3 else [sum(wanted)] if joint else None):
        raise UserError(
            f"layout {layout.name!r}: qkv gives {' + '.join(map(str, found))} numbers, and attention has {heads} heads "
            f"of {width} with {shared} of keys and values: check qkv and its order, or leave it empty"
        )
