"""Tabulated null distributions of the statistic of a rise: quantiles by length of a curve and strength of the noise.

`null_quantiles.tsv` holds what `interp.emergence.rise_null` simulated and writes again: one line a length and strength
of autocorrelation, with the values that are exceeded with the probabilities `EXCEEDED`, and the mean excess over the
last of them. Between two of them probabilities are interpolated; beyond the last the tail is an exponential.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

KEPT = Path(__file__).with_suffix(".tsv")
TAIL = 0.05  # probability from which the tail is an exponential
EXCEEDED = np.array([*np.arange(40, 4, -1) / 40, 0.11, 0.1, 0.09, 0.08, 0.07, 0.06, TAIL])


@dataclass(frozen=True)
class Null:
    """One null distribution: the values exceeded with the probabilities `EXCEEDED`, increasing, and the mean excess
    of larger ones over the last.
    """

    quantiles: Float[np.ndarray, " probability"]
    excess: float

    @classmethod
    def of(cls, drawn: Float[np.ndarray, " draw"]) -> Null:
        """That of a simulation."""
        quantiles = np.quantile(drawn, 1 - EXCEEDED)
        return cls(quantiles, float((drawn[drawn > quantiles[-1]] - quantiles[-1]).mean()))

    def exceeded(self, found: Float[np.ndarray, " curve"]) -> Float[np.ndarray, " curve"]:
        """Probability of a value at or above each of some; 1 at the smallest, which many curves share where few shapes
        fit (no rise is better than none).
        """
        least, start = self.quantiles[0], self.quantiles[-1]
        beyond = TAIL * np.exp(-np.maximum(found - start, 0) / self.excess)
        inside = np.where(found <= least, 1.0, np.interp(found, self.quantiles, EXCEEDED))
        return np.where(found <= start, inside, beyond)


@functools.cache
def kept() -> dict[int, tuple[Null, ...]]:
    """The tabulated nulls of every length, one for each strength."""
    found: dict[int, tuple[Null, ...]] = {}
    for line in KEPT.read_text(encoding="utf-8").splitlines()[1:]:
        length, _, excess, *quantiles = line.split("\t")
        null = Null(np.array([float(value) for value in quantiles]), float(excess))
        found[int(length)] = (*found.get(int(length), ()), null)
    return found


def write(nulls: dict[tuple[int, float], Null]) -> None:
    """Keep nulls by length and strength."""
    head = ["length", "strength", "excess", *(f"{probability:g}" for probability in EXCEEDED)]
    lines = [
        [f"{length}", f"{strength:g}", *(f"{value:.4f}" for value in (null.excess, *null.quantiles))]
        for (length, strength), null in nulls.items()
    ]
    KEPT.write_text("".join("\t".join(line) + "\n" for line in [head, *lines]), encoding="utf-8")
