"""The filter verdicts of a net's layers, in the few figures the study of layers against Newton's method prints."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from interp.readouts.algorithm_rows import silences
from interp.readouts.verdict_rows import GROWTH, NAMED, verdict_rows
from interp.studies.newton.measure import MatchedNet

UNREAD = ("no layer climbs", "too few layers")


@dataclass(frozen=True)
class Filters:
    """`growth`: how the residual filter moves over all blocks that are judged (`probes.doubling`); `nonlinear`: the
    largest share of a climbing layer's output not linear in query or labels; `words`: the verdict on each climbing
    layer, with the misfit of the best family and that of a free function of the eigenvalues.
    """

    growth: str
    nonlinear: float
    words: str


def filter_rows(net: MatchedNet) -> Filters:
    """Verdicts over the climb of a net; NaN where no layer climbs."""
    sites = [net.accumulator.sites[i] for i in net.climb(net.match("newton"))]
    if not sites:
        return Filters(UNREAD[0], math.nan, UNREAD[0])
    table = pd.DataFrame(verdict_rows(net.accumulator, silences(net.accumulator)))
    moves = table[table["metric"] == GROWTH]
    table = table[table["site"].isin(sites)]
    named = table[table["metric"] == NAMED][["algorithm", "value", "free_misfit"]]
    verdicts = [f"{name} ({best:.2g}, free filter {free:.2g})" for name, best, free in named.to_numpy()]
    crooked = table[table["metric"].str.startswith("non-linear share")]["value"]
    return Filters(
        growth=f"{moves['algorithm'].iloc[0]} ({moves['note'].iloc[0]})" if len(moves) else UNREAD[1],
        nonlinear=float(crooked.max()),
        words=", ".join(verdicts),
    )
