"""What the two studies of linear attention share: trained runs, fits by L-BFGS, the closed form behind a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from interp.config.model_linear import LinearSettings
from interp.config.run import RunConfig
from interp.config.train import TrainConfig
from interp.landscape.curvature import Objective
from interp.models import build_model
from interp.models.linear import LinearTransformer
from interp.models.linear_weights import read_model
from interp.readouts.preconditioners import task_covariance
from interp.run import Run, load
from interp.studies.regression_distribution import RegressionDistribution
from interp.train import Diverged, train
from tasks import UserError
from tasks.regression import InContextRegression
from tasks.renamed import names_of


def trained(config: RunConfig, out: Path, name: str) -> Run:
    """The run of a configuration under `out`: trained now, gone on with, or found finished (or diverged)."""
    with suppress(Diverged):
        train(config, out / name)
    return load(out / name)


def run_config(
    task: InContextRegression, model: LinearSettings, seed: int, settings: Mapping[str, object]
) -> RunConfig:
    """A run of a study: what training says beyond `settings` is what the toolkit's defaults say."""
    return RunConfig.model_validate(
        {"task": task, "model": model, "train": TrainConfig.model_validate(settings), "seed": seed}
    )


def distribution_of(task: InContextRegression) -> RegressionDistribution:
    """The Gaussian law behind a linear task. Raises UserError for other targets and covariates."""
    if task.target != "linear" or task.law != "normal":
        raise UserError("the closed form with a matrix needs normal covariates and a linear target")
    S = task_covariance(task)
    shape = (
        torch.linalg.inv(S) * task.x_scale**2
        if task.prior == "inverse-covariance"
        else torch.eye(task.d).double()
    )
    return RegressionDistribution(S, task.weight_scale**2 * shape, task.noise**2)


def one_layer(model: LinearTransformer, n: int) -> Float[Tensor, "d d"]:
    """G of a one-layer net: it predicts y'X G x_q."""
    return read_model(model)[0].preconditioner / n


def fit(config: RunConfig, prompts: int, evaluations: int = 500) -> LinearTransformer:
    """A net of `config` brought to the nearest minimum on a fixed batch of `prompts` prompts by L-BFGS, in
    float64.
    """
    built = build_model(config.model, config.task.interface, config.init_seed)
    model = cast(LinearTransformer, built).double()
    batch = config.task.sample(config.data_seed, "fit", 0, prompts).double()
    objective = Objective(model, config.task, batch)
    return minimised(model, objective.loss, objective, evaluations)


def minimised(
    model: LinearTransformer, loss: Callable[[Tensor], Tensor], objective: Objective, evaluations: int = 500
) -> LinearTransformer:
    """The model with the weights at which L-BFGS on `loss(flat weights)` ends, started from the model's
    own.
    """

    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        weights = torch.tensor(theta, requires_grad=True)
        found = loss(weights)
        (slope,) = torch.autograd.grad(found, weights)
        return float(found.detach()), slope.numpy()

    end = minimize(
        value, objective.weights.numpy(), jac=True, method="L-BFGS-B",
        options={"maxfun": evaluations, "maxiter": evaluations, "ftol": 1e-13, "gtol": 1e-9},
    ).x  # fmt: skip
    model.load_state_dict(objective.named(torch.tensor(end)), strict=False)
    return model.eval()


CHUNK = 50_000


def least_squares(task: InContextRegression, prompts: int, seed: int) -> Float[Tensor, "d d"]:
    """G by the normal equations over drawn prompts of a linear task; the query is averaged out, so w is the
    target.
    """
    moment, cross = torch.zeros(task.d, task.d).double(), torch.zeros(task.d, task.d).double()
    for k in range(prompts // CHUNK):
        batch = task.sample(seed, "least squares", k, CHUNK).double()
        pull = torch.einsum("bnd,bn->bd", batch.x[:, :-1], batch.y[:, :-1])
        moment += pull.T @ pull
        cross += pull.T @ batch.w
    return torch.linalg.solve(moment, cross)


def least_squares_step(task: InContextRegression, prompts: int, seed: int) -> float:
    """The best step for a target of any kind: one regression of the query's label on x_q'X'y."""
    along2 = product = 0.0
    for k in range(prompts // CHUNK):
        batch = task.sample(seed, "least squares", k, CHUNK).double()
        along = torch.einsum("bnd,bn,bd->b", batch.x[:, :-1], batch.y[:, :-1], batch.x[:, -1])
        along2 += float(along @ along)
        product += float(along @ batch.y[:, -1])
    return product / along2


def isotropic_part(G: Float[Tensor, "d d"]) -> float:
    """tr(G)/d, the step of the nearest multiple of the identity."""
    return float(torch.trace(G)) / len(G)


if not TYPE_CHECKING:
    __getattr__ = names_of(__name__)  # of version 0.1
