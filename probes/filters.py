"""Which algorithm a readout applies: how far every family's best member is from its outputs, beyond query noise.

Owns: the model output = gain * q'w(k, sizes) + noise over prompts and probe queries, w written in the eigenbasis of
S = X'X, and the `misfit` of a family: the share of the outputs' mean square that its best member does not explain
beyond what is not linear in the query at all. 0 is the chance level of the truth (an estimate may be negative); the
gain is free because a readout can hold any multiple of an iterate. Steps, sizes and gain are tuned on the prompts
of one fold and scored on those of the others (cross-fitting), so a family with more sizes gains nothing by them.
Intervals are Student's t of the prompts' influences with their skew taken out, at whatever level the number of sites
and checkpoints asks for. What is concluded is in `probes.verdict`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cached_property

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from probes import free_filter, stats
from probes.algorithms.iterates import Algorithm, coefficients
from probes.algorithms.problems import STEPS, Step
from probes.families import RICHARDSON, Member, Scan, candidates, retuned
from probes.free_filter import FreeFilter
from probes.observations import Observations
from tasks.errors import UserError

CORE = ("gd", "newton", "ridge", "gd++", "cg")
VERDICT_FAMILIES = (*CORE, "ols", "momentum", "chebyshev", "svd", "flow", RICHARDSON, "ogd")


class FilterConfig(BaseModel):
    """How a verdict is reached: a family fits where the upper limit of its misfit lies below `tau`, a share of the
    outputs' mean square. Limits are one-sided at `level` / `tests` (Bonferroni), `tests` being the sites times the
    checkpoints that are judged together. With one fold sizes are tuned and scored on the same prompts (quick). `draws`
    and `seed` are of the bootstrap of a filter's shape (`probes.filter_shape`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    families: tuple[str, ...] = VERDICT_FAMILIES
    steps: tuple[Step, ...] = STEPS
    tau: float = Field(default=0.01, gt=0, lt=1)
    level: float = Field(default=0.05, gt=0, lt=1)
    tests: int = Field(default=1, ge=1)
    folds: int = Field(default=2, ge=1)
    nodes: int = Field(default=12, ge=2)
    draws: int = Field(default=400, ge=2)
    seed: int = 0

    @property
    def alpha(self) -> float:
        """Level of one limit."""
        return self.level / self.tests


