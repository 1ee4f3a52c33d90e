"""The loss landscape along a run: curvature at its checkpoints and along the steps between them.

Works on any run, whatever model, task or optimiser: everything is taken on one fixed batch (stream
"curvature"). Directional smoothness between checkpoints t and t' is that of the straight line from one to
the other; it is the optimiser's own step only where t' = t + 1, and `stride` says how far apart they are.
Checkpoints in pairs (100, 101, 200, 201, ...) give true steps at a fraction of the disk space.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.optimize import nnls
from torch import Tensor

from interp.analysis.base import Progress
from interp.io.tables import Stamp, read_table, write_table
from interp.landscape.curvature import (  # fmt: skip
    Objective,
    conditioning,
    diagonal_conditioning,
    directional_smoothness,
    hessian,
    hessian_diagonal,
    sharpness,
)
from interp.runs.checkpoints import Checkpoints
from probes.tables import frame
from tasks import UserError


@dataclass(frozen=True)
class SmoothnessFit:
    """How curvature along the path goes with the gradient: |H| <= L0 + L1 |g| as a non-negative least-
    squares fit, and the slope and correlation of log curvature on log |g|. Steps of negative curvature have
    no logarithm; they are left out of the latter and counted in `negative`.
    """

    l0: float
    l1: float
    correlation: float
    slope: float
    used: int
    negative: int


def smoothness_fit(gradient: Float[Tensor, " step"], smoothness: Float[Tensor, " step"]) -> SmoothnessFit:
    """Fit of directional smoothness on gradient norms. Raises UserError for fewer than 3 steps of positive
    curvature.

    Source: (L0, L1)-smoothness of Zhang et al. 2020, shown as a scatter in Ahn et al. 2310.01082.
    """
    g, s = gradient.double().numpy(), smoothness.double().numpy()
    up = (s > 0) & (g > 0)
    if up.sum() < 3:
        raise UserError(f"a fit needs at least 3 steps of positive curvature, got {int(up.sum())}")
    (l0, l1), _ = nnls(np.stack([np.ones_like(g), g], 1), s)
    x, y = np.log(g[up]), np.log(s[up])
    slope = np.polyfit(x, y, 1)[0]
    return SmoothnessFit(
        float(l0), float(l1), float(np.corrcoef(x, y)[0, 1]), float(slope), int(up.sum()), int((~up).sum())
    )


def fit_in_words(table: pd.DataFrame) -> str:
    """What `smoothness_fit` finds along the true steps (stride 1) of a `curvature_table`; empty for fewer than 3 of
    positive curvature.
    """
    wide = table.pivot(index="step", columns="metric", values="value")
    if "stride" not in table or "gradient norm" not in wide:
        return ""
    true = wide.loc[table.loc[table["stride"] == 1, "step"]]
    g, bend = (
        torch.tensor(true[name].to_numpy(float)) for name in ("gradient norm", "directional smoothness")
    )
    if int(((g > 0) & (bend > 0)).sum()) < 3:
        return ""
    fit = smoothness_fit(g, bend)
    return (
        f" Along {fit.used} true steps u'Hu <= {fit.l0:.3g} + {fit.l1:.3g} |g| in the mean; log on log slope "
        f"{fit.slope:.2f}, correlation {fit.correlation:.2f}; {fit.negative} steps bend down."
    )


def run_objective(run: Checkpoints, prompts: int) -> Objective:
    """The objective of a run on its fixed curvature batch."""
    batch = run.task.sample(run.config.data_seed, "curvature", 0, prompts)
    return Objective(
        run.model("last"), run.task, batch.double() if run.config.model.dtype == "float64" else batch
    )


def kept_curvature(
    run: Checkpoints,
    steps: Sequence[int] | str = "all",
    *,
    prompts: int = 1000,
    probes: int = 32,
    sharp: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """`curvature_table`, kept as RUN/analysis/curvature.parquet and read from there when nothing has changed.

    Smoothness belongs to pairs of checkpoints, so the table is that of one set of steps: another set, other settings
    or other weights are measured anew.
    """
    asked = run.resolve(steps)
    settings = {"prompts": prompts, "probes": probes, "sharp": sharp}
    key = hashlib.sha256(json.dumps(["curvature", 1, settings], sort_keys=True).encode()).hexdigest()[:16]
    for step in asked:
        run.folder.weights(step)  # every byte read: a kept row must not stand for a damaged file
    stamp = Stamp(
        analysis="curvature", key=key, config=run.folder.config_hash, settings=settings,
        checkpoints={step: run.folder.weights_hash(step) for step in asked},
    )  # fmt: skip
    path = run.folder.table_path("curvature")
    found = read_table(path)
    if found is not None and found[1] == stamp:
        return found[0]
    table = curvature_table(run, asked, prompts=prompts, probes=probes, sharp=sharp, progress=progress)
    write_table(path, table, stamp)
    return table


def curvature_table(
    run: Checkpoints,
    steps: Sequence[int] | str = "all",
    *,
    prompts: int = 1000,
    probes: int = 32,
    sharp: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Loss, gradient norm, sharpness, robust condition number at each checkpoint, and smoothness to the
    next one asked.

    Nets of at most 400 parameters have their whole Hessian taken (both condition numbers); larger ones the
    diagonal estimated from `probes` products (`metric` says so). `sharp` off leaves all Hessian columns out
    but the path's. Raises UserError for fewer than 1 prompt or 2 probes.
    """
    if prompts < 1 or probes < 2:
        raise UserError(f"curvature needs at least 1 prompt and 2 probes, got {prompts} and {probes}")
    objective = run_objective(run, prompts)
    asked = run.resolve(steps)
    states = {step: objective.flat(run.folder.weights(step)) for step in asked}
    rows: list[dict[str, object]] = []
    for step, after in zip(asked, (*asked[1:], None), strict=True):
        at = states[step]
        found = {"loss": float(objective.loss(at)), "gradient norm": float(objective.gradient(at).norm())}
        found |= _bends(objective, at, probes) if sharp else {}
        rows += [{"step": step, "metric": name, "value": value} for name, value in found.items()]
        if after is not None and not torch.equal(at, states[after]):
            along = directional_smoothness(objective, at, states[after])
            rows.append(
                {"step": step, "metric": "directional smoothness", "value": along, "stride": after - step}
            )
        if progress:
            progress("checkpoints", len({row["step"] for row in rows}), len(asked))
    table = frame(rows)
    table.insert(0, "run", run.name)
    table.insert(1, "seed", run.config.seed)
    return table


def _bends(objective: Objective, at: Float[Tensor, " weight"], probes: int) -> dict[str, float]:
    if len(at) > 400:
        diagonal, _ = hessian_diagonal(objective, at, probes)
        return {
            "sharpness": sharpness(objective, at),
            "robust condition (estimated diagonal)": diagonal_conditioning(diagonal),
        }
    H = hessian(objective, at)
    found = conditioning(H)
    return {
        "sharpness": float(torch.linalg.eigvalsh(H)[-1]),
        "robust condition (eigenvalues)": found.eigenvalues,
        "robust condition (diagonal)": found.diagonal,
        "robust condition (active diagonal)": found.diagonal_active,
        "active parameters": found.active,
    }
