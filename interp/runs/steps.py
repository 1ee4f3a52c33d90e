"""Which checkpoints of a run folder a request means: "all", "last", one step, or several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import index
from pathlib import Path
from typing import Any, Literal

from interp.runs.stored import StoredRun
from tasks.errors import UserError

Steps = Literal["all", "last"] | int | float | str | Iterable[int | float]
_HELD: dict[Path, tuple[int, ...]] = {}


def resolve(folder: StoredRun, steps: Steps) -> tuple[int, ...]:
    """The checkpoint steps that `steps` means; "0,100" and [0, 100] alike.

    Raises UserError for a step without a checkpoint, naming the nearest.
    """
    there = readable(folder)
    if not there and folder.weightless:
        raise UserError(
            f"{folder.path}: is a copy without its weights and without metrics.jsonl, which holds the steps of its "
            "tables: bring metrics.jsonl from the original, or all of it"
        )
    if not there:
        raise no_checkpoint(folder)
    if isinstance(steps, str) and steps in ("all", "last"):
        _refuse_gaps(folder)
        return there if steps == "all" else there[-1:]
    asked = step_numbers(steps)
    for step in asked:
        if step not in there:
            near = min(there, key=lambda s: abs(s - step))
            raise UserError(f"{folder.path} has no checkpoint at step {step}; the nearest is {near}")
    return asked


def no_checkpoint(folder: StoredRun) -> UserError:
    """The error about a run without a checkpoint: one that has not come so far, or one that has lost them."""
    if folder.finished or folder.stated_weights:
        return UserError(
            f"{folder.path}: its checkpoints are gone: restore {folder.path}/checkpoints from a copy"
        )
    return UserError(f"{folder.path} has no checkpoint yet: interp resume {folder.path}")


@contextmanager
def held(folder: StoredRun) -> Iterator[None]:
    """Within it a run has the checkpoints that it has now, whatever its training adds: all tables of one page are of
    the same checkpoints."""
    if folder.path in _HELD:
        yield
        return
    _HELD[folder.path] = readable(folder)
    try:
        yield
    finally:
        del _HELD[folder.path]


def readable(folder: StoredRun) -> tuple[int, ...]:
    """The checkpoints that are here; of a copy without weights those that its metrics tell of."""
    if folder.path in _HELD:
        return _HELD[folder.path]
    return tuple(sorted(folder.stated_weights)) if folder.weightless else folder.steps


def _refuse_gaps(folder: StoredRun) -> None:
    """Raises UserError when a checkpoint is missing that the run must have written."""
    if folder.weightless:
        return
    reached = folder.last_step if folder.finished else folder.steps[-1]
    gone = folder.thinned
    missing = [s for s in folder.schedule if s <= reached and s not in folder.steps and s not in gone]
    if missing:
        raise UserError(
            f"{folder.path}: the checkpoint of step {missing[0]} is missing; see interp verify {folder.path}"
        )


def _number(part: Any) -> int:
    """A step as text, as a whole number, or as tables have it, a float without a fraction."""
    if isinstance(part, float) and part.is_integer():
        return int(part)
    return int(part) if isinstance(part, str) else index(part)  # type: ignore[arg-type]


def step_numbers(steps: object) -> tuple[int, ...]:
    """Step numbers as text, as one number or as several, increasing and each once. Raises UserError for anything else.

    >>> step_numbers("400,0"), step_numbers(3), step_numbers(range(0, 30, 10))
    ((0, 400), (3,), (0, 10, 20))
    """
    if isinstance(steps, str):
        parts: Any = steps.split(",")
    else:
        parts = steps if isinstance(steps, Iterable) else [steps]
    try:
        found = {_number(part) for part in parts}
    except (TypeError, ValueError):
        raise UserError(f"steps {steps!r}: give 'all', 'last', a step number, or several") from None
    if not found:
        raise UserError("no step was asked for: give 'all', 'last' or some steps")
    return tuple(sorted(found))
