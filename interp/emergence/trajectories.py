"""Training as a path through the space of predictions: joint principal components of runs and checkpoints.

Owns the components of the outputs of many checkpoints, of one run or of several, on the same prompts, and the ideal
predictors' places in them: which corner a run makes for, and by which way. Outputs are taken where mixtures are sums
(numbers, probabilities), at the output positions; components are those of the checkpoints alone, centred on their mean,
and ideal predictors are projected on them (`off`: how far they lie outside, as a share of their squared distance from
the centre). Distances in a plane are smaller than in the whole; no component is a strategy. Source: Carroll et al.,
arXiv 2501.17745 (joint trajectory principal components).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.readouts.strategies import linear
from interp.runs.checkpoints import Checkpoints
from tasks.errors import UserError

PROMPTS = 256
SAME = 1e-9  # mean square below which two runs' predictors of a name are one
Point = dict[str, Any]


def joint_components(
    runs: Sequence[Checkpoints], *, distribution: str = "", prompts: int = PROMPTS, components: int = 2
) -> pd.DataFrame:
    """Where every checkpoint of the runs, and every ideal predictor of their tasks, lies in joint components.

    Columns: run, seed, step (missing for a predictor), strategy (empty for a checkpoint), "component 1", ... in the
    unit of the outputs (root mean square over prompts and positions), `explained` (share of the checkpoints' variance
    in these components), `off`. `distribution`: one of the first run's task, from which all runs' prompts come (the
    task's own unless given); a predictor that differs from run to run (dMMSE of another pool) stands once a run. Raises
    UserError for no runs, fewer checkpoints than components, and runs whose prompts or outputs have other shapes.
    """
    if not runs:
        raise UserError("no runs to compare: give at least one")
    first = runs[0].task
    if distribution and distribution not in first.distributions:
        raise UserError(
            f"task {first.kind!r} has no distribution {distribution!r}: it has {list(first.distributions)}"
        )
    batch = first.distributions.get(distribution, first).sample(0, "trajectories", 0, prompts)
    for run in runs:
        if run.task.interface != first.interface:
            raise UserError(
                f"{run.name}: its prompts or outputs have another shape than those of {runs[0].name}"
            )
    paths = [(run, step) for run in runs for step in run.steps]
    outputs = torch.stack([_outputs(run, step, batch) for run, step in paths])
    if len(outputs) <= components:
        raise UserError(f"{components} components need more checkpoints than {len(outputs)}")
    centre, axes, explained = principal(outputs, components)
    points = [_point(run, step, "") for run, step in paths]
    ideals = _ideals(runs, batch)
    points += [_point(run, None, name) for run, name, _ in ideals]
    every = torch.cat([outputs, *(values[None] for *_, values in ideals)])
    return _table(points, every - centre, axes, explained)


def _outputs(run: Checkpoints, step: int, batch: Any) -> Float[Tensor, "cell"]:
    with torch.no_grad():
        return linear(run.task, run.model(step)(batch.inputs)).flatten()


def _ideals(runs: Sequence[Checkpoints], batch: Any) -> list[tuple[Checkpoints | None, str, Tensor]]:
    """Predictors of every run's task; one that all runs share has no run."""
    found: list[tuple[Checkpoints | None, str, Tensor]] = []
    known = [
        {n: linear(run.task, v).flatten() for n, v in run.task.strategies(batch).items()} for run in runs
    ]
    for name in dict.fromkeys(n for each in known for n in each):
        own = [(run, each[name]) for run, each in zip(runs, known, strict=True) if name in each]
        shared = all(float((values - own[0][1]).square().mean()) < SAME for _, values in own)
        found += [(None, name, own[0][1])] if shared else [(run, name, values) for run, values in own]
    return found


def principal(
    values: Float[Tensor, "point cell"], components: int
) -> tuple[Float[Tensor, "cell"], Float[Tensor, "component cell"], float]:
    """Centre, orthonormal axes of the largest variance, and the share of the variance in them.

    The sign of an axis is that in which the last point lies further than the first.
    """
    centre = values.mean(0)
    _, sizes, axes = torch.linalg.svd(values - centre, full_matrices=False)
    total = float(sizes.square().sum())
    axes = axes[:components]
    turned = axes @ (values[-1] - values[0])
    axes = torch.where((turned < 0)[:, None], -axes, axes)
    return centre, axes, float(sizes[:components].square().sum()) / total if total > 0 else 0.0


def _point(run: Checkpoints | None, step: int | None, strategy: str) -> Point:
    named = {"run": "", "seed": None} if run is None else {"run": run.name, "seed": run.config.seed}
    return {**named, "step": step, "strategy": strategy}


def _table(
    points: list[Point], values: Float[Tensor, "point cell"], axes: Float[Tensor, "component cell"], explained: float
) -> pd.DataFrame:  # fmt: skip
    places = values @ axes.T
    whole, inside = values.square().sum(1), places.square().sum(1)
    off = torch.where(whole > 0, 1 - inside / whole.clamp_min(1e-300), torch.zeros_like(whole)).clamp_min(0)
    places = places / values.shape[1] ** 0.5
    columns = {f"component {j + 1}": places[:, j].tolist() for j in range(len(axes))}
    table = pd.DataFrame(points).assign(**columns, explained=explained, off=off.tolist())
    return table.astype({"step": "Int64", "seed": "Int64"})
