"""At which checkpoints a page measures what is dear: the first, the last, and those between which curves change most.

The change between two checkpoints is the mean over curves of the difference, each curve's as a share of its range. The
stretch with the most change is cut in half, again and again, until there are as many checkpoints as may be: a jump ends
up between two neighbours. What it does not see: a change of what was not among the curves.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

MOST = 16


def where_changing(tables: Sequence[pd.DataFrame], steps: Sequence[int], most: int = MOST) -> tuple[int, ...]:
    """At most `most` (2 or more) of the steps, increasing; all where there are no more.

    `tables` have a `step`, a `value` and whatever tells curves apart; rows of controls and without a step do not count.
    """
    if len(steps) <= most:
        return tuple(steps)
    passed = _passed(tables, steps)
    chosen = [0, len(steps) - 1]
    while len(chosen) < most:
        stretches = [(i, j) for i, j in itertools.pairwise(chosen) if j - i > 1]
        first, last = max(stretches, key=lambda ends: (passed[ends[1]] - passed[ends[0]], ends[1] - ends[0]))
        middle = _halving(passed, first, last)
        chosen = sorted([*chosen, middle])
    return tuple(steps[place] for place in chosen)


def _halving(passed: np.ndarray, first: int, last: int) -> int:
    """The place between two that comes nearest to halving the change; the middle where there is none."""
    if passed[last] <= passed[first]:
        return (first + last) // 2
    half = (passed[first] + passed[last]) / 2
    over = first + int(np.argmax(passed[first : last + 1] >= half))
    inside = [place for place in (over, over - 1) if first < place < last]
    return min(inside, key=lambda place: abs(passed[place] - half))


def _passed(tables: Sequence[pd.DataFrame], steps: Sequence[int]) -> np.ndarray:
    """The change from the first step to each."""
    curves = [_curves(table) for table in tables]
    wide = pd.concat([curve for curve in curves if not curve.empty], axis=1).reindex(list(steps))
    spread = wide.max() - wide.min()
    moved = (wide.diff().abs() / spread.where(spread > 0)).mean(axis=1)
    return moved.fillna(0.0).cumsum().to_numpy()


def _curves(table: pd.DataFrame) -> pd.DataFrame:
    """One line a step, one column a curve."""
    own = table[table["step"].notna() & (table["control"] == "none")]
    names = [name for name in ("metric", "position", "layer", "head") if name in own]
    return own.pivot_table(index="step", columns=names, values="value")
