"""Writing imported weights as a run: a recording whose settings are a `RunConfig`, so that every analysis takes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from interp.config.run import RunConfig
from interp.importers.mapping import TensorShape
from interp.io.tensors import tensor_hash
from interp.models import build_model
from interp.runs.folder import RunFolder
from interp.runs.header import Recording
from interp.runs.recorder import Recorder
from tasks.errors import UserError

Weights = Callable[[int], dict[str, Tensor]]


def weight_shapes(config: RunConfig) -> dict[str, TensorShape]:
    """The name and shape of every weight of a run's model."""
    model = build_model(config.model, config.task.interface, config.init_seed)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def record(out: Path, config: RunConfig, steps: tuple[int, ...], weights: Weights) -> RunFolder:
    """Write the weights of each step into a run folder, reading all of them once before anything is written.

    Repeating the import changes nothing, and an interrupted one is completed. Raises UserError for a folder that
    holds anything else, and what `weights` raises.
    """
    hashes = {step: tensor_hash(weights(step)) for step in steps}
    folder = RunFolder.create(out, Recording(recorded=config.settings, schedule=steps))
    done = _recorded(folder, hashes)
    if done == steps[-1]:
        return folder
    recorder = Recorder(out, config, steps, start=done + 1)
    try:
        for step in steps:
            if step > done:
                recorder.record(step, weights(step))
    finally:
        recorder.close()
    return folder


def _recorded(folder: RunFolder, hashes: dict[int, str]) -> int:
    """The last step that is there already, -1 for none. Raises UserError when its weights are other ones."""
    there = [line["step"] for line in folder.records()]
    for step in there:
        if folder.weights_hash(step) != hashes[step]:
            raise UserError(f"{folder.path}: holds other weights of step {step}; choose another --out")
    return there[-1] if there else -1
