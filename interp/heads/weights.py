"""Weight-based analyses of heads at every checkpoint: eigenvalues of OV and QK, and composition of heads.

Analyses around `interp.heads.composition`, whose docstrings give ranges, chance levels and sources. A rise of
K-composition between a look-ahead head and a later one is consistent with a chain being merged; whether the later
head does read the earlier one is shown by the edges of the circuit.
"""

from __future__ import annotations

from typing import ClassVar

import pandas as pd
from pydantic import Field

from interp.analysis.base import Direct
from interp.heads.composition import composition, eigenvalues
from interp.hooks.protocol import HookedModel
from tasks import Task


class HeadWeights(Direct):
    """Positive shares of OV and QK of every head ("OV positive share", "QK positive share"), and per head and kind of
    composition the strongest earlier head (`sender`), with the largest score of random weights (`random_high`).
    """

    name: ClassVar[str] = "weights"
    version: ClassVar[int] = 2

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        shares = eigenvalues(model).assign(sender="")
        joined = composition(model)
        if joined.empty:
            return shares.assign(control="none")
        ends = joined["receiver"].str.extract(r"L(?P<layer>\d+)H(?P<head>\d+)\.")
        best = joined.loc[joined.groupby(["receiver", "metric"], sort=False)["value"].idxmax()]
        placed = best.assign(
            layer=ends["layer"].astype(int),
            head=ends["head"].astype(int),
        )
        columns = ["layer", "head", "metric", "sender", "value", "random_high"]
        return pd.concat([shares, placed[columns]], ignore_index=True).assign(control="none")


class Compositions(Direct):
    """Q-, K- and V-composition of every pair of heads. `random`: draws of random weights to compare with."""

    name: ClassVar[str] = "composition"

    random: int = Field(default=16, ge=2)

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        table = composition(model, random=self.random, seed=self.seed)
        return table.assign(control="none", unit="share of the norms' product")
