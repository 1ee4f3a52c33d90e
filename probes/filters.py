"""Which spectral filter a readout applies: families of algorithms compared by likelihood, or declared
undecidable.

Owns: the model output = gain * sum_i f(λ_i) c_i q_i + noise over prompts and probe queries (c least squares
and q the query, both in the eigenbasis of S = X'X), with each family at its best steps and sizes
(`probes.families`). The gain is free because a readout can hold any multiple of an iterate. Differences are
log-likelihoods in nats; their spread is a bootstrap of whole prompts, so a family is named only if resampled
prompts would name it too. Flexibility is neither charged nor parsimony credited: what fits alike is
"indistinguishable".
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from probes import stats, tables
from probes.algorithms.iterates import Algorithm
from probes.algorithms.problems import STEPS, Step
from probes.families import Member, Observations, Scan, candidates

VERDICT_FAMILIES = ("gd", "newton", "ridge", "gd++", "cg")


class FilterConfig(BaseModel):
    """How a verdict is reached: A is named over B when the `tail` quantile of the bootstrapped log-likelihood
    difference exceeds `margin` nats (log 20: twenty to one)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    families: tuple[str, ...] = VERDICT_FAMILIES
    steps: tuple[Step, ...] = STEPS
    draws: int = 400
    tail: float = 0.05
    margin: float = math.log(20)
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Log-likelihoods (nats, at the best gain and noise) of the best member of each family.

    `draws` holds the same in resamples of whole prompts, where each family again puts its best candidate
    forward.
    """

    families: tuple[str, ...]
    best: tuple[Algorithm, ...]
    gain: tuple[float, ...]
    unexplained: tuple[float, ...]
    point: Float[Tensor, "family"]
    draws: Float[Tensor, "draw family"]
    misfit: tuple[stats.Interval, ...]
    prompts: int
    config: FilterConfig

    def difference(self, a: str, b: str) -> stats.Interval:
        """Log-likelihood of family a minus that of b, in nats, with its bootstrap interval."""
        i, j = self.families.index(a), self.families.index(b)
        both = self.draws[:, i] - self.draws[:, j]
        return stats.percentile(self.point[i] - self.point[j], both, self.prompts).one()

    def named(self, a: str, b: str) -> bool:
        """Whether a is told from b, in a's favour."""
        i, j = self.families.index(a), self.families.index(b)
        both = self.draws[:, i] - self.draws[:, j]
        return float(torch.quantile(both, self.config.tail)) > self.config.margin

    def compare(self, a: str, b: str) -> str:
        """The one of two families the data name, or "indistinguishable"."""
        return a if self.named(a, b) else b if self.named(b, a) else "indistinguishable"

    @property
    def posterior(self) -> Float[Tensor, "family"]:
        """Family posterior under equal priors, averaged over resamples of prompts (Huggins & Miller
        1912.07104): families that fit alike share it, and a family that wins by luck of the prompts does not
        get it all."""
        return torch.softmax(self.draws, dim=1).mean(0)

    @property
    def verdict(self) -> str:
        """The family told from every other, else "indistinguishable"."""
        for a in self.families:
            if all(self.named(a, b) for b in self.families if b != a):
                return a
        return "indistinguishable"

    @property
    def standing(self) -> tuple[str, ...]:
        """Families that no other is named over: what the readout could be."""
        return tuple(a for a in self.families if not any(self.named(b, a) for b in self.families if b != a))

    def table(self) -> pd.DataFrame:
        """One row a family: its best member, log-likelihood below the best, posterior, verdict."""
        rows = []
        top = float(self.point.max())
        leader = self.families[int(self.point.argmax())]
        for i, family in enumerate(self.families):
            behind = self.difference(family, leader)
            rows.append(
                {
                    "metric": "log-likelihood below the best",
                    "algorithm": family,
                    "k": self.best[i].k,
                    "unit": "nats",
                    **behind.row(),
                    "value": float(self.point[i]) - top,
                    "member": self.best[i].label,
                    "gain": self.gain[i],
                    "unexplained": self.unexplained[i],
                    "misfit": self.misfit[i].value,
                    "misfit_low": self.misfit[i].low,
                    "misfit_high": self.misfit[i].high,
                    "posterior": float(self.posterior[i]),
                    "verdict": self.verdict,
                    "standing": ", ".join(self.standing),
                }
            )
        return tables.frame(rows)


def weigh(seen: Observations, entries: dict[str, list[Member]], config: FilterConfig) -> Evidence:
    """Evidence for named lists of members (families, or one family at different numbers of steps)."""
    members = list(itertools.chain.from_iterable(entries.values()))
    owner = [name for name, group in entries.items() for _ in group]
    times, squared = seen.terms(torch.stack([member.coefficients for member in members]))
    sums = torch.cat([times, squared, seen.size[:, None]], 1)
    weights = torch.cat(list(stats.resamples(len(sums), config.draws, config.seed)))
    table = torch.cat([sums.mean(0, keepdim=True), weights @ sums])
    count = len(members)
    explained = table[:, :count].clamp_min(0).square() / table[:, count:-1].clamp_min(1e-300)
    left = 1 - explained / table[:, -1:]
    likelihood = -seen.rows / 2 * left.clamp_min(1e-15).log()
    groups = [[i for i, o in enumerate(owner) if o == name] for name in entries]
    best = [max(group, key=lambda i: float(likelihood[0, i])) for group in groups]
    by_family = torch.stack([likelihood[:, group].amax(1) for group in groups], 1)
    return Evidence(
        families=tuple(entries),
        best=tuple(members[i].algorithm for i in best),
        gain=tuple(float(table[0, i] / table[0, count + i].clamp_min(1e-300)) for i in best),
        unexplained=tuple(float(left[0, i]) for i in best),
        point=by_family[0],
        draws=by_family[1:],
        misfit=tuple(_misfit(seen, times[:, i], squared[:, i], config) for i in best),
        prompts=len(sums),
        config=config,
    )


def _misfit(seen: Observations, times: Tensor, squared: Tensor, config: FilterConfig) -> stats.Interval:
    value = float(seen.noise.sum())
    if math.isnan(value):
        return stats.Interval(
            math.nan, math.nan, math.nan, len(times), "none: too few queries to know the noise"
        )
    columns = torch.stack([times, squared, seen.size, seen.noise], 1)

    def share(means: Tensor) -> Tensor:
        cross, square, size, noise = means.unbind(1)
        return 1 - cross.square() / (square.clamp_min(1e-300) * size) - noise / size

    return stats.bootstrap(columns, share, draws=config.draws, seed=config.seed).one()


def judge(seen: Observations, config: FilterConfig) -> Evidence:
    """Evidence for every family of `config`, each at its best steps and sizes."""
    scans: dict[Step, Scan] = {}
    members = {name: candidates(seen, name, config.steps, scans=scans) for name in config.families}
    return weigh(seen, members, config)
