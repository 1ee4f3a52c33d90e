"""The filter verdicts of a net's layers, in the few figures the study of layers against Newton's method prints."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp.readouts.algorithm_rows import silences
from interp.readouts.verdict_rows import NAMED, verdict_rows
from interp.studies.newton.measure import MatchedNet


@dataclass(frozen=True)
class Filters:
    """`share_newton`: share of the climbing layers named Newton's; `slope`: mean small-eigenvalue slope over those
    with a filter; `nonlinear`: the largest share of a climbing layer's output not linear in query or labels.
    """

    share_newton: float
    slope: float
    nonlinear: float
    words: str


def filter_rows(net: MatchedNet) -> Filters:
    """Verdicts over the climb of a net; NaN where no layer climbs."""
    sites = [net.accumulator.sites[i] for i in net.climb(net.match("newton"))]
    if not sites:
        return Filters(math.nan, math.nan, math.nan, "no layer climbs")
    table = pd.DataFrame(verdict_rows(net.accumulator, silences(net.accumulator)))
    table = table[table["site"].isin(sites)]
    verdicts = table[table["metric"] == NAMED]["algorithm"].tolist()
    slopes = table[table["metric"] == "small-eigenvalue slope"]["value"].dropna()
    crooked = table[table["metric"].str.startswith("non-linear share")]["value"]
    return Filters(
        share_newton=float(np.mean([v == "newton" for v in verdicts])),
        slope=float(slopes.mean()) if len(slopes) else math.nan,
        nonlinear=float(crooked.max()),
        words=", ".join(verdicts),
    )
