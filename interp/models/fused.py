"""Torch's fused kernels for the parts of a model that have them: who uses them when; softmax padded to its vectors.

A part takes a fused kernel only where nobody hooks what the kernel hides. There are no second derivatives through them.
On a CPU, torch's softmax and attention leave their vector path below `LANES` keys; padding by keys that nobody sees
changes outputs by rounding alone. Parts with `padded` false do without: runs that were begun before it was so.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from interp.hooks.lens import HookPoint

LANES = 16  # keys below which torch leaves its vector path on a CPU
When = Literal["never", "in training", "always"]


def fuse(model: nn.Module, when: When = "in training", *, padded: bool = True) -> None:
    """Let the parts of a model that have fused kernels use them in training, or always; `padded`: short rows are."""
    module: Any
    for module in model.modules():
        if hasattr(module, "fused"):
            module.fused = when
        if hasattr(module, "padded"):
            module.padded = padded


@contextlib.contextmanager
def kernels(model: nn.Module) -> Iterator[None]:
    """Within it, parts that have fused kernels use them wherever nobody hooks what those hide; afterwards as before."""
    parts: list[Any] = [module for module in model.modules() if hasattr(module, "fused")]
    before = [part.fused for part in parts]
    for part in parts:
        part.fused = "always"
    try:
        yield
    finally:
        for part, when in zip(parts, before, strict=True):
            part.fused = when


def fused(module: nn.Module, *hidden: HookPoint) -> bool:
    """Whether a part is to use its kernel now, which passes over these hook points."""
    when = module.fused
    wanted = when == "always" or (when == "in training" and module.training)
    return wanted and not any(point.fwd_hooks or point.bwd_hooks for point in hidden)


def softmax(scores: Float[Tensor, "*lead row key"], padded: bool = True) -> Float[Tensor, "*lead row key"]:
    """Softmax over the last axis, as torch's to rounding; a row of minus infinity is NaN, as there.

    Short rows are padded by minus infinity, which gets the weight 0: on a CPU that is several times faster.
    """
    keys = scores.shape[-1]
    if not padded or keys >= LANES or scores.device.type != "cpu":
        return scores.softmax(-1)
    return F.pad(scores, (0, LANES - keys), value=-torch.inf).softmax(-1)[..., :keys].contiguous()


def short(q: Float[Tensor, "batch head pos d_head"]) -> bool:
    """Whether attention over so few positions is faster with padded keys."""
    return q.shape[2] < LANES and q.device.type == "cpu"


def padded_attention(
    q: Float[Tensor, "batch head pos d_head"],
    k: Float[Tensor, "batch head pos d_head"],
    v: Float[Tensor, "batch head pos d_head"],
    seen: Bool[Tensor, "pos pos"],
) -> Float[Tensor, "batch head pos d_head"]:
    """Softmax attention with keys padded to `LANES`; `seen`: which key (column) each row may see.

    A row that may see nothing gets zeros, as from torch's kernel.
    """
    missing = max(0, LANES - k.shape[2])
    k, v = (F.pad(x, (0, 0, 0, missing)) for x in (k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=F.pad(seen, (0, missing)))
