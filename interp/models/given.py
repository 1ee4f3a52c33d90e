"""What a model is called with: tensors of prompts; anything else is refused in one line that says where it is taken.

Owns the messages for arrays, lists, text, batches, masks and functions. Shapes and kinds of numbers are the model's
own to check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tasks.errors import UserError

PARAMETERS = ("inputs", "start_at_layer", "stop_at_layer")
TAKEN = {
    "attention_mask": "prompts of a batch have one length and the model's mask is its setting (model.mask); positions "
    "that count are the `mask` of tasks.from_tensors",
    "labels": "outputs and targets meet in run.task.loss(outputs, batch)",
    "targets": "outputs and targets meet in run.task.loss(outputs, batch)",
    "input_ids": "give the token numbers as the first argument, model(inputs)",
    "fwd_hooks": "hooks are taken by model.run_with_hooks(inputs, fwd_hooks=[(name, function)])",
    "names_filter": "a cache is what model.run_with_cache(inputs, names_filter=...) returns",
    "return_type": "outputs are returned, losses are run.task.loss(outputs, batch)",
}


def check_call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises UserError for a call of a model with what it does not take."""
    for name in kwargs:
        if name not in PARAMETERS:
            where = TAKEN.get(name, f"a model takes {', '.join(PARAMETERS)}")
            raise UserError(f"a model takes no {name!r}: {where}")
    if not args and "inputs" not in kwargs:
        raise UserError("a model is called with inputs, a tensor: model(batch.inputs)")
    given = args[0] if args else kwargs["inputs"]
    if not isinstance(given, Tensor):
        raise UserError(f"a model reads a tensor, not {_what(given)}")
    if len(args) > 1:
        odd = next((each for each in args[1:] if each is not None and not isinstance(each, int)), None)
        if odd is not None or len(args) > len(PARAMETERS):
            raise UserError(
                f"a model takes inputs and the layers to start and stop at, not {_what(odd)} besides"
            )


def _what(given: Any) -> str:
    """What was given, and where such a thing is taken."""
    name = type(given).__name__
    if hasattr(given, "inputs") and isinstance(given.inputs, Tensor):
        return f"a {name}: give its .inputs"
    if isinstance(given, str) or (isinstance(given, list | tuple) and given and isinstance(given[0], str)):
        return "text: tasks.from_tensors(texts, answers, tokenizer=...) makes a task of it, whose batches have .inputs"
    if isinstance(given, Mapping):
        return f"a {name}: give its tensor of token numbers, such as found['input_ids']"
    if isinstance(given, list | tuple):
        return f"a {name}: torch.tensor(...) makes one of numbers"
    if hasattr(given, "__array__"):
        return f"a {name}: torch.from_numpy(...) makes one of an array, torch.tensor(...) of anything else"
    if callable(given):
        return (
            f"a function: hooks are taken by model.run_with_hooks(inputs, fwd_hooks=[(name, {_name(given)})])"
        )
    return f"{given!r}"


def _name(function: Any) -> str:
    return getattr(function, "__name__", "function")


def check_tokens(args: Sequence[Any], kwargs: Mapping[str, Any], interface: Any) -> None:
    """Raises UserError for token numbers that the vocabulary does not have."""
    given = args[0] if args else kwargs["inputs"]
    size = getattr(interface, "d_vocab", 0)
    if given.dtype in (torch.int64, torch.int32) and given.numel() and size:
        low, high = int(given.min()), int(given.max())
        if low < 0 or high > size:
            raise UserError(
                f"token numbers go from 0 to {size - 1} here, and the inputs hold {low} to {high}"
            )


def hook_pairs(hooks: Any, name: str) -> list[tuple[Any, Callable[..., Any]]]:
    """Hooks as given. Raises UserError for anything but pairs of a name (or a filter of names) and a function."""
    if isinstance(hooks, Mapping):
        hooks = hooks.items()
    pairs = list(hooks) if isinstance(hooks, Iterable) and not isinstance(hooks, str) else [hooks]
    for pair in pairs:
        whole = isinstance(pair, tuple | list) and len(pair) == 2
        if not whole or not callable(pair[1]) or not (isinstance(pair[0], str) or callable(pair[0])):
            raise UserError(f"{name} takes pairs (name of a hook, function(activation, hook)), not {pair!r}")
    return [(pair[0], pair[1]) for pair in pairs]
