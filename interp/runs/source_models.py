"""Source models of clamps (`donor` in the settings): found, pinned by the hash of their weights, loaded.

A source model is a checkpoint of another run. Its step and the hash of its weights become part of the settings, so
that a resumed or measured run uses exactly the same source model, or fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interp.config.clamp import ClampConfig
from interp.config.run import RunConfig
from interp.hooks.protocol import HookedModel
from interp.models.build import build_model
from interp.models.clamps import Clamps
from interp.models.weights import load_weights
from interp.runs.folder import RunFolder
from interp.runs.steps import resolve
from tasks.base import Interface, Task
from tasks.errors import UserError

_SHARED = ("inputs", "n_ctx", "d_in", "d_vocab")


def resolve_sources(config: RunConfig) -> RunConfig:
    """The same settings with the step and weights hash of every source model filled in, and every name checked.

    Raises UserError for a source model that is missing, differs from the recorded one, or uses other prompts, and
    for sites and relations that model and task do not have.
    """
    if not config.train.clamps:
        return config
    pinned = tuple(_pinned(clamp, config.task) for clamp in config.train.clamps)
    resolved = config.model_copy(update={"train": config.train.model_copy(update={"clamps": pinned})})
    clamps_of(resolved, build_model(config.model, config.task.interface, config.init_seed))
    return resolved


def clamps_of(config: RunConfig, model: HookedModel) -> Clamps:
    """The clamps of a run, with source models in the floating type and on the device of `model`.

    Raises UserError as `resolve_sources` does.
    """
    source_models = {}
    for clamp in config.train.clamps:
        if clamp.to == "donor":
            pinned = _pinned(clamp, config.task)
            like = next(model.parameters())
            donor = _model(_open(clamp), pinned.donor_step).to(device=like.device, dtype=like.dtype)
            source_models[(clamp.donor, clamp.donor_step)] = donor
    return Clamps(config.train.clamps, model, config.task, source_models)


def _open(clamp: ClampConfig) -> RunFolder:
    try:
        return RunFolder.open(Path(clamp.donor))
    except UserError as error:
        raise UserError(f"clamp of {clamp.site}: source model {error}") from None


def _model(folder: RunFolder, step: int) -> Any:
    """A source model at a checkpoint, in eval mode."""
    config = folder.config
    model = build_model(config.model, config.task.interface, config.init_seed)
    load_weights(model, folder.weights(step), str(folder.checkpoint_path(step)))
    return model.eval()


def _pinned(clamp: ClampConfig, task: Task) -> ClampConfig:
    """A clamp with the step and weights hash of its source model. Raises UserError for an unsuitable source model."""
    if clamp.to != "donor":
        return clamp
    folder = _open(clamp)
    where = f"clamp of {clamp.site}: source model {clamp.donor}"
    if folder.config.train.clamps:
        raise UserError(f"{where} was trained with clamps of its own; take a run without")
    if odd := _differs(folder.config.task.interface, task.interface):
        raise UserError(f"{where} reads other prompts ({odd} differs); take a run of the same task")
    (step,) = resolve(folder, "last" if clamp.donor_step < 0 else clamp.donor_step)
    weights = folder.weights_hash(step)
    if clamp.donor_weights not in ("", weights):
        raise UserError(f"{where}: the weights of step {step} are not those this run began with")
    return clamp.model_copy(update={"donor_step": step, "donor_weights": weights})


def _differs(donor: Interface, own: Interface) -> str:
    """The first thing about prompts in which two interfaces differ, or nothing."""
    return next((name for name in _SHARED if getattr(donor, name) != getattr(own, name)), "")
