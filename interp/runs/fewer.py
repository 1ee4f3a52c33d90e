"""Removing checkpoints of a finished run that nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterable

from interp.runs import thinning
from interp.runs.folder import RunFolder
from tasks.errors import UserError


def thin(folder: RunFolder, keep: Iterable[int], every: int = 0) -> int:
    """Remove checkpoints but the first, the last, those to keep and multiples of `every`; returns how many went.

    Raises UserError for a run that is not finished, or lacks a checkpoint already.
    """
    if every < 0:
        raise UserError(f"every {every}: multiples of a number from 1 on are kept (0: none)")
    if not folder.finished:
        raise UserError(f"{folder.path}: is not finished; train it to its end before checkpoints are removed")
    gone = folder.thinned
    if lost := [step for step in folder.schedule if step not in folder.steps and step not in gone]:
        raise UserError(f"{folder.checkpoint_path(lost[0])}: missing; see interp verify {folder.path}")
    removed = thinning.chosen(folder.steps, keep, every)
    with folder.lock():
        hashes = {step: folder.weights_hash(step) for step in removed}
        thinning.write(folder.path, folder.config_hash, {**gone, **hashes})
        for step in removed:
            folder.checkpoint_path(step).unlink()
    return len(removed)
