"""What the weights of each head say, checkpoint by checkpoint: eigenvalues of OV and QK, and whom a head could read.

An analysis around `interp.heads.composition`, whose docstrings give ranges, chance levels and sources.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from interp.causal.over_training import Direct
from interp.heads.composition import composition, eigenvalues
from tasks import Task


class HeadWeights(Direct):
    """Positive shares of OV and QK of every head ("OV positive share", "QK positive share"), and per head and kind of
    composition the strongest earlier head (`sender`), with the largest score of random weights beside it (`random`).
    """

    name: ClassVar[str] = "weights"

    def measure(self, model: Any, task: Task) -> pd.DataFrame:
        shares = eigenvalues(model).assign(sender="")
        joined = composition(model)
        if joined.empty:
            return shares.assign(control="none")
        ends = joined["receiver"].str.extract(r"L(?P<layer>\d+)H(?P<head>\d+)\.")
        best = joined.loc[joined.groupby(["receiver", "metric"], sort=False)["value"].idxmax()]
        placed = best.assign(layer=ends["layer"].astype(int), head=ends["head"], random=best["random_high"])
        columns = ["layer", "head", "metric", "sender", "value", "random"]
        return pd.concat([shares, placed[columns]], ignore_index=True).assign(control="none")
