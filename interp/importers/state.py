"""Reading external weight files without running what they contain.

A file is opened by torch's restricted unpickler (`interp.io.weight_files`), which builds tensors and plain containers
and refuses everything else. What comes out is checked to be a table of finite real tensors.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from interp.io.weight_files import load_plain
from interp.models.pretrained import shared_prefixes
from tasks.errors import UserError

WRAPPERS = ("model_state_dict", "state_dict", "model")  # what a training script keeps weights under
STEPS = ("train_step", "global_step", "step")  # and where it says how many updates there were
_EXACT_IN_FLOAT32 = (torch.float32, torch.float16, torch.bfloat16)


class State(NamedTuple):
    """The weights of one file by their own names, and the training step that the file states, if it does."""

    weights: dict[str, Tensor]
    step: int | None


def read_state(path: Path) -> State:
    """A state dict, or the one under a wrapper (`model_state_dict`, `state_dict`, `model`), and its `train_step`.

    Raises UserError for a file that is missing, damaged, would run code, or holds no table of tensors.
    """
    content = load_plain(path)
    step = None
    while isinstance(content, Mapping) and (wrapper := _wrapper(content)):
        stated = next((name for name in STEPS if name in content), None)
        step = content[stated] if stated else step
        if step is not None and (type(step) is not int or step < 0):
            raise UserError(f"{path}: its {stated} is no step number; save it as a whole number")
        content = content[wrapper]
    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        raise UserError(
            f"{path}: holds no state dict (a table of names and tensors), nor one under {', '.join(WRAPPERS)}"
        )
    for name, value in content.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            raise UserError(f"{path}: key {name!r} is no dense tensor; save model.state_dict() alone")
    return State(dict(content), step)


def _wrapper(content: Mapping[Any, Any]) -> str | None:
    """The key that a state dict lies under; a tensor of such a name is a weight."""
    return next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)


def without_prefix(state: State, wanted: Collection[str], path: Path) -> State:
    """The state without a prefix that all keys share, where only so the wanted keys are there; told of in a warning."""
    if not state.weights.keys() >= set(wanted):
        for prefix in shared_prefixes(list(state.weights)):
            bare = {name.removeprefix(prefix): value for name, value in state.weights.items()}
            if bare.keys() >= set(wanted):
                warnings.warn(f"{path}: all keys begin with {prefix!r}, which was taken off", stacklevel=2)
                return State(bare, state.step)
    return state


def as_float32(where: str, name: str, value: Tensor) -> Tensor:
    """The same numbers in float32. Raises UserError where they would be rounded or are not finite."""
    if value.dtype not in _EXACT_IN_FLOAT32:
        raise UserError(
            f"{where}: key {name!r} is {value.dtype}, which float32 cannot hold; convert it first"
        )
    if not value.isfinite().all():
        raise UserError(f"{where}: key {name!r} has values that are not finite (NaN or infinity)")
    return value.detach().float()
