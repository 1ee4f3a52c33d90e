"""Attention kernels answered from outside: queries, keys, scores and patterns of modules that never name them.

Within `Kernel` every `scaled_dot_product_attention` of an attention module is computed in the open (scores, mask,
softmax, product with the values), and a softmax by hand over [batch, head, row, column] or [batch * head, row, column]
is seen; gradients flow. Not seen: `flex_attention`, flash-attention's own operators, and whatever runs inside
`torch.compile`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from interp.models.fused import softmax

_SOFTMAX = (torch.softmax, F.softmax, Tensor.softmax)
_MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)


@runtime_checkable
class Watcher(Protocol):
    """Who is told of the kernels: `inside` says whether an attention module is running."""

    @property
    def inside(self) -> bool:
        """Whether a call belongs to a block's attention."""
        ...

    @property
    def batch(self) -> int:
        """How many prompts are being run."""
        ...

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, weigh: Callable[[Tensor], Tensor], scale: float
    ) -> tuple[Tensor, Tensor]:
        """What a kernel gives for queries, keys and values [batch head pos k], and its pattern.

        Keys and values may have fewer heads; `weigh` masks and normalises scores.
        """
        ...

    def weigh(self, scores: Tensor, softmax: Callable[[Tensor], Tensor]) -> Tensor:
        """The pattern of scores [batch head row column] that are normalised by hand."""
        ...


class Kernel(TorchFunctionMode):
    """Answers the kernels of attention for a watcher."""

    def __init__(self, watcher: Watcher):
        super().__init__()
        self.watcher = watcher
        self._kept: list[Tensor] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.watcher.inside:
            return func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self.answer(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(args, kwargs)
        if func in _SOFTMAX and _is_pattern(args, kwargs):
            return self._by_hand(func, args, kwargs)
        return func(*args, **kwargs)

    def _by_hand(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """A softmax written out by hand; heads that lie beside the prompts get an axis of their own for the watcher."""
        scores, *rest = args
        shape, batch = scores.shape, self.watcher.batch
        if scores.ndim == 3:
            if not batch or shape[0] % batch:
                return func(*args, **kwargs)
            scores = scores.unflatten(0, (batch, -1))
        pattern = self.watcher.weigh(
            scores, lambda x: func(x.reshape(shape), *rest, **kwargs).reshape(x.shape)
        )
        return pattern.reshape(shape)

    def answer(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float | int = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """`scaled_dot_product_attention` in the open. A boolean mask says what may be seen, another is added."""

        def weigh(scores: Float[Tensor, "*lead row column"]) -> Float[Tensor, "*lead row column"]:
            pattern = masked_softmax(scores, attn_mask, is_causal)
            return F.dropout(pattern, dropout_p) if dropout_p else pattern

        scale = float(query.shape[-1] ** -0.5 if scale is None else scale)
        if query.ndim != 4:
            return weigh(query @ key.transpose(-1, -2) * scale) @ value
        out, pattern = self.watcher.attend(query, key, value, weigh, scale)
        if self._kept is not None:
            self._kept.append(pattern)
        return out

    def _multi_head(self, args: Any, kwargs: Any) -> Any:
        """`multi_head_attention_forward` finds its kernel among the globals of its module, where ours is put."""
        given = _MULTI_HEAD.bind(*args, **kwargs)
        weights = given.arguments.get("need_weights", True)
        given.arguments["need_weights"] = False
        own, self._kept = F.scaled_dot_product_attention, []

        def answer(*inner: Any, **named: Any) -> Tensor:
            return self.answer(*inner, **named)

        F.scaled_dot_product_attention = answer  # type: ignore[assignment]
        try:
            out, _ = F.multi_head_attention_forward(*given.args, **given.kwargs)
        finally:
            F.scaled_dot_product_attention, kept, self._kept = own, self._kept, None  # type: ignore[assignment]
        if not weights or not kept:
            return out, None
        return out, kept[0].mean(1) if given.arguments.get("average_attn_weights", True) else kept[0]


def masked_softmax(
    scores: Float[Tensor, "*lead row column"], mask: Tensor | None, causal: bool
) -> Float[Tensor, "*lead row column"]:
    """Attention weights; a row that may see nothing gets zeros, as torch's kernel gives."""
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    pattern = softmax(scores)
    if mask is None:
        return pattern
    return pattern.masked_fill((scores == -torch.inf).all(-1, keepdim=True), 0.0)


def _is_pattern(args: Any, kwargs: Any) -> bool:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    scores = args[0] if args else None
    return isinstance(scores, Tensor) and scores.ndim in (3, 4) and dim in (-1, scores.ndim - 1)
