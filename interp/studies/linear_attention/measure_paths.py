"""Curvature and noise of the landscape study's runs: paths, robust condition numbers, tails of the gradient noise.

All in label units squared (the task's loss times its label variance), as `linear_attention_runs` has losses.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.landscape.curvature import Conditioning, conditioning, hessian
from interp.landscape.landscape import SmoothnessFit, run_objective, smoothness_fit
from interp.landscape.tails import Tail, batch_noise, reference_gradient, tail
from interp.models import build_model
from interp.run import Run, load
from interp.studies.linear_attention.runs import DataSetting, LandscapeNet, label_variance


def path(run: Run) -> pd.DataFrame:
    """Gradient norm and directional smoothness of every true step on disk, in label units squared."""
    return _steps(run.path)


@functools.cache
def _steps(folder: Path) -> pd.DataFrame:
    run = load(folder)
    table = run.curvature(hessian=False).table
    steps = table[table["metric"] == "directional smoothness"]
    true = steps.loc[steps["stride"] == 1, "step"]
    wide = table[table["step"].isin(true)].pivot(index="step", columns="metric", values="value")
    return wide * label_variance(run)


def path_fit(run: Run) -> SmoothnessFit:
    """(L0, L1) fit along a run."""
    found = path(run)
    columns = [torch.tensor(found[name].to_numpy()) for name in ("gradient norm", "directional smoothness")]
    return smoothness_fit(*columns)


def robust_condition(run: Run, step: int) -> Conditioning:
    """Both robust condition numbers at a checkpoint on 1000 fixed prompts, the zero rows counted as the
    authors do. The ledger and the pictures ask for the same ones, so each is measured once.
    """
    return _conditions(run.path, step)


@functools.cache
def _conditions(folder: Path, step: int) -> Conditioning:
    run = load(folder)
    objective = run_objective(run, 1000)
    return conditioning(hessian(objective, objective.flat(run.folder.weights(step))))


def noise_lengths(
    seed: int, setting: DataSetting, model: LandscapeNet, *, draws: int, batch: int
) -> Float[Tensor, " draw"]:
    """Lengths of the gradient noise at the start of a seed, against the gradient of 100000 prompts."""
    task = setting.task_of(seed)
    net = build_model(model, task.interface, seed)
    weights = torch.cat([p.detach().flatten() for p in net.parameters()])
    reference = reference_gradient(net, task, weights, prompts=100_000, seed=seed)
    found = batch_noise(net, task, weights, batch=batch, draws=draws, reference=reference, seed=seed)
    return found * task.label_variance


def noise(seed: int, setting: DataSetting, model: LandscapeNet, *, draws: int, batch: int) -> Tail:
    """Tail of `noise_lengths`."""
    return tail(noise_lengths(seed, setting, model, draws=draws, batch=batch))
