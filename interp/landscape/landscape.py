"""The loss landscape along a run: curvature at its checkpoints and along the steps between them.

Works on any run, whatever model, task or optimiser: everything is taken on one fixed batch (stream
"curvature"). Directional smoothness between checkpoints t and t' is that of the straight line from one to
the other; it is the optimiser's own step only where t' = t + 1, and `stride` is how far apart they are.
Checkpoints in pairs (100, 101, 200, 201, ...) give true steps at a fraction of the disk space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from scipy.optimize import nnls
from torch import Tensor

from interp.analysis.base import Accumulator, Analysis
from interp.config.run import RunConfig
from interp.hooks.protocol import HookedModel
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
from tasks import Batch, Task, UserError


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
    """What `smoothness_fit` finds along the true steps (stride 1) of a table of `Curvature`; empty for fewer than 3 of
    positive curvature.
    """
    wide = table.pivot(index="step", columns="metric", values="value")
    if "stride" not in table or not {"gradient norm", "directional smoothness"} <= set(wide.columns):
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
    """The objective of a run on its fixed curvature batch, at its last checkpoint."""
    return _objective(run.model("last"), run.task, prompts, run.config.data_seed)


def _objective(model: HookedModel, task: Task, prompts: int, seed: int) -> Objective:
    batch = task.sample(seed, "curvature", 0, prompts)
    return Objective(model, task, batch.double() if model.config.dtype == "float64" else batch)


class Curvature(Analysis):
    """Loss, gradient norm, sharpness, robust condition number at each checkpoint, and smoothness to the next one asked.

    Nets of at most 400 parameters have their whole Hessian taken (both condition numbers); larger ones the
    diagonal estimated from `probes` products (`metric` says so). `sharp` off leaves all Hessian columns out
    but the path's. All is taken on `prompts` prompts of the run's own seed of data.
    """

    name: ClassVar[str] = "curvature"
    runs_model: ClassVar[bool] = True
    paired: ClassVar[bool] = True

    chunks: int = Field(default=0, ge=0, le=0, exclude=True)
    prompts: int = 1000
    probes: int = 32
    sharp: bool = True
    data_seed: int = Field(default=0, exclude=True)

    @model_validator(mode="after")
    def _enough(self) -> Curvature:
        if self.prompts < 1 or self.probes < 2:
            raise ValueError(
                f"curvature needs at least 1 prompt and 2 probes, got {self.prompts} and {self.probes}"
            )
        return self

    def of(self, config: RunConfig) -> Curvature:
        return self.model_copy(update={"data_seed": config.data_seed})

    def serves(self, rows: pd.DataFrame, stride: int | None) -> bool:
        held = rows["stride"].dropna() if "stride" in rows else ()
        return [int(kept) for kept in held] == ([] if stride is None else [stride])

    def hooks(self, model: HookedModel) -> list[str]:
        return []

    def accumulator(
        self, model: HookedModel, task: Task, untrained: Accumulator | None
    ) -> CurvatureAccumulator:
        return CurvatureAccumulator(self, _objective(model, task, self.prompts, self.data_seed))


class CurvatureAccumulator:
    """Measures where the model stands, and along the line to the next checkpoint once it knows that."""

    def __init__(self, settings: Curvature, objective: Objective):
        self.objective, at = objective, objective.weights
        self.at = at
        found = {"loss": float(objective.loss(at)), "gradient norm": float(objective.gradient(at).norm())}
        found |= _bends(objective, at, settings.probes) if settings.sharp else {}
        self.rows: list[dict[str, object]] = [
            {"metric": name, "value": value} for name, value in found.items()
        ]

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        raise AssertionError("curvature asks for no chunks")

    def follow(self, weights: Mapping[str, Tensor], stride: int) -> None:
        after = self.objective.flat(dict(weights))
        if not torch.equal(self.at, after):
            along = directional_smoothness(self.objective, self.at, after)
            self.rows.append({"metric": "directional smoothness", "value": along, "stride": stride})

    def table(self) -> pd.DataFrame:
        return frame(self.rows)


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
