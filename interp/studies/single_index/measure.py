"""Escape times of sequence single-index students, as the study measures them: medians, scalings, gains, shares.

Times come from the exact reduced chains. Intervals resample replicas (every network and dimension on its own); a
replica censored at the horizon is an infinite time, and medians are Kaplan-Meier's.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from probes.stats import LEVEL, Interval, percentile, share
from tasks.links import parse_link
from tasks.theory.escape import Net, UnstableRate
from tasks.theory.escapes import Escapes
from tasks.theory.reduced import EscapeSetting, simulate_attention, simulate_net
from tasks.theory.single_index import opposite, positional_semantic

DRAWS = 400
Medians = Callable[[Sequence[float]], float]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A link on some tokens, its student and the rate as a function of the dimension."""

    link: str
    length: int
    activation: str = "relu"
    tied: bool = True
    threshold: float = 0.5

    def net(self) -> Net:
        """The student."""
        return Net(parse_link(self.link, self.length), self.length, self.activation, self.tied)

    def but(self, **changes: object) -> Problem:
        """The same problem with other settings."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def escape(
        self,
        d: int,
        rate: float,
        replicas: int,
        steps: int,
        seed: int,
        by_token: bool = False,
        every: int = 0,
    ) -> Escapes:
        """Escape from the overlap 1/sqrt(d). The stability warning is left to the reader of the row's note."""
        setting = EscapeSetting(d, rate, self.threshold, 1 / math.sqrt(d))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnstableRate)
            return simulate_net(self.net(), setting, replicas, steps, seed, by_token, every)


LINEAR = Problem("sum(z)/sqrt(L)", 4)
SQUARE = Problem("sum(He2(z))/sqrt(2*L)", 4)
CUBIC = Problem("He3(z1)/sqrt(6)", 1, "minus-tanh")
STAIRS = Problem("sqrt(2)*(z1 + z1*z2)", 2, tied=False, threshold=0.4)
CONTROL = STAIRS.but(link="sqrt(2)*z1*z2")
CANCELLING = Problem("z1 - z2", 2, threshold=0.3)


def middle(times: Float[ndarray, " n"]) -> float:
    """The lower median; with one horizon for all it is the Kaplan-Meier median, infinite if half are censored."""
    return float(np.sort(times)[(len(times) - 1) // 2])


def resampled(
    statistic: Medians, samples: Sequence[Float[ndarray, " n"]], seed: int = 0, level: float = LEVEL
) -> Interval:
    """A statistic of the medians of several samples, with its bootstrap interval over replicas (each sample alone)."""
    rng = np.random.default_rng(seed)
    value = statistic([middle(s) for s in samples])
    drawn = [statistic([middle(rng.choice(s, len(s))) for s in samples]) for _ in range(DRAWS)]
    found = percentile(torch.tensor(value), torch.tensor(drawn), min(map(len, samples)), level).one()
    return dataclasses.replace(found, method=f"bootstrap of {found.n} replicas")


def slope(x: Sequence[float | int], y: Sequence[float | int]) -> float:
    """Least-squares slope of log y on log x; not a number when a time is infinite."""
    if not np.isfinite(y).all():
        return math.nan
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def scaling(sizes: Sequence[int], order: int) -> Medians:
    """The slope that should be 1 for exponents 1 and 2 (there of tau / log(sqrt(d)/2)), SIE - 1 beyond."""
    law = [math.log(math.sqrt(d) / 2) if order == 2 else 1.0 for d in sizes]
    return lambda medians: slope(sizes, [m / w for m, w in zip(medians, law, strict=True)])


def semantic_share(omega: float, d: int, replicas: int, steps: int, seed: int) -> Interval:
    """Share of attention replicas that reach |(m, e)| = 0.8 with |m| > |e| (a = 1, rate 0.1, random start)."""
    setting = EscapeSetting(d, 0.1, 0.8)
    found = simulate_attention(
        positional_semantic(omega, 1.0), setting, opposite(2), "identity", replicas, steps, seed
    )
    return share(int((np.abs(found.final[:, 0]) > np.abs(found.final[:, 1])).sum()), replicas)
