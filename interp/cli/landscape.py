"""The command on the loss landscape: sharpness, condition numbers, smoothness along the path, gradient noise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from interp.cli.options import Json, Steps


def curvature(
    run: Path,
    /,
    *,
    steps: Steps = "all",
    prompts: int = 1000,
    probes: int = 32,
    path_only: Annotated[bool, Parameter(negative="")] = False,
    llc: Annotated[bool, Parameter(negative="")] = False,
    noise: int = 0,
    json: Json = False,
) -> int:
    """Loss, gradient, sharpness and robust condition number at each checkpoint, and smoothness to the next one.

    Parameters
    ----------
    run
        Folder of the run.
    prompts
        Number of prompts in the fixed batch on which everything is measured.
    probes
        Random directions for estimating the Hessian diagonal, where the model is too large for the full Hessian.
    path_only
        Only loss, gradient norm and smoothness, which cost one or two gradients each.
    llc
        Also the local learning coefficient (840 gradients a checkpoint).
    noise
        Also the tail of the gradient noise, from this many batches of the training batch size (at least 100).
    """
    from interp.cli import landscape_tables, results, show
    from interp.landscape.llc import LearningCoefficient
    from interp.landscape.noise import noise_of
    from interp.run import load

    opened, chains = load(run), LearningCoefficient() if llc else None
    with show.progress("curvature") as advance:
        result = opened.curvature(
            steps, advance, prompts=prompts, probes=probes, hessian=not path_only, llc=chains,
            noise=noise_of(opened, noise) if noise else None,
        )  # fmt: skip
    if json:
        return results.print_json(result)
    show.table(landscape_tables.by_step(result.table), "the loss landscape, by checkpoint")
    for step, reason in landscape_tables.refused(result.table):
        show.note(f"step {step}: no learning coefficient, {reason}")
    show.note(result.caption)
    return 0
