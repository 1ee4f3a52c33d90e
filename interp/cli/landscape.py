"""The command on the loss landscape: sharpness, condition numbers, smoothness along the path, gradient noise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from interp.cli.options import Count, CountFromZero, Json, Out, Steps
from tasks.errors import UserError

if TYPE_CHECKING:
    from interp.run import Run


def curvature(
    run: Path,
    /,
    *,
    steps: Steps | None = None,
    prompts: Count = 1000,
    probes: Count = 32,
    path_only: Annotated[bool, Parameter(negative="")] = False,
    llc: Annotated[bool, Parameter(negative="")] = False,
    gamma: str = "",
    step_size: str = "",
    picture: Path | None = None,
    noise: CountFromZero = 0,
    out: Out = None,
    json: Json = False,
) -> int:
    """Loss, gradient, sharpness and robust condition number at each checkpoint, and smoothness to the next one.

    Parameters
    ----------
    run
        Folder of the run.
    steps
        Checkpoints; all of them unless given, and the last for a sweep over gamma and step size.
    prompts
        Number of prompts in the fixed batch on which everything is measured.
    probes
        Random directions for estimating the Hessian diagonal, where the model is too large for the full Hessian.
    path_only
        Only loss, gradient norm and smoothness, which cost one or two gradients each.
    llc
        Also the local learning coefficient (840 gradients a checkpoint): effective parameters at gamma and step.
    gamma
        Strength of the chains' pull to the checkpoint (1 / variance of a weight; 1000 unless given). Several,
        separated by commas, are swept over with every step size, and nothing else is measured.
    step_size
        Step of the chains (1e-4 unless given); several, separated by commas, are swept over.
    picture
        Where to write a sweep's heat map (.svg).
    noise
        Also the tail of the gradient noise, from this many batches of the training batch size (at least 100).
    """
    from interp.cli import landscape_tables, results, show
    from interp.landscape.llc import LearningCoefficient
    from interp.landscape.noise import noise_of
    from interp.run import load

    results.room(out)
    opened, usual = load(run), LearningCoefficient()
    gammas = numbers("--gamma", gamma) or [usual.gamma]
    sizes = numbers("--step-size", step_size) or [usual.step]
    if len(gammas) * len(sizes) > 1:
        return _sweep(opened, gammas, sizes, steps or "last", picture, out, json)
    if picture is not None:
        raise UserError("--picture is of a sweep: give several values of --gamma or --step-size")
    asked = llc or bool(gamma or step_size)
    chains = LearningCoefficient(gamma=gammas[0], step=sizes[0]) if asked else None
    with show.progress("curvature") as advance:
        result = opened.curvature(
            steps or "all", advance, prompts=prompts, probes=probes, hessian=not path_only, llc=chains,
            noise=noise_of(opened, noise) if noise else None,
        )  # fmt: skip
    results.keep(result, out)
    if json:
        return results.print_json(result)
    results.concluded(result)
    show.table(landscape_tables.by_step(result.table), "the loss landscape, by checkpoint")
    for step, reason in landscape_tables.refused(result.table):
        show.note(f"step {step}: no learning coefficient, {reason}")
    show.note(result.caption)
    return 0


def numbers(option: str, text: str) -> list[float]:
    """Positive numbers separated by commas, each once, none for an empty text. Raises UserError for anything else."""
    try:
        found = [float(part) for part in text.split(",")] if text else []
    except ValueError:
        found = [math.nan]
    if not all(0 < value < math.inf for value in found):
        raise UserError(f"{option} {text}: give positive numbers separated by commas, as in 1e2,1e3")
    return list(dict.fromkeys(found))


def _sweep(
    run: Run,
    gammas: list[float],
    sizes: list[float],
    steps: str,
    picture: Path | None,
    out: Path | None,
    json: bool,
) -> int:
    """The learning coefficient at every combination of gamma and step size."""
    from interp.cli import results, show
    from interp.landscape.llc_sweep import by_setting

    with show.progress("llc sweep") as advance:
        result = run.llc_sweep(gammas, sizes, steps, advance)
    drawn = result.picture()
    if picture is not None and drawn is not None:
        drawn.save(picture)
    results.keep(result, out)
    if json:
        return results.print_json(result)
    last = int(result.table["step"].max())
    results.concluded(result)
    show.table(by_setting(result.table), f"effective parameters by gamma and step size, checkpoint {last}")
    rows = result.table[result.table["note"] != ""]
    for row in rows.itertuples():
        show.note(f"step {row.step:.0f}, gamma {row.gamma:g}, step size {row.step_size:g}: none, {row.note}")
    if picture is not None:
        show.note(f"picture: {picture}" if drawn is not None else "no picture: all chains were refused")
    show.note(result.caption)
    return 0
