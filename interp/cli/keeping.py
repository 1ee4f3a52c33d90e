"""Commands that go on from a run or make less of it: extend, thin, relink."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from interp.cli.options import Count, Sinks

MOST_STEPS = 40  # named one by one
Settings = Annotated[list[str] | None, Parameter(name="--set", consume_multiple=True)]


def extend(
    run: Path,
    /,
    *,
    steps: Count,
    out: Path,
    start: str = "last",
    settings: Settings = None,
    device: str = "cpu",
    sink: Sinks = None,
) -> int:
    """Continue training from a checkpoint, as a new run that names its parent.

    Parameters
    ----------
    run
        Folder of the parent.
    steps
        Number of further steps.
    out
        Folder of the new run.
    start
        The parent's checkpoint to start from: 'last' or a step.
    settings
        Settings to change, as section.key=value in TOML's notation.
    device
        Where to train; not part of the settings' hash.
    """
    from interp.cli import show
    from interp.config.run import parse_override
    from interp.runs.folder import RunFolder
    from interp.runs.steps import resolve
    from interp.train.onward import train_on
    from tasks.errors import UserError

    parent = RunFolder.open(run)
    step, *more = resolve(parent, start)
    if more:
        raise UserError(f"--start {start!r}: give 'last' or one step number")
    changes = dict(map(parse_override, settings or []))
    with show.progress(out.name) as advance:
        child = train_on(
            parent, out, step=step, steps=steps, changes=changes, device=device,
            progress=lambda at, loss: advance("training", at, steps), sinks=sink or (),
        )  # fmt: skip
    show.note(f"{child.path}: trained on from step {step} of {run}, {len(child.steps)} checkpoints")
    return 0


def thin(run: Path, /, *, keep: str = "", every: int = 0) -> int:
    """Delete checkpoints of a run but those to keep, the first and the last; their cached results are not shown again.

    Parameters
    ----------
    run
        Folder of the run.
    keep
        Steps to keep, with commas between.
    every
        Keep the multiples of this as well.
    """
    from interp.analysis.conclusion import few
    from interp.cli import show
    from interp.runs import fewer
    from interp.runs.folder import RunFolder
    from interp.runs.steps import resolve
    from tasks.errors import UserError

    if not keep and not every:
        raise UserError("thin deletes checkpoints: name those that stay, --keep 100,200 or --every 100")
    folder = RunFolder.open(run)
    kept = resolve(folder, keep) if keep else ()
    before = folder.steps
    removed = fewer.thin(folder, kept, every)
    there = frozenset(folder.steps)
    gone = [f"{step}" for step in before if step not in there]
    show.note(f"{run}: {removed} checkpoints removed, {len(there)} left")
    if gone:
        show.note(f"removed: steps {few(gone, MOST_STEPS)}; cached results of these can no longer be shown")
    return 0


def relink(run: Path, /, *, to: str) -> int:
    """Update where the weights of an imported or adopted model are; they must be the same files.

    Parameters
    ----------
    run
        Folder of the run.
    to
        The folder that holds the weights, or the model's name on the hub.
    """
    from interp.cli import show
    from interp.io.hf_reference import REFERENCE, Reference
    from interp.io.weight_files import WeightFiles
    from interp.runs import links
    from interp.runs.folder import RunFolder
    from tasks.errors import UserError

    folder = RunFolder.open(run)
    stored = [folder.stored(step) for step in folder.steps]
    stored = [weights for weights in stored if REFERENCE in weights]
    if not stored:
        raise UserError(
            f"{run}: holds its own weights; only runs of imported and adopted models refer to files"
        )
    files = [found for weights in stored if (found := WeightFiles.behind(weights)) is not None]
    if files:
        links.relink_files(folder.path, files, to)
    else:
        links.relink(folder.path, [Reference.unpack(weights, str(run)) for weights in stored], to)
    show.note(f"{run}: refers to {to} now")
    return 0
