"""Times at which simulated chains escape, some of them right-censored at the horizon, and their median."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import CensoredData, ecdf


@dataclasses.dataclass(frozen=True)
class Escapes:
    """First-crossing times of replicas: column 0 alone, or one column a token; `path` holds overlaps at `steps`."""

    times: Float[ndarray, "replica column"]
    horizon: int
    final: Float[ndarray, "replica state"]
    steps: Int[ndarray, " kept"]
    path: Float[ndarray, "kept replica state"]

    @property
    def censored(self) -> Float[ndarray, " column"]:
        """Share of replicas that had not crossed at the horizon, for each column."""
        return np.isinf(self.times).mean(0)

    def median(self, column: int = 0) -> float:
        """Kaplan-Meier median of the crossing time; infinite when half of the replicas or more are censored."""
        return survival_median(self.times[:, column], self.horizon)


def survival_median(times: Float[ndarray, " n"], horizon: Float[ndarray, " n"] | float | int) -> float:
    """The first time at which the Kaplan-Meier survival is at most one half; infinite times are censored at `horizon`.

    >>> survival_median(np.array([3.0, 5.0, np.inf, 9.0]), 10.0)
    5.0
    """
    censored = np.isinf(times)
    if censored.all():
        return math.inf
    observed = np.where(censored, horizon, times)
    curve = ecdf(CensoredData.right_censored(observed, censored)).sf
    below = curve.probabilities <= 0.5 + 1e-12
    return float(curve.quantiles[below.argmax()]) if below.any() else math.inf
