"""Composition of heads over training: which later head's query, key or value could read which earlier head.

The scores are those of `interp.heads.composition` (range [0, 1], with random weights of the same shapes
beside them); this makes them an analysis of every checkpoint. A rise of K-composition between a look-ahead
head and a later one is the weights' side of a chain being merged; that the later head does read the earlier
one, the edges of the circuit must say.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd
from pydantic import Field

from interp.causal.over_training import Direct
from interp.heads.composition import composition
from tasks import Task


class Compositions(Direct):
    """Q-, K- and V-composition of every pair of heads. `random`: draws of random weights to compare with."""

    name: ClassVar[str] = "composition"

    random: int = Field(default=16, ge=2)

    def measure(self, model: Any, task: Task) -> pd.DataFrame:
        table = composition(model, random=self.random, seed=self.seed)
        return table.assign(control="none", unit="share of the norms' product")
