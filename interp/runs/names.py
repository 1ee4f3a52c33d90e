"""What runs are called when several are looked at together, and whether some of them are copies of one.

A run is what its settings, its parent and its first weights are (`Checkpoints.identity`), wherever it lies. Its name is
for people: the last parts of its resolved path, as many as tell the runs at hand apart. Names are put into rows when
these are read and kept in no table.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from interp.runs.checkpoints import Checkpoints
from tasks.errors import UserError

R = TypeVar("R", bound=Checkpoints)


def shortest(paths: Sequence[Path]) -> list[str]:
    """For each path the shortest end of it that no other path has; the whole path for one that is there twice.

    >>> shortest([Path("/x/A/seed0"), Path("/x/B/seed0"), Path("/x/B/seed1")])
    ['A/seed0', 'B/seed0', 'seed1']
    """
    resolved = [path.resolve() for path in paths]
    return [_end(path, [other for other in resolved if other != path]) for path in resolved]


def _end(path: Path, others: list[Path]) -> str:
    for count in range(1, len(path.parts)):
        if all(path.parts[-count:] != other.parts[-count:] for other in others):
            return "/".join(path.parts[-count:])
    return str(path)


def distinguished(runs: Sequence[R]) -> list[R]:
    """The runs, each under a name that none of the others has."""
    for run, name in zip(runs, shortest([run.path for run in runs]), strict=True):
        run.name = name
    return list(runs)


def copies(runs: Sequence[Checkpoints]) -> list[tuple[Checkpoints, ...]]:
    """Groups of runs that are one: trained under the same settings from the same first weights, or named twice."""
    found: dict[str, list[Checkpoints]] = {}
    for run in runs:
        found.setdefault(run.identity, []).append(run)
    return [tuple(group) for group in found.values() if len(group) > 1]


def description(group: Sequence[Checkpoints]) -> str:
    """One line on copies of a run, and on whether they went on alike."""
    names = " and ".join(run.name for run in group)
    steps = sorted(set.intersection(*(set(run.steps) for run in group)))
    ends = {run.weights_hash(steps[-1]) for run in group} if steps else set()
    apart = (
        ""
        if len(ends) < 2
        else f"; their weights differ at step {steps[-1]}, as on another device or with other code of a task"
    )
    return f"{names} are copies of one run (same settings, same first weights){apart}"


def distinct(runs: Sequence[R]) -> list[R]:
    """The runs, each under its own name, of copies the first alone: an interval over seeds counts each run once.

    A warning says which are copies. Raises UserError where fewer than two are left.
    """
    named = distinguished(runs)
    kept = list({run.identity: run for run in reversed(named)}.values())[::-1]
    if len(kept) < 2:
        raise UserError(f"{description(named)}: intervals over runs need two that differ, such as two seeds")
    for group in copies(named):
        warnings.warn(f"{description(group)}; counted once", stacklevel=2)
    return sorted(kept, key=named.index)
