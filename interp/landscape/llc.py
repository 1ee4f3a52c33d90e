"""Local learning coefficient by SGLD: effective parameters around a checkpoint, at a stated gamma and step.

Estimator (Lau et al. 2023, arXiv 2308.12108): n beta E[loss(w) - loss(w*)], the mean taken over draws from
exp(-n beta L(w) - gamma |w - w*|^2 / 2), beta = 1 / log n. Units: effective parameters at gamma and step (d/2 at a
non-degenerate minimum with d weights, lower where the loss is flatter). Both belong to the figure, and neither
limit is reached on real nets: gamma pulls it down where n beta times the curvature does not dwarf it (on the preset
`retrieval` by a factor of a hundred between gamma 1e2 and 1e4, all chains mixed), a finite step pushes it up (there
half the step gives 7% less). Figures compare between checkpoints measured alike, and are no count of parameters;
`interp.landscape.llc_sweep` shows how far they move, `interp.landscape.closed_forms` what they should be where that is
proven. The interval is Monte Carlo error alone: another draw of the chains at the same weights, minibatches, gamma and
step. It covers neither the bias of these settings nor other training seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from interp.analysis.base import Direct
from interp.landscape.langevin import BadChains, Slope, chain, check_traces, model_slopes, slope_of
from probes.stats import Interval, student
from tasks import Task, UserError
from tasks.streams import generator

NAME = "local learning coefficient"
Loss = Callable[[Tensor], Tensor]


class LearningCoefficient(Direct):
    """The coefficient at every checkpoint, on the axis of every other curve of a run.

    `prompts` are cut into minibatches of `minibatch`; `n`: sample size that beta and the unit refer to. `gamma`
    (1 / variance of a weight about w*) and `step` were chosen on the preset `retrieval`, where chains mix in 2 /
    (step gamma) = 20 draws; another model may want others, and its chains are then refused. A refused checkpoint
    keeps its row, without a value and with the reason in `note`: it is never filled in. Columns `gamma` and
    `step_size` are what the value was measured at.
    """

    name: ClassVar[str] = "llc"
    version: ClassVar[int] = 2

    prompts: int = Field(default=512, ge=1)
    minibatch: int = Field(default=32, ge=1)
    n: int = Field(default=10_000, ge=3)
    chains: int = Field(default=4, ge=2)
    draws: int = Field(default=150, ge=20)
    burn_in: int = Field(default=60, ge=0)
    step: float = Field(default=1e-4, gt=0)
    gamma: float = Field(default=1e3, ge=0)

    def measure(self, model: Any, task: Task) -> pd.DataFrame:
        count = max(1, self.prompts // self.minibatch)
        batches = [task.sample(self.seed, "llc", k, self.minibatch) for k in range(count)]
        if model.config.dtype == "float64":
            batches = [batch.double() for batch in batches]
        slopes, start = model_slopes(model, task, batches)
        row: dict[str, Any] = {"value": math.nan, "ci_low": math.nan, "ci_high": math.nan}
        row |= {"n": self.chains, "note": ""}
        try:
            row |= coefficient(
                slopes, start, self.n, chains=self.chains, draws=self.draws, burn_in=self.burn_in,
                step=self.step, gamma=self.gamma, seed=self.seed,
            ).row()  # fmt: skip
        except BadChains as error:
            row["note"] = str(error)
        at = {"gamma": self.gamma, "step_size": self.step}
        unit = f"effective parameters at gamma {self.gamma:g}, step {self.step:g}"
        return pd.DataFrame([{**row, **at, "metric": NAME, "control": "none", "unit": unit}])


def local_learning_coefficient(
    losses: Sequence[Loss],
    weights: Float[Tensor, " weight"],
    n: int,
    *,
    chains: int = 4,
    draws: int = 1000,
    burn_in: int = 500,
    step: float,
    gamma: float = 1.0,
    seed: int = 0,
) -> Interval:
    """The estimate with Student's t interval over chains: Monte Carlo error alone. `losses`: the mean loss on each
    minibatch, of the flat weights; `n`: sample size that beta and the unit refer to.

    Raises UserError for settings that cannot be, and `BadChains` for chains that are not finite, unmixed, or
    drifting.
    """
    return coefficient(
        [slope_of(loss) for loss in losses], weights, n,
        chains=chains, draws=draws, burn_in=burn_in, step=step, gamma=gamma, seed=seed,
    )  # fmt: skip


def coefficient(
    slopes: Sequence[Slope],
    weights: Float[Tensor, " weight"],
    n: int,
    *,
    chains: int,
    draws: int,
    burn_in: int,
    step: float,
    gamma: float,
    seed: int,
) -> Interval:
    """`local_learning_coefficient` of losses that come with their gradients."""
    if not slopes or n < 3 or chains < 2 or draws < 20 or burn_in < 0 or step <= 0 or gamma < 0:
        raise UserError(
            "sampling needs a loss, n >= 3, 2 chains, 20 draws, burn_in >= 0, step > 0 and gamma >= 0"
        )
    beta_n = n / math.log(n)
    centre = torch.stack([slope(weights)[0] for slope in slopes])
    traces = torch.stack([
        chain(slopes, weights, centre, beta_n, draws=draws, burn_in=burn_in, step=step, gamma=gamma,
              noise=generator(seed, "llc", index))
        for index in range(chains)
    ])  # fmt: skip
    check_traces(traces)
    return student((beta_n * traces.mean(1)).tolist())
