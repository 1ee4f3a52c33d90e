"""Questions of a user's own as settings of an analysis: metric, pair, target, relation and score as callables.

Each is a function of a batch (metric and score of the outputs and the batch). Settings hold the object itself; in keys
and tables stands its name, and its code goes into the stamp (`interp.io.code`), so that an edited function is measured
again. Text is never imported here: only a command line that names `module:function` is (`interp.cli.own`). What a
function gives back is checked where it is used: one line says what was expected and what came.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, PlainSerializer
from torch import Tensor

from interp.io.files import sha256
from interp.io.values import plain_value
from tasks.base import Batch, Pair
from tasks.errors import UserError


def name_of(value: Any) -> Any:
    """How a setting is written in keys and tables: "module:function" of a callable, of prompts their hash, else itself.

    >>> name_of("loss"), name_of(plain_value)
    ('loss', 'interp.io.values:plain_value')
    """
    if isinstance(value, Pair):
        return f"{len(value.clean)} pairs {sha256(plain_value(value))[:12]}"
    if isinstance(value, functools.partial):
        return name_of(value.func)
    if value is None or not callable(value):
        return value
    owner = value if hasattr(value, "__qualname__") else type(value)
    return f"{owner.__module__}:{owner.__qualname__}"


def short_name(value: Any) -> str:
    """The last part of the name: what a picture or a column is headed with."""
    return str(name_of(value)).rpartition(":")[2].rpartition(".")[2]


def _callable(value: Any) -> Any:
    if value is not None and not callable(value):
        raise ValueError(f"must be a function of a batch (at a terminal: module:function), got {value!r}")
    return value


def _pair(value: Any) -> Any:
    """A kind of pair by its name, a callable, a `Pair`, or a clean and a corrupt batch."""
    if value is None or isinstance(value, str | Pair) or callable(value):
        return value
    if isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(b, Batch) for b in value):
        try:
            return pair_from(*value)
        except UserError as wrong:
            raise ValueError(str(wrong)) from None
    raise ValueError(
        f"must be a pair kind, a clean and a corrupt Batch, or a function, got {described(value)}"
    )


Own = Annotated[Any, BeforeValidator(_callable), PlainSerializer(name_of)]
"""A setting that is a callable, or None."""
Named = Annotated[Any, PlainSerializer(name_of)]
"""A setting that is a name that the package knows, or a callable."""
OwnPair = Annotated[Any, BeforeValidator(_pair), PlainSerializer(name_of)]
"""A setting that is a pair kind of the task, clean and corrupt batches, or a callable."""


def pair_from(clean: Batch, corrupt: Batch, kind: str = "own") -> Pair:
    """Clean and corrupt prompts of one's own. Raises UserError for prompts of different shapes."""
    if clean.inputs.shape != corrupt.inputs.shape:
        raise UserError(
            f"pair {kind!r}: expected corrupt prompts {list(clean.inputs.shape)} as the clean ones, got "
            f"{list(corrupt.inputs.shape)}"
        )
    changed = (clean.inputs != corrupt.inputs).reshape(*clean.inputs.shape[:2], -1).any(-1)
    return Pair(kind, clean, corrupt, changed)


def answer_of(what: str, question: Callable[..., Any], *given: Any) -> Any:
    """What a callable gives back. Raises UserError, naming it and what it was given, where it fails."""
    try:
        return question(*given)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{what} {name_of(question)} fails on {', '.join(map(described, given))}: "
            f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
        ) from error


def tensor_of(what: str, question: Callable[..., Any], shapes: Sequence[str], *given: Any) -> Tensor:
    """The tensor that a callable gives back. Raises UserError where it gives something else; `shapes` are those that
    were expected, as text."""
    found = answer_of(what, question, *given)
    if isinstance(found, Tensor):
        return found
    raise expected(what, question, shapes, found)


def expected(what: str, question: Any, shapes: Sequence[str], found: Any) -> UserError:
    """The line on a callable that gave something else than was expected."""
    return UserError(f"{what} {name_of(question)}: expected {' or '.join(shapes)}, got {described(found)}")


def described(value: Any) -> str:
    """A value in a few words: a tensor by its shape (whole numbers with their range), a batch by that of its inputs.

    >>> described(torch.zeros(2, 3)), described(1.5)
    ('[2, 3] (float32)', '1.5')
    """
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        whole = not value.is_floating_point() and not value.is_complex() and value.dtype != torch.bool
        span = f", {int(value.min())} to {int(value.max())}" if whole and value.numel() else ""
        return f"{list(value.shape)} ({kind}{span})"
    if isinstance(value, Batch):
        return f"{type(value).__name__} of inputs {list(value.inputs.shape)}"
    if isinstance(value, tuple | list):
        return f"{len(value)} of ({', '.join(map(described, value[:4]))})"
    return repr(value) if isinstance(value, int | float | str | None) else type(value).__name__
