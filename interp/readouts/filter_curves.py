"""The filter a readout applies, drawn: measured without a family, and that of every family's best member beside it.

Both are piecewise linear in log eigenvalue of S = X'X and read by the same least squares (`probes.filter_shape`), so
where a family fits, its curve lies on the measured one. Values include the readout's gain.
"""

from __future__ import annotations

import math
from typing import ClassVar

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.analysis.base import Accumulator
from interp.readouts.algorithms import AlgorithmAccumulator, AlgorithmMatch
from probes import filter_shape, filters, stats
from probes.algorithms.iterates import coefficients
from probes.algorithms.problems import Problems
from probes.observations import Observations
from probes.tables import Row
from tasks import Task, UserError

NOTHING = {
    "site": "",
    "metric": "filter",
    "control": "none",
    "algorithm": "none",
    "eigenvalue": math.nan,
    "value": math.nan,
    "note": "no site beats its controls",
}


class FilterCurves(AlgorithmMatch):
    """Rows of metric "filter" at some `eigenvalue`s per site: `algorithm` "measured" with its interval over prompts,
    and each family's best member times its gain; `member` and `misfit` say which and how well it fits.
    """

    name: ClassVar[str] = "filters"

    def accumulator(self, model: object, task: Task, untrained: Accumulator | None) -> CurveAccumulator:
        inner = super().accumulator(model, task, untrained)
        untrained = untrained if isinstance(untrained, AlgorithmAccumulator) else None
        return CurveAccumulator(self, inner.sites, model, inner.task, untrained)

    def constants(self, model: object, task: Task, untrained: Accumulator | None) -> None:
        return None


class CurveAccumulator(AlgorithmAccumulator):
    """Reads as the matching does, and keeps the curves only."""

    def table(self) -> pd.DataFrame:
        own = self.errors()
        own = own[own["control"] == "none"]
        silent = {site for site, note in zip(own["site"], own["note"], strict=True) if note}
        asked = self.questions()
        problems = Problems.of(asked.x, asked.y, (self.context,))
        rows, seen = [], None
        for i, site in enumerate(self.sites):
            if site in silent:
                continue
            seen = (
                seen.answering(asked.outputs[i])
                if seen
                else Observations.of(problems, asked.queries, asked.outputs[i])
            )
            shared = {"site": site, "position": f"t={self.context}", "metric": "filter", "control": "none"}
            rows += [{**shared, **row} for row in _curves(seen, self.settings.filters(len(self.sites)))]
        return pd.DataFrame(rows or [NOTHING])


def _curves(seen: Observations, config: filters.FilterConfig) -> list[Row]:
    try:
        measured = filter_shape.shape(seen, config)
    except (UserError, torch.linalg.LinAlgError):  # pyright: ignore[reportPrivateImportUsage]
        return []
    at = measured.eigenvalues
    rows = _rows(at, measured.value.value, {"algorithm": "measured"}, measured.value)
    evidence = filters.judge(seen, config)
    vectors = coefficients(seen.problems, [fit.best for fit in evidence.fits])[:, :, 0]
    for fit, vector in zip(evidence.fits, vectors, strict=True):
        fitted = filter_shape.projected(seen, fit.gain * vector, at)
        named = {"algorithm": fit.family, "k": fit.best.k, "member": fit.best.label}
        rows += _rows(at, fitted, {**named, "misfit": evidence.misfit(fit.family).value})
    return rows


def _rows(
    at: Float[Tensor, "node"],
    value: Float[Tensor, "node"],
    shared: Row,
    span: stats.Intervals | None = None,
) -> list[Row]:
    rows = [{**shared, "eigenvalue": float(x), "value": float(y)} for x, y in zip(at, value, strict=True)]
    if span is None:
        return rows
    ends = zip(rows, span.low, span.high, strict=True)
    return [{**row, "ci_low": float(low), "ci_high": float(high), "n": span.n} for row, low, high in ends]