@dataclasses.dataclass(frozen=True)
class FilterFit:
    """A family's best member on all prompts, and what members tuned on other prompts leave unexplained of each."""

    family: str
    best: Algorithm
    gain: float
    left: Float[Tensor, "prompt"]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """How well every family and the free filter fit the outputs `seen`."""

    seen: Observations
    fits: tuple[FilterFit, ...]
    free: FreeFilter
    config: FilterConfig

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(fit.family for fit in self.fits)

    def of(self, family: str) -> FilterFit:
        """The fit of a family."""
        return self.fits[self.families.index(family)]

    def share(self, left: Float[Tensor, "prompt"], level: float = stats.LEVEL) -> stats.Interval:
        """Misfit of what is `left` unexplained of each prompt: a share of the outputs' mean square, two-sided.

        NaN where there are too few queries to know the noise.
        """
        if not bool(torch.isfinite(self.seen.noise).all()):
            return stats.Interval(math.nan, math.nan, math.nan, len(self.seen), "none: too few queries")
        return stats.quotient(left - self.seen.noise, self.seen.size, level=level).one()

    def misfit(self, family: str) -> stats.Interval:
        """Misfit of a family, 95% CI."""
        return self.share(self.of(family).left)

    @cached_property
    def free_misfit(self) -> stats.Interval:
        """Misfit of the free filter, 95% CI."""
        return self.share(self.free.left)

    @cached_property
    def smooth(self) -> stats.Interval:
        """Share of the outputs that is a smooth function of the query but not a linear one, 95% CI."""
        if not bool(torch.isfinite(self.seen.smooth).all()):
            return stats.Interval(math.nan, math.nan, math.nan, len(self.seen), "none: too few queries")
        return stats.quotient(self.seen.smooth, self.seen.size).one()

    @property
    def explains_nothing(self) -> bool:
        """Whether the best family's share explained is not shown to be above 0 (of too few prompts nothing is said)."""
        gone = self.seen.size - self.of(self.order[0]).left
        return self._one_sided(gone).low <= 0

    @property
    def bent(self) -> bool:
        """Whether a smooth function of the query that is not linear makes up tau of the outputs or more (and is shown
        to be there).
        """
        if not bool(torch.isfinite(self.seen.smooth).all()):
            return False
        found = self._one_sided(self.seen.smooth)
        return found.low > 0 and found.value >= self.config.tau

    def _one_sided(self, top: Float[Tensor, "prompt"]) -> stats.Interval:
        """A share of the outputs whose ends are each one-sided limits at the corrected level."""
        return stats.quotient(top, self.seen.size, level=1 - 2 * self.config.alpha).one()

    def limits(self, left: Float[Tensor, "prompt"]) -> tuple[float, float]:
        """Lower and upper limit of a misfit, each one-sided at the corrected level (-inf and inf where unknown)."""
        found = self.share(left, 1 - 2 * self.config.alpha)
        return (-math.inf, math.inf) if math.isnan(found.low) else (found.low, found.high)

    def fitting(self, left: Float[Tensor, "prompt"]) -> bool:
        """Whether a misfit is below tau, at the corrected level."""
        return self.limits(left)[1] < self.config.tau

    def worse(self, family: str, than: str) -> bool:
        """Whether a family misfits by more than another, at the corrected level."""
        more = self.of(family).left - self.of(than).left
        if not bool((more != 0).any()):
            return False
        return self._one_sided(more).low > 0

    def difference(self, family: str, than: str) -> stats.Interval:
        """Misfit of a family minus that of another, 95% CI, paired over prompts."""
        return stats.quotient(self.of(family).left - self.of(than).left, self.seen.size).one()

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Families by ascending misfit."""
        return tuple(f.family for f in sorted(self.fits, key=lambda f: float(f.left.sum())))


def judge(
    seen: Observations,
    config: FilterConfig,
    others: Mapping[str, Observations] | None = None,
    given: Mapping[str, Float[Tensor, "prompt d"]] | None = None,
) -> Evidence:
    """Evidence for every family of `config` and the free filter.

    `others` are families that run on other problems than X'X, each with the same outputs observed there:
    "preconditioned-gd" with those of P^(1/2) X'X P^(1/2). `given` are rivals without sizes, as the weight vectors that
    they have on these prompts: "dMMSE" of a pool of tasks.
    """
    scans: dict[Step, Scan] = {}
    entries = {name: candidates(seen, name, config.steps, scans=scans) for name in config.families}
    evidence = weigh(seen, entries, config)
    folds = split(len(seen), config.folds)
    more = [
        _fit(own, name, candidates(own, "gd", config.steps), folds, {})
        for name, own in (others or {}).items()
    ]
    more += [_fit_given(seen, name, weights, folds) for name, weights in (given or {}).items()]
    return dataclasses.replace(evidence, fits=(*evidence.fits, *more))


def weigh(seen: Observations, entries: Mapping[str, list[Member]], config: FilterConfig) -> Evidence:
    """Evidence for named lists of members (families, or one family at different numbers of steps)."""
    folds = split(len(seen), config.folds)
    shared: dict[int, dict[Step, Scan]] = {}
    fits = tuple(_fit(seen, name, members, folds, shared) for name, members in entries.items())
    return Evidence(seen, fits, free_filter.fit(seen, folds, config.nodes), config)


def split(prompts: int, folds: int) -> list[tuple[Tensor, Tensor]]:
    """Prompts to tune on and prompts to score, for each fold (all and all, if there is one).

    Raises UserError for more folds than prompts.
    """
    every = torch.arange(prompts)
    if folds == 1:
        return [(every, every)]
    if folds > prompts:
        raise UserError(f"{prompts} prompts cannot be split into {folds} folds: ask more prompts")
    return [(every[every % folds != i], every[every % folds == i]) for i in range(folds)]


def _fit(
    seen: Observations,
    name: str,
    members: list[Member],
    folds: list[tuple[Tensor, Tensor]],
    shared: dict[int, dict[Step, Scan]],
) -> FilterFit:
    """Kinds and numbers of steps are those of the best members on all prompts, sizes and gain those of each fold."""
    whole, gain, left = _best(seen, members)
    if len(folds) == 1:
        return FilterFit(name, whole, gain, left)
    left = torch.empty_like(left)
    for i, (train, test) in enumerate(folds):
        fitted = _part(seen, train, i)
        own = [dataclasses.replace(m, coefficients=m.coefficients[train]) for m in members]
        algorithm, size, _ = _best(fitted, retuned(fitted, own, shared.setdefault(i, {})))
        left[test] = remainder(_part(seen, test, -1 - i), algorithm, size)
    return FilterFit(name, whole, gain, left)


def _fit_given(
    seen: Observations, name: str, weights: Float[Tensor, "prompt d"], folds: list[tuple[Tensor, Tensor]]
) -> FilterFit:
    """A rival whose weights are given: the gain alone is tuned."""
    own = Member(Algorithm(name), (seen.problems.basis[:, 0].mT @ weights.double()[..., None])[..., 0])
    times, squared, gains = explained(seen, [own])
    left = torch.empty_like(seen.size)
    for train, test in folds:
        gain = times[train].sum().clamp_min(0) / squared[train].sum().clamp_min(1e-300)
        left[test] = seen.size[test] - 2 * gain * times[test, 0] + gain**2 * squared[test, 0]
    return FilterFit(name, own.algorithm, float(gains[0]), left)


def _part(seen: Observations, prompts: Tensor, fold: int) -> Observations:
    """The prompts of a fold, which keep what is computed of them and their queries for other outputs."""
    frames = seen.frames.setdefault(f"fold {fold}, {len(prompts)} prompts", {})
    return dataclasses.replace(seen.part(prompts), frames=frames)


def _best(seen: Observations, members: list[Member]) -> tuple[Algorithm, float, Float[Tensor, "prompt"]]:
    """The best member on these observations, its gain, and what it leaves unexplained of each prompt."""
    times, squared, gains = explained(seen, members)
    i = int((seen.size.sum() - gains * times.sum(0)).argmin())
    gain = float(gains[i])
    return members[i].algorithm, gain, seen.size - 2 * gain * times[:, i] + gain**2 * squared[:, i]


def explained(
    seen: Observations, members: list[Member]
) -> tuple[Float[Tensor, "prompt member"], Float[Tensor, "prompt member"], Float[Tensor, "member"]]:
    """Terms of each member with its best gain (0 where an output would have to be turned round)."""
    times, squared = seen.terms(torch.stack([member.coefficients for member in members]))
    gains = times.sum(0).clamp_min(0) / squared.sum(0).clamp_min(1e-300)
    return times, squared, gains


def remainder(seen: Observations, algorithm: Algorithm, gain: float) -> Float[Tensor, "prompt"]:
    """What a stated member leaves unexplained of each prompt."""
    times, squared = seen.terms(coefficients(seen.problems, [algorithm])[:, :, 0])
    return seen.size - 2 * gain * times[:, 0] + gain**2 * squared[:, 0]
