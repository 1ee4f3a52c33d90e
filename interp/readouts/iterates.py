"""Every algorithm of `probes.algorithms.iterates` by name, on prompts of a regression task.

Owns what a family needs to know of the distribution behind the prompts: "preconditioned-gd" is gradient descent
preconditioned by the inverse covariance of x, "bayes" the posterior mean; both take the distribution that the run was
trained on, turned into the eigenbasis of each prompt. The other families know the examples alone.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from probes import rivals
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import GIVEN, Algorithm, Problems
from probes.rivals import LADDERED, RIVALS, Ladder
from tasks import UserError
from tasks.complaints import nearest
from tasks.regression import InContextRegression
from tasks.regression_pool import posterior_weights

BAYES, PRECONDITIONED, (POOLED,) = "bayes", "preconditioned-gd", GIVEN
FAMILIES = (*LADDERED, PRECONDITIONED, BAYES)


def check_families(families: tuple[str, ...]) -> None:
    """Raises UserError for no family, or one that is not known."""
    for family in families:
        if family not in FAMILIES:
            raise UserError(f"no algorithm {family!r}{nearest(family, FAMILIES)}")
    if not families:
        raise UserError(f"no algorithm was asked for: known are {', '.join(FAMILIES)}")


@dataclasses.dataclass(frozen=True)
class Posed:
    """Prompts as least-squares problems at some context lengths; `distribution`: the task that the run learnt."""

    distribution: InContextRegression
    x: Float[Tensor, "prompt point d"]
    y: Float[Tensor, "prompt point"]
    basis: Float[Tensor, "prompt d d"]
    contexts: tuple[int, ...]

    @cached_property
    def plain(self) -> Problems:
        """The problems as they stand."""
        return Problems.of(self.x, self.y, self.contexts)

    @cached_property
    def whitened(self) -> Problems:
        """The same, preconditioned by the inverse covariance of the distribution."""
        basis = self.basis.double()
        inverse = basis / torch.tensor(self.distribution.spectrum, dtype=torch.float64) @ basis.mT
        return Problems.of(self.x, self.y, self.contexts, inverse)

    @cached_property
    def pooled(self) -> dict[str, Float[Tensor, "prompt d"]]:
        """Weight vectors of dMMSE at the first context, by its name; empty for a run without a pool of noisy tasks."""
        law, t = self.distribution, self.contexts[0]
        if not (law.pool and law.noise):
            return {}
        return {POOLED: posterior_weights(law, self.x[:, :t], self.y[:, :t], self.basis)}

    def problems(self, family: str) -> Problems:
        """What a family works on."""
        by_prior = family == BAYES and self.distribution.prior == "inverse-covariance"
        return self.whitened if family == PRECONDITIONED or by_prior else self.plain

    def ladder(self, labels: Float[Tensor, "prompt context"], family: str) -> Ladder:
        """A family's steps, its sizes tuned to `labels`. Raises UserError where a law has no posterior mean."""
        if family == BAYES:
            self.distribution.require_posterior()
            return Ladder(
                BAYES, (0,), (algorithms.bayes(self.distribution.noise, self.distribution.weight_scale),)
            )
        if family == PRECONDITIONED:
            return dataclasses.replace(rivals.ladder(self.whitened, labels, "gd"), family=PRECONDITIONED)
        return rivals.ladder(self.plain, labels, family)

    def predictions(self, rung: Ladder) -> Float[Tensor, "step prompt context"]:
        """What every step of a ladder predicts."""
        return algorithms.predictions(self.problems(rung.family), rung.members)

    def weights(self, rung: Ladder) -> Float[Tensor, "step prompt context d"]:
        """Weight vectors of every step of a ladder."""
        return algorithms.weights(self.problems(rung.family), rung.members)

    @property
    def least_squares(self) -> Float[Tensor, "prompt context"]:
        """What minimum-norm least squares predicts."""
        return algorithms.predictions(self.plain, [Algorithm("ols")])[0]


__all__ = ["BAYES", "FAMILIES", "POOLED", "PRECONDITIONED", "RIVALS", "Posed", "check_families"]
