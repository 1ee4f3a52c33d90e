"""An interval, and many of one method at once: a value, confidence limits, from how many units and by which method.

Where no interval of the level exists the limits are nan and the method says "none", or they are the smallest and the
largest value and the method is `RANGE`: a range covers nothing at a stated level and is not judged as if it did.
"""

from __future__ import annotations

import dataclasses
import math

from jaxtyping import Float
from torch import Tensor

LEVEL = 0.95
RANGE = "range"


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value with its confidence limits (nan where there are none), from `n` units, by a named method."""

    value: float
    low: float
    high: float
    n: int
    method: str

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.value:.3g} (no interval, n={self.n})"
        word = f"{RANGE} " if self.is_range else ""
        return f"{self.value:.3g} [{word}{self.low:.3g}, {self.high:.3g}]"

    @property
    def is_range(self) -> bool:
        """Whether the limits are the smallest and the largest value, which cover nothing at a stated level."""
        return self.method == RANGE

    def row(self) -> dict[str, float | int]:
        """The table columns `value`, `ci_low`, `ci_high`, `n`."""
        return {"value": self.value, "ci_low": self.low, "ci_high": self.high, "n": self.n}


@dataclasses.dataclass(frozen=True)
class Intervals:
    """Many intervals of one method at once; indexing gives an `Interval`."""

    value: Float[Tensor, "*cell"]
    low: Float[Tensor, "*cell"]
    high: Float[Tensor, "*cell"]
    n: int
    method: str

    def __getitem__(self, cell: int | tuple[int, ...]) -> Interval:
        return Interval(
            float(self.value[cell]), float(self.low[cell]), float(self.high[cell]), self.n, self.method
        )

    def one(self) -> Interval:
        """The interval of a single statistic."""
        return self[()]
