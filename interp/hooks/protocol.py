"""HookedModel: the interface that analyses require of a model.

`interp.models.hooked.StrictHooks` provides all of it but `config`. Whatever else an analysis needs (weights per head,
blocks, an unembedding) it accesses by TransformerLens' names, and rejects a model that lacks them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class HookedModel(Protocol):
    """A model with named hook points, called on a batch's inputs: outputs are [batch, pos, d_out].

    `config` holds its settings (`interp.config.model_base.ModelSettings`): `kind`, and `n_layers`, `n_heads`, `d_model`
    as far as it has them. `hook_dict` maps hook names, such as blocks.0.attn.hook_pattern, to their points.
    """

    config: Any
    training: bool

    @property
    def hook_dict(self) -> Mapping[str, Any]:
        """Hook points by name."""
        ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Outputs; `start_at_layer` and `stop_at_layer` where the model has layers."""
        ...

    def eval(self) -> Any:
        """The same model in eval mode."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """The weights."""
        ...

    def hooks(self, *args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
        """Temporary hooks for the length of a `with` block."""
        ...

    def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        """Outputs of a run with forward hooks."""
        ...

    def run_with_cache(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """Outputs, and the activations asked for by name."""
        ...

    def __getattr__(self, name: str) -> Any:
        """Whatever else a model offers: blocks, W_U, an unembedding."""
        ...
