"""Local learning coefficient by SGLD: how degenerate the loss is around a checkpoint, with checks on the
chains.

Estimator (Lau et al. 2023, arXiv 2308.12108): n beta E[loss(w) - loss(w*)], the mean taken over draws from
exp(-n beta L(w) - gamma |w - w*|^2 / 2), beta = 1 / log n. Units: effective parameters (d/2 at a
non-degenerate minimum with d weights, lower where the loss is flatter). The localisation pulls it down where
n beta times the curvature does not dwarf gamma, so figures compare between checkpoints measured alike, and
are no count of parameters. A finite step pushes it up (on the preset `retrieval` half the step gives 7% less).
Every draw takes one of a few minibatches at random, and the loss there is compared with that of w* on the same
one. Chains that have not mixed (split R-hat over `WORST_RHAT`), drift,
or fall below the loss at w* (no minimum, as at the start of training) are refused.
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
from interp.landscape.curvature import Objective
from probes.stats import Interval, student
from tasks import Task, UserError
from tasks.streams import generator

WORST_RHAT = 1.1
NAME = "local learning coefficient"
Loss = Callable[[Tensor], Tensor]


class LearningCoefficient(Direct):
    """The coefficient at every checkpoint, on the axis of every other curve of a run.

    `prompts` are cut into minibatches of `minibatch`; `n`: sample size that beta and the unit refer to. `gamma`
    (1 / variance of a weight about w*) and `step` were chosen on the preset `retrieval`, where chains mix in 2 /
    (step gamma) = 20 draws; another model may want others, and says so by being refused. A refused checkpoint
    keeps its row, without a value and with the reason in `note`: it is never filled in.
    """

    name: ClassVar[str] = "llc"

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
        objectives = [Objective(model, task, batch) for batch in batches]
        said: dict[str, Any] = {"value": math.nan, "ci_low": math.nan, "ci_high": math.nan}
        said |= {"n": self.chains, "note": ""}
        try:
            said |= local_learning_coefficient(
                [each.loss for each in objectives], objectives[0].weights, self.n, chains=self.chains,
                draws=self.draws, burn_in=self.burn_in, step=self.step, gamma=self.gamma, seed=self.seed,
            ).row()  # fmt: skip
        except BadChains as error:
            said["note"] = str(error)
        return pd.DataFrame([{**said, "metric": NAME, "control": "none", "unit": "effective parameters"}])


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
    """The estimate with Student's t interval over chains. `losses`: the mean loss on each minibatch; `n`: sample
    size that beta and the unit refer to.

    Raises UserError for settings that cannot be, and `BadChains` for chains that are not finite, unmixed, or
    drifting.
    """
    if not losses or n < 3 or chains < 2 or draws < 20 or burn_in < 0 or step <= 0 or gamma < 0:
        raise UserError(
            "sampling needs a loss, n >= 3, 2 chains, 20 draws, burn_in >= 0, step > 0 and gamma >= 0"
        )
    beta_n = n / math.log(n)
    with torch.no_grad():
        centre = torch.stack([loss(weights) for loss in losses])
    traces = torch.stack([
        sample(losses, weights, centre, beta_n, draws=draws, burn_in=burn_in, step=step, gamma=gamma,
               noise=generator(seed, "llc", chain))
        for chain in range(chains)
    ])  # fmt: skip
    check_traces(traces)
    return student((beta_n * traces.mean(1)).tolist())


def sample(
    losses: Sequence[Loss],
    weights: Float[Tensor, " weight"],
    centre: Float[Tensor, " batch"],
    beta_n: float,
    *,
    draws: int,
    burn_in: int,
    step: float,
    gamma: float,
    noise: torch.Generator,
) -> Float[Tensor, " draw"]:
    """Loss above that of the start (`centre`, on each minibatch) along one chain of Langevin dynamics, the
    burn-in left out.
    """
    w, found = weights.detach().clone(), []
    for _ in range(burn_in + draws):
        k = int(torch.randint(len(losses), (1,), generator=noise))
        w.requires_grad_(True)
        value = losses[k](w)
        (slope,) = torch.autograd.grad(value, w)
        found.append((value - centre[k]).detach())
        kick = torch.randn(w.shape, generator=noise, dtype=w.dtype) * math.sqrt(step)
        w = w.detach() - step / 2 * (beta_n * slope + gamma * (w.detach() - weights)) + kick
    return torch.stack(found[burn_in:]).double()


def split_rhat(traces: Float[Tensor, "chain draw"]) -> float:
    """Gelman and Rubin's R-hat with every chain cut in two: 1 for chains that agree, larger for those that do
    not.
    """
    half = traces.shape[1] // 2
    parts = torch.cat([traces[:, :half], traces[:, -half:]])
    within = parts.var(1).mean()
    between = half * parts.mean(1).var()
    if float(within) == 0:
        return 1.0 if float(between) == 0 else math.inf
    return float((((half - 1) / half * within + between / half) / within).sqrt())


class BadChains(UserError):
    """Chains from which no coefficient may be read."""


def check_traces(traces: Float[Tensor, "chain draw"]) -> None:
    """Raises BadChains for chains from which no coefficient may be read, saying why and what to change.

    `traces`: loss above that of the start.
    """
    if not bool(torch.isfinite(traces).all()):
        raise BadChains("the chains diverged: take a smaller step")
    rhat = split_rhat(traces)
    if rhat > WORST_RHAT:
        raise BadChains(
            f"the chains have not mixed (R-hat {rhat:.2f} > {WORST_RHAT}): more draws, burn-in, or step"
        )
    if float(traces.mean()) < -0.1 * float(traces.std()):
        raise BadChains(
            "the chains found lower loss than the checkpoint: it is no local minimum; train on, or raise gamma"
        )
