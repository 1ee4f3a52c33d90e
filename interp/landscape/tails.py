"""Gradient noise at fixed weights and how heavy its tail is.

The noise of a batch is |g_B - g_ref|, its gradient's distance from that of a large reference batch. `Tail`
describes a sample of such lengths; its q99/median is the index to compare settings by, because sample
kurtosis hangs on a few outliers. A larger batch lightens every tail, so settings are comparable only at
equal batch size. Source: Ahn et al. 2310.01082, section 3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats as laws
from torch import Tensor
from torch.func import functional_call, grad, vmap

from interp.landscape.curvature import Objective
from probes.stats import Interval
from tasks import Task, UserError

MIN_DRAWS = 100
HILL_SHARE = 0.05


@dataclass(frozen=True)
class Tail:
    """`q99_over_median` with its interval; Hill's `index` of the top 5% (small: heavy; P(X > x) ~
    x^-index); moments.

    For the length of an isotropic normal vector in many dimensions q99/median is near 1 and excess kurtosis
    near 0.
    """

    q99_over_median: Interval
    index: float
    skewness: float
    excess_kurtosis: float
    median: float
    draws: int


def quantile(values: Float[Tensor, " draw"], q: float, level: float) -> Interval:
    """A quantile with its exact order-statistic interval; infinite or 0 where the sample is too small to
    bound it.
    """
    x = np.sort(values.double().numpy())
    n, tail = len(x), (1 - level) / 2
    low, high = laws.binom.ppf([tail, 1 - tail], n, q).astype(int)
    bottom = float(x[low - 1]) if low >= 1 else 0.0
    top = float(x[high]) if high < n else math.inf
    return Interval(float(np.quantile(x, q)), bottom, top, n, "exact order statistics")


def tail(norms: Float[Tensor, " draw"], level: float = 0.95) -> Tail:
    """Tail indices of positive lengths. The interval combines those of both quantiles, each at half the
    error, so it covers at least `level`. Raises UserError for fewer than 100 draws or lengths that are not
    positive.
    """
    if len(norms) < MIN_DRAWS or not bool((norms > 0).all()):
        raise UserError(f"tail indices need at least {MIN_DRAWS} positive lengths, got {len(norms)}")
    each = 1 - (1 - level) / 2
    middle, top = quantile(norms, 0.5, each), quantile(norms, 0.99, each)
    bounds = (top.low / middle.high, top.high / middle.low)
    found = Interval(top.value / middle.value, *bounds, len(norms), "order statistics, Bonferroni")
    x = norms.double().numpy()
    return Tail(
        found, hill(norms), float(laws.skew(x)), float(laws.kurtosis(x)), middle.value, len(norms)
    )  # fmt: skip


def asymmetry(norms: Float[Tensor, " draw"], level: float = 0.95) -> Interval:
    """(q95 - median) / (median - q05): above 1 when the upper side is the longer one, 1 for a symmetric distribution.

    The interval combines those of the three quantiles, each at a third of the error, so it covers at least `level`.
    Raises UserError for fewer than 100 draws.
    """
    if len(norms) < MIN_DRAWS:
        raise UserError(f"tail indices need at least {MIN_DRAWS} draws, got {len(norms)}")
    each = 1 - (1 - level) / 3
    bottom, middle, top = (quantile(norms, q, each) for q in (0.05, 0.5, 0.95))
    found = (top.value - middle.value) / (middle.value - bottom.value)
    low = (top.low - middle.high) / (middle.high - bottom.low)
    high = (top.high - middle.low) / (middle.low - bottom.high)
    high = high if middle.low > bottom.high else math.inf
    return Interval(found, low, high, len(norms), "order statistics, Bonferroni")


def hill(values: Float[Tensor, " draw"], share: float = HILL_SHARE) -> float:
    """Hill's estimator from the largest `share` of the values: the power of the tail, larger for lighter
    ones.
    """
    k = max(2, int(share * len(values)))
    top = values.double().sort(descending=True).values[: k + 1].log()
    return 1 / float((top[:k] - top[k]).mean())


def batch_noise(
    model: object,
    task: Task,
    weights: Float[Tensor, " weight"],
    *,
    batch: int,
    draws: int,
    reference: Float[Tensor, " weight"],
    seed: int = 0,
) -> Float[Tensor, " draw"]:
    """|g_B - reference| for `draws` fresh batches of `batch` prompts."""
    double = weights.dtype == torch.float64
    found = []
    for k in range(draws):
        prompts = task.sample(seed, "noise", k, batch)
        objective = Objective(model, task, prompts.double() if double else prompts)
        found.append((objective.gradient(weights).detach() - reference).norm())
    return torch.stack(found)


def reference_gradient(
    model: object,
    task: Task,
    weights: Float[Tensor, " weight"],
    *,
    prompts: int,
    seed: int = 0,
    chunk: int = 5000,
) -> Float[Tensor, " weight"]:
    """Gradient of at least `prompts` fresh prompts, in whole chunks."""
    chunks = math.ceil(prompts / chunk)
    total = torch.zeros_like(weights)
    for k in range(chunks):
        batch = task.sample(seed, "noise reference", k, chunk)
        objective = Objective(model, task, batch.double() if weights.dtype == torch.float64 else batch)
        total += objective.gradient(weights).detach()
    return total / chunks


def prompt_noise(
    objective: Objective, weights: Float[Tensor, " weight"], reference: Tensor
) -> Float[Tensor, " prompt"]:
    """|g_i - reference| of each prompt of the objective's batch by itself (continuous inputs and labels)."""
    task, batch = objective.task, objective.batch

    def one(theta: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        outputs = functional_call(objective.model, objective.named(theta), (inputs[None],))
        rest = {name: value[:1] for name, value in vars(batch).items()}
        alone = type(batch)(**(rest | {"inputs": inputs[None], "targets": targets[None]}))
        return task.loss(outputs, alone).mean()

    each = vmap(grad(one), in_dims=(None, 0, 0), chunk_size=500)
    return (each(weights, batch.inputs, batch.targets).detach() - reference).norm(dim=1)
