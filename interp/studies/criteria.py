"""When a measurement settles a claim: criteria as ranges of values, and the five verdicts.

A confidence interval inside the range reproduces the claim, one outside contradicts it, one that lies on both sides of
an edge is inconclusive, wherever the value itself lies. A value that is no number is "not measured", whatever its
interval says. A criterion carries its own text, so what is printed and what is judged cannot drift apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["reproduced", "contradicted", "inconclusive", "not measured", "not testable at this scale"]
VERDICTS: tuple[Verdict, ...] = (
    "reproduced",
    "contradicted",
    "inconclusive",
    "not measured",
    "not testable at this scale",
)
Array = Any  # numbers, or numpy arrays of many simulated ones


@dataclass(frozen=True)
class Criterion:
    """The range (least, most) in which a claim holds, ends included only where `closed`; `text` says it in words.

    `refuted_below`, `refuted_above`: where a claim of "always" or "never" is contradicted by less than what keeps it
    from being "reproduced", the value beyond which an interval contradicts it.

    >>> Criterion.within(0.9, 1.1).judge(1.0, 0.95, 1.05)
    'reproduced'
    >>> Criterion.above(0.5).judge(0.6, 0.4, 0.8)
    'inconclusive'
    >>> Criterion.above(0.5).judge(0.4, 0.3, 0.45)
    'contradicted'
    >>> Criterion.above(0.5).judge(float("nan"), 0.6, 0.8)
    'not measured'
    """

    text: str
    least: float = -math.inf
    most: float = math.inf
    closed: bool = False
    refuted_below: float | None = None
    refuted_above: float | None = None

    @staticmethod
    def above(bound: float) -> Criterion:
        return Criterion(f"95% CI above {bound:g}", least=bound)

    @staticmethod
    def below(bound: float) -> Criterion:
        return Criterion(f"95% CI below {bound:g}", most=bound)

    @staticmethod
    def within(low: float, high: float) -> Criterion:
        return Criterion(f"95% CI within [{low:g}, {high:g}]", low, high, closed=True)

    @staticmethod
    def equals(value: float) -> Criterion:
        """For figures without sampling error."""
        return Criterion(f"exactly {value:g}", value, value, closed=True)

    @staticmethod
    def always(bound: float, broken: float = 0.95) -> Criterion:
        """For a claim that something happens in every run: a share of runs.

        The lower confidence limit must lie above `bound`; a share whose upper limit lies below `broken` is not
        "always", so that runs which do otherwise contradict the claim long before they are the most.
        """
        text = f"95% CI of the share above {bound:g}; contradicted when it lies below {broken:g}"
        return Criterion(text, least=bound, refuted_below=broken)

    @staticmethod
    def never(ceiling: float, broken: float = 0.05) -> Criterion:
        """`always` turned round: for a claim that something happens in no run."""
        text = f"95% CI of the share below {ceiling:g}; contradicted when it lies above {broken:g}"
        return Criterion(text, most=ceiling, refuted_above=broken)

    def met(self, low: Array, high: Array) -> Array:
        """Whether an interval lies inside (element by element for arrays)."""
        if self.closed:
            return (low >= self.least) & (high <= self.most)
        over = (low > self.least) | (self.least == -math.inf)
        return over & ((high < self.most) | (self.most == math.inf))

    def broken(self, low: Array, high: Array) -> Array:
        """Whether an interval lies outside (element by element for arrays)."""
        least = self.least if self.refuted_below is None else self.refuted_below
        most = self.most if self.refuted_above is None else self.refuted_above
        if self.closed:
            return (high < least) | (low > most)
        return (high <= least) | (low >= most)

    def judge(self, value: float, low: float, high: float) -> Verdict:
        """Verdict on a value with its confidence limits (equal ones where a figure has no sampling error).

        Limits that are unknown (NaN), or of a range that is no confidence interval and is given as NaN, settle
        nothing: "inconclusive". Limits that do not hold the value raise ValueError: something is mixed up.
        """
        if math.isnan(value):
            return "not measured"
        if math.isnan(low) or math.isnan(high):
            return "inconclusive"
        slack = 1e-9 * max(1.0, abs(value)) if math.isfinite(value) else 0.0
        if low > value + slack or high < value - slack:
            raise ValueError(f"the limits [{low:g}, {high:g}] do not hold the value {value:g}")
        if bool(self.met(low, high)):
            return "reproduced"
        return "contradicted" if bool(self.broken(low, high)) else "inconclusive"
