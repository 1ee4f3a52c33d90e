"""Wires from the parts of a module to the classic hook points: what passes through a part passes through its point.

Each wire is a torch hook on a part. Where nobody listens at a point it does nothing; where somebody does, the point is
given a copy, and what comes back goes on in the module. Rows of attention are destinations. `hook_resid_mid` is the
stream before plus what attention adds, written back through attention's output; queries and keys are those before any
rotation; `mlp.hook_in` is what the MLP reads after its norm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from interp.config.model_adopted import AdoptedConfig
from interp.models.layouts.parts import BlockParts, Parts
from interp.models.layouts.weights import join_heads, split_heads

Fire = Callable[[str, Tensor], Tensor]


def names_of(config: AdoptedConfig, parts: Parts) -> list[str]:
    """Every hook point that the layout can wire."""
    names = ["hook_embed"] if parts.embed is not None else []
    names += ["hook_pos_embed"] if parts.positions is not None else []
    for layer, block in enumerate(parts.blocks):
        stem = f"blocks.{layer}."
        found = ["hook_resid_pre", "hook_attn_out", "hook_resid_post"]
        found += ["attn.hook_q", "attn.hook_k", "attn.hook_v"] if config.n_heads else []
        found += [f"attn.hook_{name}" for name in ("attn_scores", "pattern", "z")] if config.n_heads else []
        if block.has_mlp:
            found += ["hook_mlp_out"]
            found += ["mlp.hook_post"] if block.mlp_out is not None else []
            found += [] if config.parallel else ["hook_resid_mid"]
            found += ["mlp.hook_pre"] if block.mlp_in is not None else []
            found += ["mlp.hook_in"] if block.mlp is not None or block.mlp_in is not None else []
            found += ["mlp.hook_pre_linear"] if block.mlp_gate is not None else []
        for place, norm in (("ln1", block.norm1), ("ln2", block.norm2)):
            found += _norm_points(place, norm)
        names += [stem + name for name in found]
    return [*names, *_norm_points("ln_final", parts.norm_final)]


def _norm_points(place: str, norm: nn.Module | None) -> list[str]:
    if norm is None or isinstance(norm, nn.Identity):
        return []
    return [f"{place}.hook_scale", f"{place}.hook_normalized"]


def first(given: Any) -> Tensor:
    """The tensor that a part takes or gives: itself, or the first of several."""
    return given if isinstance(given, Tensor) else given[0]


def with_first(given: Any, value: Tensor) -> Any:
    """The same with another tensor in that place."""
    if isinstance(given, Tensor):
        return value
    return (
        type(given)((value, *given[1:]))
        if not hasattr(given, "_fields")
        else given._replace(**{given._fields[0]: value})
    )


class StreamEntry:
    """The stream among the arguments of a part: the first positional one, or the first tensor by name."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]):
        self.args, self.kwargs = args, kwargs
        named = [key for key, value in kwargs.items() if isinstance(value, Tensor)]
        self.key = None if args and isinstance(args[0], Tensor) else named[0] if named else None
        self.value: Tensor = args[0] if self.key is None else kwargs[self.key]

    def replaced(self, value: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with another stream."""
        if self.key is None:
            return (value, *self.args[1:]), self.kwargs
        return self.args, {**self.kwargs, self.key: value}


def wire_input(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """What a part reads passes through `change`."""

    def hook(own: nn.Module, args: Any, kwargs: Any) -> Any:
        entry = StreamEntry(args, kwargs)
        value = change(entry.value)
        return None if value is entry.value else entry.replaced(value)

    module.register_forward_pre_hook(hook, with_kwargs=True)


def wire_output(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """What a part gives passes through `change`."""

    def hook(own: nn.Module, args: Any, out: Any) -> Any:
        value = change(first(out))
        return None if value is first(out) else with_first(out, value)

    module.register_forward_hook(hook)


def wire_norm(module: nn.Module, place: str, fire: Fire, listens: Callable[[str], bool]) -> None:
    """A norm's scale (what divides) and its output."""

    def hook(own: nn.Module, args: Any, out: Tensor) -> Any:
        value = out
        if listens(f"{place}.hook_scale"):
            value = _rescaled(own, args[0], out, lambda s: fire(f"{place}.hook_scale", s))
        value = fire(f"{place}.hook_normalized", value)
        return None if value is out else value

    module.register_forward_hook(hook)


def unwire(module: nn.Module) -> None:
    """Take the wires off a module and its parts; hooks of others stay."""
    for part in module.modules():
        for hooks in (part._forward_hooks, part._forward_pre_hooks):
            for key, hook in list(hooks.items()):
                if getattr(hook, "__module__", "").startswith(__package__ or ""):
                    del hooks[key]


def centred(norm: nn.Module) -> bool:
    """Whether a norm takes the mean away (LayerNorm does, RMSNorm does not), tried on numbers."""
    weight = next(norm.parameters(), None)
    if weight is None or weight.ndim != 1 or weight.numel() < 2 or not bool(weight.any()):
        return "rms" not in type(norm).__name__.lower()
    x = torch.linspace(-1, 1, weight.numel(), dtype=weight.dtype, device=weight.device).square()[None]
    with torch.no_grad():
        here, moved = (type(norm).forward(norm, value) for value in (x, x + 1))  # without hooks
    return bool((here - moved).abs().max() < 1e-2 * here.abs().max())


def epsilon(norm: nn.Module) -> float:
    """What a norm adds to the variance, by the names that are in use."""
    found = getattr(norm, "eps", getattr(norm, "variance_epsilon", 1e-5))
    return 1e-5 if found is None else float(found)


def _rescaled(norm: nn.Module, x: Tensor, out: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    x = x - x.mean(-1, keepdim=True) if centred(norm) else x
    scale = (x.pow(2).mean(-1, keepdim=True) + epsilon(norm)).sqrt()
    own = scale.clone()
    edited = change(scale)
    if torch.equal(edited, own) and not edited.requires_grad:
        return out
    shift = getattr(norm, "bias", None)
    shift = 0.0 if shift is None else shift
    again = (out - shift) * (own / edited) + shift
    return (
        again if edited.requires_grad else torch.where(edited == own, out, again)
    )  # untouched rows stay as they are


def wire_heads(block: BlockParts, config: AdoptedConfig, stem: str, fire: Fire, listens: Any) -> None:
    """Queries, keys and values where maps give them."""
    names = [f"{stem}attn.hook_{letter}" for letter in "qkv"]
    counts = (config.n_heads, config.n_kv_heads, config.n_kv_heads)
    if len(block.qkv) == 3:
        for module, name, heads in zip(block.qkv, names, counts, strict=True):

            def change(x: Tensor, name: str = name, heads: int = heads) -> Tensor:
                if not listens(name):
                    return x
                return fire(name, x.unflatten(-1, (heads, config.d_head))).flatten(-2)

            wire_output(module, change)
    elif block.qkv:

        def change_all(x: Tensor) -> Tensor:
            if not any(map(listens, names)):
                return x
            q, k, v = (
                fire(name, part.unflatten(-1, (heads, config.d_head)))
                for name, part, heads in zip(names, split_heads(x, config), counts, strict=True)
            )
            return join_heads(q, k, v, config)

        wire_output(block.qkv[0], change_all)
