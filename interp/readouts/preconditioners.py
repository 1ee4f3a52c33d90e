"""The algorithm of a linear transformer at every checkpoint, as a table.

Owns the analysis `preconditioners`: what each layer's weights say (see `interp.models.linear_weights` for
signs and for the gauge) and how flat the covariates' spectrum is when the layer sees it. All rows but
`flatness` are functions of the weights alone, so only that one has a sampling error, which is not stated.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.base import Accumulator, Analysis
from interp.models.linear import LinearTransformer
from interp.models.linear_weights import (
    covariate_spectra,
    distance_to_identity,
    flatness,
    read_model,
    whitened,
)
from probes.tables import frame
from tasks import Batch, Task, UserError
from tasks.regression import InContextRegression

METRICS = {
    "step size": "",
    "distance to identity": "share",
    "distance to identity, whitened": "share",
    "rank-one share": "share",
    "nuisance y^2": "share",
    "nuisance xx'": "share",
    "flatness": "ratio",
}


def task_covariance(task: InContextRegression) -> Float[Tensor, "d d"]:
    """E[xx'] of a task whose eigenbasis is one and known. Raises UserError when every prompt has its own."""
    if task.basis == "prompt":
        raise UserError("a basis per prompt has no one covariance to whiten by: use basis 'none' or 'fixed'")
    basis = task.sample(0, "basis", 0, 1).basis[0].double()
    return basis @ torch.diag(torch.tensor(task.covariance_eigenvalues, dtype=torch.float64)) @ basis.T


class _Weights:
    """Reads a model's weights once and averages the flatness over chunks."""

    def __init__(self, model: LinearTransformer, task: InContextRegression):
        self.model, self.covariance = model, task_covariance(task)
        self.flat: list[Tensor] = []

    def add(self, chunk: int, batch: Batch, outputs: Tensor, cache: Any) -> None:
        self.flat.append(flatness(covariate_spectra(self.model, batch.inputs)))

    def table(self) -> pd.DataFrame:
        flat = torch.stack(self.flat).mean(0).tolist()
        rows = []
        for layer, reading in enumerate(read_model(self.model)):
            A = reading.preconditioner
            white = whitened(A, self.covariance)
            values = (
                float(torch.trace(white)) / len(A), distance_to_identity(A), distance_to_identity(white),
                reading.rank_one, reading.squares, reading.shifts, flat[layer],
            )  # fmt: skip
            rows += [
                {"layer": layer, "metric": metric, "control": "none", "value": value, "unit": unit}
                for (metric, unit), value in zip(METRICS.items(), values, strict=True)
            ]
        return frame(rows)


class Preconditioners(Analysis):
    """`step size` is tr(S^1/2 A S^1/2)/d, so that descent preconditioned by S^-1 shows its a; see
    `LayerReading`.
    """

    name: ClassVar[str] = "preconditioners"
    runs_model: ClassVar[bool] = True
    chunks: int = 1

    def hooks(self, model: Any) -> list[str]:
        return []

    def accumulator(self, model: Any, task: Task, untrained: Accumulator | None) -> Accumulator:
        """Raises UserError for a model or a task of another kind."""
        plain = isinstance(model, LinearTransformer) and model.features is None
        if not plain or model.config.attention != "linear":
            raise UserError("preconditioners are read from models of kind 'linear' with linear attention")
        if not isinstance(task, InContextRegression):
            raise UserError("preconditioners need a regression task")
        return _Weights(model, task)
