"""Time until the held-out loss is within 10% of the Bayes answer's: our recipe against the published one.

Same model, task and batch; only the recipe differs. Published: Adam at 1e-4, no schedule, no clipping, GPT-2's
initialisation (Garg et al., arXiv 2208.01066, appendix A; their curriculum over dimensions is left out). Its budget is
`BUDGET` times our steps; a recipe that has not arrived by then is printed as over it. The limit is that of the matrix
products of as many steps as project took. Each trains in a process of its own, whose peak memory stands beside it.
"""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
from pathlib import Path

from interp.config.run import configure
from interp.runs.folder import RunFolder
from tests.bench.cost import cost, matmul_rate
from tests.bench.rows import NONE, Row, peak_mb
from tests.bench.time_to_risk import TimeToRisk, measure, time_to_risk

PUBLISHED = (
    *(
        "train.optimiser=adam",
        "train.lr=1e-4",
        "train.betas=[0.9, 0.999]",
        "train.warmup=0",
        "train.decay=none",
    ),
    *("train.clip=0", "model.init=gpt2"),
)
BUDGET = 2
QUICK = (
    "train.steps=50",
    "train.schedule.log=0",
    "train.schedule.every=50",
    "train.warmup=10",
    "model.n_layers=1",
)


def rows(quick: bool) -> list[Row]:
    """One line: CPU seconds of both, and the least that the baseline's ratio can be when it never arrived."""
    short = QUICK if quick else ()
    steps = 50 if quick else configure("regression").train.steps * BUDGET
    with tempfile.TemporaryDirectory() as folder:
        project, project_mb = _trained(Path(folder) / "project", short)
        baseline, baseline_mb = _trained(
            Path(folder) / "baseline", (*short, *PUBLISHED, f"train.steps={steps}")
        )
    limit = NONE
    if project.step is not None:
        rate = matmul_rate(seconds=0.5)
        limit = project.step * float(cost(configure("regression", overrides=short), rate)["step_flop"]) / rate
    return [
        dataclasses.replace(_row(project, baseline, limit), project_mb=project_mb, baseline_mb=baseline_mb)
    ]


def _trained(out: Path, overrides: tuple[str, ...]) -> tuple[TimeToRisk, float]:
    """The benchmark of one training, and the peak memory of the process that did it."""
    memory = peak_mb(lambda: measure("regression", 0, out, overrides))
    return time_to_risk(RunFolder.open(out)), memory


def _row(project: TimeToRisk, baseline: TimeToRisk, limit: float = NONE) -> Row:
    mine, theirs = (found.cpu_s if found.cpu_s is not None else math.inf for found in (project, baseline))
    ratio = mine / theirs if math.isfinite(mine) and math.isfinite(theirs) else math.nan
    said = [
        f"loss {found.best_loss:.3f} at best in {found.steps} steps, floor {found.risk:.3f}"
        for found in (project, baseline)
    ]
    reached = (
        f"project within 10% at step {project.step}"
        if project.step is not None
        else "project never within 10%"
    )
    note = f"{reached}; project {said[0]}; baseline {said[1]}; seed 0; {os.cpu_count()} cores"
    return Row(
        "time to within 10% of the floor, regression",
        mine,
        theirs,
        "published recipe",
        ratio,
        pairs=1,
        limit=limit,
        over_limit=mine / limit,
        note=note,
    )
