"""The clean and corrupt prompts of a causal analysis: a kind of pair that the task knows, or a user's own.

One's own are two batches, or a function of a batch of clean prompts that gives the corrupt ones (their inputs alone, a
batch, or a clean and a corrupt batch). Circuits need three sets of prompts, to order the edges, to decide how many are
taken, and to report: a function is called on prompts of its own each time, two batches are cut in three.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from interp.analysis.own import answer_of, described, expected, name_of, pair_from
from interp.causal.behaviour import resampled_pair
from probes.stats import FEWEST_PROMPTS
from tasks.base import Batch, Interface, Pair, Task
from tasks.errors import UserError

SHAPES = ("the corrupt inputs", "a corrupt Batch", "a clean and a corrupt Batch")


def pair_of(task: Task, asked: Any, seed: int, stream: str, prompts: int) -> Pair:
    """Clean and corrupt prompts. Raises UserError for what is no pair, or holds prompts that the model cannot read."""
    if isinstance(asked, str):
        return task.pair(asked, seed, stream, 0, prompts)
    pair = asked if isinstance(asked, Pair) else _made(asked, task.sample(seed, stream, 0, prompts))
    for batch in (pair.clean, pair.corrupt):
        check_inputs(batch.inputs, task.interface, f"pair {name_of(asked)}")
    return pair


def _made(asked: Any, clean: Batch) -> Pair:
    found, name = answer_of("pair", asked, clean), str(name_of(asked))
    if isinstance(found, Pair):
        return found
    if isinstance(found, Tensor):
        found = dataclasses.replace(clean, inputs=found)
    if isinstance(found, Batch):
        found = (clean, found)
    if isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(b, Batch) for b in found):
        return pair_from(*found, kind=name)
    raise expected("pair", asked, SHAPES, found)


def check_inputs(inputs: Tensor, face: Interface, what: str) -> None:
    """Raises UserError for inputs that do not fit an interface."""
    tokens = face.inputs != "continuous"
    wide = {"token": (), "pair": (2,), "continuous": (face.d_in,)}[face.inputs]
    fits = inputs.ndim == 2 + len(wide) and tuple(inputs.shape[2:]) == wide
    if not fits or inputs.is_floating_point() == tokens or inputs.shape[1] > face.n_ctx:
        kind = "tokens" if tokens else "numbers"
        raise UserError(
            f"{what}: expected {kind} [prompts, up to {face.n_ctx}{''.join(f', {w}' for w in wide)}], got "
            f"{described(inputs)}"
        )
    if face.inputs == "token" and not 0 <= int(inputs.min()) <= int(inputs.max()) < face.d_vocab:
        raise UserError(
            f"{what}: expected tokens from 0 to {face.d_vocab - 1}, got {int(inputs.min())} to {int(inputs.max())}"
        )


def search_pairs(task: Task, asked: Any, seed: int, prompts: int) -> tuple[Pair, Pair] | None:
    """Pairs that order the edges of a circuit, and pairs that decide how many are taken; None for resampled prompts."""
    if asked is None:
        return None
    if isinstance(asked, Pair):
        third = _third(asked)
        rows = torch.arange(2 * third)
        return part(asked, rows[:third]), part(asked, rows[third:])
    streams = ("circuit", "circuit, validation")
    return tuple(pair_of(task, asked, seed, stream, prompts) for stream in streams)  # type: ignore[return-value]


def report_pair(task: Task, asked: Any, seed: int, prompts: int) -> Pair:
    """The pair that a circuit is reported on, other prompts than those of the search."""
    if asked is None:
        return resampled_pair(task, seed, prompts)
    if not isinstance(asked, Pair):
        return pair_of(task, asked, seed, "circuit", prompts)
    return part(asked, torch.arange(2 * _third(asked), len(asked.clean)))


def _third(pair: Pair) -> int:
    """A third of the prompts. Raises UserError where that is too few for intervals."""
    third = len(pair.clean) // 3
    if third < FEWEST_PROMPTS:
        raise UserError(
            f"pair {pair.kind!r} has {len(pair.clean)} prompts: a circuit is ordered, chosen and reported on a third "
            f"each, at least {FEWEST_PROMPTS}, so give {3 * FEWEST_PROMPTS} or a function that makes them"
        )
    return third


def part(pair: Pair, rows: Tensor) -> Pair:
    """Some prompts of a pair."""
    return Pair(pair.kind, pair.clean.select(rows), pair.corrupt.select(rows), pair.changed[rows])
