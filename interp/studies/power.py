"""Would a criterion tell a true claim from a false one? Its chance of being met in either case, by simulation.

A design says what the measured value is when the claim is true and when it is false (the nearest rival worth telling
from it), and how it is estimated: a share of runs, a mean over training seeds, a median over seeds by its signs, an
estimate with a standard error, a figure without sampling error, or a simulation of the whole measurement on planted
truth whose result is kept (`measured/power.json`, by `python -m interp.studies.newton.measure_planted`). "Met" is the
verdict "reproduced". Monte Carlo error is at most .016 (two standard errors, 4,000 draws); shares are exact.

What it does not show: the spread between seeds is that of the quick ledger of November 2026 (three seeds where a design
says no other n), so the power is itself rough; and a design is an assumption about what the truth would look like.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.special import bdtr, ndtri, stdtrit
from scipy.stats import binom

from interp.studies.criteria import Criterion
from interp.studies.possible import NONE, Bounds
from probes import stats
from probes.seeds import MOST_FOR_A_RANGE, within
from probes.stats import LEVEL

DRAWS = 4000
TEST = 0.5  # a criterion that is met less often than this when the claim is true is no test
PLANTED = Path(__file__).parent / "measured" / "power.json"


class Power(BaseModel):
    """Chances that the criterion is met, both between 0 and 1: `if_true` is the power, `if_false` the size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    if_true: float
    if_false: float

    @property
    def shown(self) -> str:
        """Both chances in percent, as a cell of a table."""
        return f"{self.if_true:.0%} / {self.if_false:.0%}"


@runtime_checkable
class Design(Protocol):
    """How a claim's value is estimated, and what it is when the claim is true and when it is false."""

    @property
    def n(self) -> int:
        """Units that the quick scale plans."""
        ...

    def power(self, criterion: Criterion, n: int, bounds: Bounds = NONE) -> Power | None:
        """Chances that the criterion is met with `n` units of a figure inside `bounds`; None without units."""
        ...


@dataclass(frozen=True)
class Shares:
    """A share of `n` independent runs with its Clopper-Pearson interval: exact, the spread follows from n."""

    true: float | int
    false: float | int
    n: int

    def power(self, criterion: Criterion, n: int, bounds: Bounds = NONE) -> Power | None:
        if n < 1:
            return None
        found = [stats.share(k, n) for k in range(n + 1)]
        met = np.array([bool(criterion.met(one.low, one.high)) for one in found])
        return _power(
            *(float((binom.pmf(np.arange(n + 1), n, p) * met).sum()) for p in (self.true, self.false))
        )


@dataclass(frozen=True)
class Means:
    """A mean over `n` seeds as rows have it, on `scale`, on which seeds are normal with spread `sd` (cut off at the
    bounds of what is possible).
    """

    true: float | int
    false: float | int
    sd: float | int
    n: int = 4
    scale: stats.Scale = "linear"

    def power(self, criterion: Criterion, n: int, bounds: Bounds = NONE) -> Power | None:
        if n < 2:
            return None
        unit = np.random.default_rng(0).standard_normal((DRAWS, n))
        drawn = (_back(_forth(x, self.scale) + self.sd * unit, self.scale) for x in (self.true, self.false))
        return _power(*(_met(criterion, values, self.scale, bounds) for values in drawn))


@dataclass(frozen=True)
class Signs:
    """A median over `n` seeds with its exact order statistics, whose criterion has one bound: exact, and free of scale.

    `true` and `false`: the chance that one seed lies on the criterion's side of the bound. The interval clears the
    bound when enough seeds do; fewer than 6 seeds have a range, which settles nothing.
    """

    true: float | int
    false: float | int
    n: int

    def power(self, criterion: Criterion, n: int, bounds: Bounds = NONE) -> Power | None:
        if n < 1:
            return None
        inner = int(np.sum(bdtr(np.arange(n), n, 0.5) <= (1 - LEVEL) / 2))
        if inner == 0:
            return _power(0.0, 0.0)
        return _power(*(float(binom.sf(n - inner, n, p)) for p in (self.true, self.false)))


