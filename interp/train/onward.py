"""Training on from a checkpoint, as a new run that names its parent.

The child's step 0 is the parent's checkpoint. Its prompts go on where the parent's were, so that nothing is trained on
twice; with the parent's last checkpoint and its optimiser, the optimiser's state comes along as well, so that a run
trained on under the same settings, with a rate that does not depend on the step, is the run that was longer from the
start, bit for bit on CPU: the child keeps the parent's version of training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from interp._version import BITS
from interp.config.parent import Parent
from interp.config.run import RunConfig, parse_config
from interp.models.build import build_model
from interp.models.weights import check_fit
from interp.runs.folder import RunFolder
from interp.runs.handing import Sink
from interp.runs.sinks import sinks_of
from interp.train.loop import TrainingProgress, train
from tasks.errors import UserError

_CARRIED = ("optimiser",)


def train_on(
    parent: RunFolder,
    out: str | Path,
    *,
    step: int,
    steps: int,
    changes: Mapping[str, Any] | None = None,
    device: str = "cpu",
    progress: TrainingProgress | None = None,
    sinks: Iterable[Sink | str] = (),
) -> RunFolder:
    """A run of `steps` further steps from the parent's checkpoint of `step`, under its settings and `changes`.

    `changes` are dotted settings, `sinks` those of `train`. Raises UserError for settings that do not take the
    parent's weights, and as `train`.
    """
    handed = sinks_of(sinks)
    config = child_of(parent, step, steps, changes or {})
    tensors = _begin(parent, config, step)
    folder = RunFolder.create(out, config, device, BITS if parent.recorded else parent.head.bits)
    if not folder.resume_path.exists() and not folder.steps:
        folder.save_resume(tensors, 0, 0, folder.config_hash)
    return train(config, out, device=device, progress=progress, sinks=handed)


def child_of(parent: RunFolder, step: int, steps: int, changes: Mapping[str, Any]) -> RunConfig:
    """The settings of the child."""
    own = parent.config
    seen = own.parent.batches if own.parent else 0
    settings = own.settings
    settings["parent"] = Parent(
        run=parent.identity, step=step, weights=parent.weights_hash(step), batches=seen + step
    ).model_dump()
    settings["train"]["steps"] = steps
    settings["train"]["schedule"]["explicit"] = [
        kept for kept in settings["train"]["schedule"]["explicit"] if kept <= steps
    ]
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = settings
        for name in sections:
            place = place.get(name, {})
            if not isinstance(place, dict):
                raise UserError(f"setting {key!r}: {name} is a value, not a section")
        place[last] = value
    return parse_config(settings)


def _begin(parent: RunFolder, config: RunConfig, step: int) -> dict[str, Any]:
    """What the child begins with: the parent's weights, and the optimiser's state where it is the same and there."""
    where = str(parent.checkpoint_path(step))
    weights = parent.weights(step)
    check_fit(build_model(config.model, config.task.interface, config.init_seed), weights, where)
    tensors: dict[str, Any] = {f"weights/{name}": value for name, value in weights.items()}
    saved = parent.resume_state()
    same = config.train.optimiser == parent.config.train.optimiser
    if saved and saved[1]["step"] == step and same:
        tensors |= {name: value for name, value in saved[0].items() if name.startswith("optimiser/")}
    return tensors
