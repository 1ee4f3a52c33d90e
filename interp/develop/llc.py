"""Local learning coefficient by SGLD: how degenerate the loss is around a checkpoint, with checks on the
chains.

Estimator (Lau et al. 2023, arXiv 2308.12108): n beta (E[loss] - loss at w*), the mean taken over draws from
exp(-n beta L(w) - gamma |w - w*|^2 / 2), beta = 1 / log n. Units: effective parameters (d/2 at a
non-degenerate minimum with d weights, lower where the loss is flatter). The localisation pulls it down where
n beta times the curvature does not dwarf gamma. Gradients are those of one fixed batch. Chains that have not
mixed (split R-hat over `WORST_RHAT`), drift, or fall well below the loss at w* are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from probes.stats import Interval, student
from tasks import UserError
from tasks.base import generator

if TYPE_CHECKING:
    from interp.run import Run

WORST_RHAT = 1.1
Loss = Callable[[Tensor], Tensor]


def local_learning_coefficient(
    loss: Loss,
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
    """The estimate with Student's t interval over chains. `n`: sample size that beta and the unit refer to.

    Raises UserError for settings that cannot be, and for chains that are bad: not finite, unmixed, or
    drifting.
    """
    if n < 3 or chains < 2 or draws < 20 or burn_in < 0 or step <= 0 or gamma < 0:
        raise UserError("sampling needs n >= 3, 2 chains, 20 draws, burn_in >= 0, step > 0 and gamma >= 0")
    centre = float(loss(weights).detach())
    traces = torch.stack([
        sample(loss, weights, n, draws=draws, burn_in=burn_in, step=step, gamma=gamma, seed=seed, chain=chain)
        for chain in range(chains)
    ])  # fmt: skip
    check_traces(traces, centre)
    scale = n / math.log(n)
    return student((scale * (traces.mean(1) - centre)).tolist())


def llc_table(
    run: Run,
    steps: Sequence[int] | str = "all",
    *,
    prompts: int = 128,
    n: int = 1000,
    chains: int = 4,
    draws: int = 200,
    burn_in: int = 100,
    step: float = 5e-5,
    gamma: float = 1e4,
    seed: int = 0,
) -> pd.DataFrame:
    """The coefficient at each checkpoint, on the axis of every other curve of the run.

    A checkpoint whose chains are refused keeps its row, without a value and with the reason in `note`: it is
    never filled in. In the middle of training most weights are no minimum, so that the figure depends on
    `gamma` and is to be compared between checkpoints of one call only. The batch is that of the curvature.
    Raises UserError for settings that cannot be, or an unknown step.
    """
    from interp.develop.landscape import run_objective

    objective = run_objective(run, prompts)
    rows = []
    for at in run.resolve(steps):
        weights = objective.flat(run.folder.weights(at))
        said: dict[str, object] = {"step": at, "value": math.nan, "n": chains, "note": ""}
        try:
            found = local_learning_coefficient(
                objective.loss, weights, n, chains=chains, draws=draws, burn_in=burn_in, step=step, gamma=gamma,
                seed=seed,
            )  # fmt: skip
            said |= found.row()
        except BadChains as error:
            said["note"] = str(error)
        rows.append(
            {"run": run.name, "seed": run.config.seed, **said, "metric": "local learning coefficient"}
        )
    return pd.DataFrame(rows).assign(control="none", unit="effective parameters")


def sample(
    loss: Loss,
    weights: Float[Tensor, " weight"],
    n: int,
    *,
    draws: int,
    burn_in: int,
    step: float,
    gamma: float,
    seed: int,
    chain: int,
) -> Float[Tensor, " draw"]:
    """Losses along one chain of Langevin dynamics started at the weights, the burn-in left out."""
    gen = generator(seed, "llc", chain)
    beta_n = n / math.log(n)
    w, found = weights.detach().clone(), []
    for _ in range(burn_in + draws):
        w.requires_grad_(True)
        value = loss(w)
        (slope,) = torch.autograd.grad(value, w)
        found.append(value.detach())
        noise = torch.randn(w.shape, generator=gen, dtype=w.dtype) * math.sqrt(step)
        w = w.detach() - step / 2 * (beta_n * slope + gamma * (w.detach() - weights)) + noise
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


def check_traces(traces: Float[Tensor, "chain draw"], centre: float) -> None:
    """Raises BadChains for chains from which no coefficient may be read, saying why and what to change."""
    if not bool(torch.isfinite(traces).all()):
        raise BadChains("the chains diverged: take a smaller step")
    rhat = split_rhat(traces)
    if rhat > WORST_RHAT:
        raise BadChains(
            f"the chains have not mixed (R-hat {rhat:.2f} > {WORST_RHAT}): more draws, burn-in, or step"
        )
    spread = traces.std()
    if float(traces.mean()) < centre - 0.1 * float(spread):
        raise BadChains(
            "the chains found lower loss than the checkpoint: it is no local minimum; train on, or raise gamma"
        )