@dataclass(frozen=True)
class Estimates:
    """An estimate with a standard error, near normal (a bootstrap over many prompts or replicas, draws of a batch).

    `se` is that of `n` units and goes with the root of their number; with n = 1 it is that of any row.
    """

    true: float | int
    false: float | int
    se: float | int
    scale: stats.Scale = "linear"
    n: int = 1

    def power(self, criterion: Criterion, n: int, bounds: Bounds = NONE) -> Power | None:
        half = float(ndtri((1 + LEVEL) / 2))
        se = self.se * math.sqrt(self.n / n) if self.n > 1 and n > 0 else self.se
        unit = np.random.default_rng(0).standard_normal(DRAWS)
        chances = []
        for truth in (self.true, self.false):
            middle = _forth(truth, self.scale) + se * unit
            ends = (_back(middle + sign * half * se, self.scale) for sign in (-1, 1))
            chances.append(float(np.mean(criterion.met(*ends))))
        return _power(*chances)


@dataclass(frozen=True)
class Exact:
    """A figure without sampling error: what it is when the claim is true, and under the nearest wrong form."""

    true: float | int
    false: float | int
    n: int = 1

    def power(self, criterion: Criterion, n: int, bounds: Bounds = NONE) -> Power | None:
        return _power(*(float(bool(criterion.met(at, at))) for at in (self.true, self.false)))


@dataclass(frozen=True)
class Planted:
    """The whole measurement, simulated on planted truth and kept under a name; the figures of seeds are drawn from it.

    The file holds, for the claim true and false, figures of single nets; here `n` of them are drawn at a time.
    """

    name: str
    n: int = 4

    def power(self, criterion: Criterion, n: int, bounds: Bounds = NONE) -> Power | None:
        kept = planted_figures().get(self.name)
        if kept is None or n < 2:
            return None
        rng = np.random.default_rng(0)
        drawn = (rng.choice(np.array(kept[side], dtype=float), (DRAWS, n)) for side in ("true", "false"))
        return _power(*(_met(criterion, values, "linear", bounds) for values in drawn))


@dataclass(frozen=True)
class PlantedShares:
    """As `Planted`, for a share of nets with Clopper-Pearson interval; figures are 1 where a net has the property."""

    name: str
    n: int = 4

    def power(self, criterion: Criterion, n: int, bounds: Bounds = NONE) -> Power | None:
        kept = planted_figures().get(self.name)
        if kept is None:
            return None
        true, false = (float(np.mean(kept[side])) for side in ("true", "false"))
        return Shares(true, false, n).power(criterion, n)


def _met(criterion: Criterion, values: np.ndarray, scale: stats.Scale, bounds: Bounds) -> float:
    """Share of simulated studies (a row a study, a column a seed) that meet a criterion; a range meets none."""
    n = values.shape[1]
    if n <= MOST_FOR_A_RANGE:
        return 0.0
    t = float(stdtrit(n - 1, (1 + LEVEL) / 2)) / math.sqrt(n)
    if scale != "linear":
        y = np.log(values) if scale == "log" else np.log(values) - np.log1p(-values)
        middle, half = y.mean(1), t * y.std(1, ddof=1)
        return float(np.mean(criterion.met(_back(middle - half, scale), _back(middle + half, scale))))
    x = values.clip(*bounds)
    return float(np.mean(criterion.met(*within(x.mean(1), t * x.std(1, ddof=1), *bounds)[:2])))


@functools.cache
def planted_figures(path: Path = PLANTED) -> dict[str, dict[str, list[float]]]:
    """Figures of simulated nets by name of the simulation and by whether the claim is true of them."""
    return json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else {}


def _power(true: float, false: float) -> Power:
    return Power(if_true=round(true, 3), if_false=round(false, 3))


def _forth(value: float | int, scale: stats.Scale) -> float:
    if scale == "linear":
        return value
    if not value > 0 or (scale == "logit" and not value < 1):
        return math.nan
    return math.log(value) if scale == "log" else math.log(value / (1 - value))


def _back(value: np.ndarray, scale: stats.Scale) -> np.ndarray:
    if scale == "linear":
        return value
    return np.exp(np.clip(value, -700, 700)) if scale == "log" else 1 / (1 + np.exp(-value))
