"""What commands that train say on the way and in the end."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from interp.cli import show
from interp.config.run import RunConfig
from interp.runs.folder import RunFolder
from interp.train.loop import TrainingProgress
from tasks.errors import UserError

ENORMOUS = 1e6


def is_finished(folder: Path) -> bool:
    """Whether there is nothing left to train; problems of the folder are reported by the training."""
    try:
        return RunFolder.open(folder).finished
    except UserError:
        return False


def tell(advance: Any, config: RunConfig) -> TrainingProgress:
    """A training's progress as that of a bar."""

    def progress(step: int, loss: float) -> None:
        advance("training", step, config.train.steps)

    return progress


def trained(run: RunFolder, ended: bool) -> int:
    """Say what there is now. Raises UserError for a finished run whose checkpoints are not all there."""
    gone = run.thinned
    missing = [s for s in run.schedule if s <= run.last_step and s not in run.steps and s not in gone]
    if run.finished and missing:
        raise UserError(
            f"{run.path}: is finished, but the checkpoint of step {missing[0]} is missing ({len(missing)} of "
            f"{len(run.schedule)}); restore the files, or train the run again in another folder"
        )
    done = "was finished already, nothing trained" if ended else "trained"
    show.note(
        f"{run.path}: {done}, {_checkpoints(run.steps)}\nnext: interp report {shlex.quote(str(run.path))}"
    )
    largest = max(float(weight.abs().max()) for weight in run.weights(run.steps[-1]).values())
    if largest > ENORMOUS:  # layer norm hides this from the loss, which then stands still instead of rising
        print(f"interp: {run.path}: weights have grown to {largest:.0e}; lower train.lr", file=sys.stderr)
    return 0


def _checkpoints(steps: tuple[int, ...]) -> str:
    """How many checkpoints there are, and from which step to which."""
    if len(steps) == 1:
        return f"1 checkpoint, at step {steps[0]}"
    return f"{len(steps)} checkpoints, steps {steps[0]} to {steps[-1]}"


def imported(run: RunFolder) -> int:
    """Say what was imported."""
    following = "check" if run.config.model.kind == "adopted" else "scores"  # only adopted modules are proven
    where = shlex.quote(str(run.path))
    show.note(f"{run.path}: imported, {_checkpoints(run.steps)}\nnext: interp {following} {where}")
    return 0
