"""Running with hooks and caches, made strict: a name that does not exist, or a hook that never fired, is an
error.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from interp.hooks.cache import AffineCache
from interp.hooks.lens import HookedRootModule
from interp.models.given import check_call, check_tokens, hook_pairs
from tasks.errors import UserError

_HOOKING = ("fwd_hooks", "bwd_hooks", "reset_hooks_end", "clear_contexts")
Name = str | Callable[[str], bool]
Hook = tuple[Name, Callable[..., Tensor | None]]


def layer_range(
    start_at_layer: int | None, stop_at_layer: int | None, n_layers: int
) -> tuple[int | None, int | None]:
    """Both layers counted from 0 (negative ones from the end); None stays. Raises UserError outside the
    model.
    """
    given = {"start_at_layer": start_at_layer, "stop_at_layer": stop_at_layer}
    for name, layer in given.items():
        if layer is not None and not -n_layers <= layer <= n_layers:
            raise UserError(f"{name}={layer} is outside this model's {n_layers} layers")
    start, stop = (
        None if layer is None else layer % n_layers if layer < 0 else layer for layer in given.values()
    )
    if stop is not None and stop < (start or 0):
        raise UserError(f"stop_at_layer={stop_at_layer} comes before start_at_layer={start_at_layer}")
    return start, stop


def residual(inputs: Tensor, d_model: int) -> Tensor:
    """Inputs of a run that starts at a layer. Raises UserError unless they are [batch, pos, d_model]."""
    if inputs.ndim != 3 or inputs.shape[-1] != d_model:
        raise UserError(
            f"start_at_layer needs a residual stream [batch, pos, {d_model}], not {list(inputs.shape)}"
        )
    return inputs


class StrictHooks(HookedRootModule):
    """TransformerLens' `hooks`, `run_with_hooks` and `run_with_cache`, strict: they never do nothing silently."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The forward pass. Raises UserError for anything but a tensor, saying where such a thing is taken."""
        if len(args) != 1 or kwargs or not isinstance(args[0], Tensor):
            check_call(args, kwargs)
        try:
            return super().__call__(*args, **kwargs)
        except IndexError:
            check_tokens(args, kwargs, getattr(self, "interface", None))
            raise

    def run_with_hooks(self, *model_args: Any, **kwargs: Any) -> Any:
        """Outputs with hooks; TransformerLens calls `forward` itself, so what goes in is looked at here as well."""
        if len(model_args) != 1 or not isinstance(model_args[0], Tensor):
            check_call(model_args, {name: value for name, value in kwargs.items() if name not in _HOOKING})
        return super().run_with_hooks(*model_args, **kwargs)

    def hook_names(self, name: Name) -> list[str]:
        """The hook points that a name or a predicate over names selects.

        Raises UserError if there is none, naming the nearest for a name.
        """
        if callable(name):
            found = [known for known in self.hook_dict if name(known)]
            if not found:
                raise UserError(f"no hook name satisfies the filter {getattr(name, '__name__', name)!r}")
            return found
        if not isinstance(name, str):
            raise UserError(f"hooks go by name, or by a function of names, not by {name!r}")
        if name not in self.hook_dict:
            near = difflib.get_close_matches(name, self.hook_dict, n=1, cutoff=0.0)
            raise UserError(
                f"unknown hook {name!r}: did you mean {near[0]!r}?" if near else "no hooks in model"
            )
        return [name]

    def _refuse_silent(self, name: Name, fired: set[str]) -> None:
        names = self.hook_names(name)
        if not fired.intersection(names):
            near = difflib.get_close_matches(names[0], sorted(fired), n=1, cutoff=0.0)
            advice = f"; the nearest that did is {near[0]!r}" if near else ""
            raise UserError(f"hook {names[0]!r} did not fire in this run{advice} ({self.silence(names[0])})")

    def silence(self, name: str) -> str:
        """Why a hook may not have fired."""
        return "outside start_at_layer / stop_at_layer?"

    @contextmanager
    def hooks(
        self,
        fwd_hooks: Sequence[Hook] = (),
        bwd_hooks: Sequence[Hook] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> Iterator[Any]:
        """Temporary hooks for the length of a `with` block.

        Raises UserError at once for an unknown name, and at the end if a forward hook never fired.
        """
        fwd_hooks, bwd_hooks = hook_pairs(fwd_hooks, "fwd_hooks"), hook_pairs(bwd_hooks, "bwd_hooks")
        for name, _ in (*fwd_hooks, *bwd_hooks):
            self.hook_names(name)
        fired: set[str] = set()
        watched = [(name, _recording(hook, fired)) for name, hook in fwd_hooks]
        with super().hooks(watched, list(bwd_hooks), reset_hooks_end, clear_contexts):
            yield self
        for name, _ in fwd_hooks:
            self._refuse_silent(name, fired)

    def run_with_cache(  # type: ignore[override]
        self,
        *model_args: Any,
        names_filter: Name | Sequence[str] | None = None,
        return_cache_object: bool = True,
        remove_batch_dim: bool = False,
        device: torch.device | None = None,
        incl_bwd: bool = False,
        **model_kwargs: Any,
    ) -> tuple[Tensor, Any]:
        """Outputs and the activations that `names_filter` selects (all by default), in TransformerLens' own
        cache.

        Raises UserError for a name that is unknown or whose hook did not fire.
        """
        wanted = [] if names_filter is None else names_filter
        several = isinstance(wanted, Iterable) and not isinstance(wanted, str)
        wanted = list(wanted) if several else [wanted]
        chosen = {found for name in wanted for found in self.hook_names(name)}
        keep = (lambda name: name in chosen) if wanted or names_filter is not None else None
        store, fwd, bwd = self.get_caching_hooks(
            keep, incl_bwd, device=device, remove_batch_dim=remove_batch_dim
        )
        with super().hooks(fwd, bwd):
            outputs = self(*model_args, **model_kwargs)
            if incl_bwd:
                outputs.backward()
        for name in wanted:
            self._refuse_silent(name, set(store))
        if not return_cache_object:
            return outputs, store
        return outputs, AffineCache(store, self, has_batch_dim=not remove_batch_dim)


def _recording(original: Callable[..., Tensor | None], fired: set[str]) -> Callable[..., Tensor | None]:
    def run(activation: Tensor, hook: Any) -> Tensor | None:
        fired.add(hook.name)
        return original(activation, hook=hook)

    return run
