"""Torch's fused kernels for the parts of a model that have them: who uses them when; attention padded to their width.

A part takes its kernel only where nobody hooks what the kernel hides. There are no second derivatives through them.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from interp.hooks.lens import HookPoint

LANES = 16  # keys below which torch's attention kernel leaves its fast path on a CPU
When = Literal["never", "in training", "always"]


def fuse(model: nn.Module, when: When = "in training") -> None:
    """Let the parts of a model that have fused kernels use them in training, or always: then keys are padded too,
    which changes outputs by rounding.
    """
    module: Any
    for module in model.modules():
        if hasattr(module, "fused"):
            module.fused = when


def fused(module: nn.Module, *hidden: HookPoint) -> bool:
    """Whether a part is to use its kernel now, which passes over these hook points."""
    when = module.fused
    wanted = when == "always" or (when == "in training" and module.training)
    return wanted and not any(point.fwd_hooks or point.bwd_hooks for point in hidden)


def padded_attention(
    q: Float[Tensor, "batch head pos d_head"],
    k: Float[Tensor, "batch head pos d_head"],
    v: Float[Tensor, "batch head pos d_head"],
    seen: Bool[Tensor, "pos pos"],
) -> Float[Tensor, "batch head pos d_head"]:
    """Softmax attention with keys padded to `LANES`; `seen`: which key (column) each row may see."""
    short = max(0, LANES - k.shape[2])
    k, v = (F.pad(x, (0, 0, 0, short)) for x in (k, v))
    mask = _added(tuple(map(tuple, seen.tolist())), short, q.dtype).to(q.device)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@functools.lru_cache(maxsize=16)
def _added(seen: tuple[tuple[bool, ...], ...], short: int, dtype: torch.dtype) -> Float[Tensor, "pos lane"]:
    """What is added to the scores: 0 where a key is seen, minus infinity elsewhere."""
    allowed = F.pad(torch.tensor(seen), (0, short))
    return torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, float("-inf"))
