"""What an attribution estimate of edges is worth, measured beside exact effects before anything is built on it.

EAP-IG's completeness error is the mean size by which a prompt's attributions miss its loss difference, over the mean
size of that difference. The number of steps doubles until the error is under `COMPLETE`, or `MOST_STEPS` is reached.
Independently of that, a random sample of edges is run exactly: the correlation over it, and the exact effects of the
estimate's largest edges, say whether the order of the edges can be trusted. An estimate whose correlation is under
`TRUSTED`, or that is not complete, is reported as worthless; on nets whose softmax is saturated that is the usual case.
"""

from __future__ import annotations

import dataclasses

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.attribution import EdgeScores, attribute_edges, correlation
from interp.causal.edge_effects import edge_effects, exact_edges
from interp.causal.metrics import Metric
from interp.hooks.protocol import HookedModel
from probes.stats import DRAWS
from tasks.errors import UserError
from tasks.streams import generator

COMPLETE = 0.05  # of the loss difference
MOST_STEPS = 256
TRUSTED = 0.5  # least correlation with exact effects
SAMPLE = 32  # random edges run exactly
TOP = 32  # largest edges run exactly
References = tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Attributions of every edge, and what exact runs of some edges say of them. `table` has one row an edge."""

    scores: EdgeScores
    table: pd.DataFrame
    correlation: float
    sampled: int

    @property
    def unreliable(self) -> str:
        """Why nothing should be built on it; "" where something may."""
        if self.scores.error > COMPLETE:
            return f"completeness error {self.scores.error:.2g} after {self.scores.ig_steps or 1} steps"
        if not self.correlation >= TRUSTED:
            found = "undefined (no spread)" if pd.isna(self.correlation) else f"{self.correlation:.2f}"
            return f"correlation {found} with exact effects of {self.sampled} random edges"
        return ""

    def report(self) -> str:
        """One line: completeness error, correlation, and whether the estimate is worth anything."""
        steps = (
            f"{self.scores.method} ({self.scores.ig_steps} steps)"
            if self.scores.ig_steps
            else self.scores.method
        )
        r = "undefined" if pd.isna(self.correlation) else f"{self.correlation:.2f}"
        bad = self.unreliable
        return (
            f"{steps}: completeness error {self.scores.error:.2g} of the loss difference; correlation {r} with exact"
            f" effects of {self.sampled} random edges"
            + (f"; worthless as an estimate ({bad})" if bad else "")
        )


def complete_scores(
    model: HookedModel,
    inputs: Tensor,
    other: Tensor,
    metric: Metric,
    method: str = "EAP-IG",
    ig_steps: int = 8,
) -> EdgeScores:
    """Attributions of every edge; EAP-IG with as many steps as make them complete, from `ig_steps` on.

    Raises UserError for another method.
    """
    if method not in ("EAP", "EAP-IG"):
        raise UserError(f"unknown scoring method {method!r}: use 'exact', 'EAP' or 'EAP-IG'")
    if method == "EAP":
        return attribute_edges(model, inputs, other, metric)
    steps = ig_steps
    while True:
        scores = attribute_edges(model, inputs, other, metric, ig_steps=steps)
        if scores.error <= COMPLETE or 2 * steps > max(MOST_STEPS, ig_steps):
            return scores
        steps *= 2


def against_exact(
    model: HookedModel,
    inputs: Tensor,
    other: Tensor,
    metric: Metric,
    scores: EdgeScores,
    references: References,
    *,
    sample: int = SAMPLE,
    top: int = TOP,
    seed: int = 0,
    draws: int = DRAWS,
) -> Estimate:
    """An estimate's edges, one row each: its value with an interval over prompts, and the `exact` effect of a random
    sample of edges and of the `top` largest (missing elsewhere; `checked` says which it is). `correlation` is
    Pearson's r over the random sample. `references`: the metric of the full and of the empty circuit.

    Raises UserError for a sample under 2 edges.
    """
    if min(sample, len(scores.edges)) < 2:
        raise UserError("an attribution estimate needs at least 2 edges beside exact values: raise `sample`")
    drawn = torch.randperm(len(scores.edges), generator=generator(seed, "edge screen", 0))[:sample].tolist()
    largest = scores.values.double().mean(1).abs().argsort(descending=True)[:top].tolist()
    picked = sorted({*drawn, *largest})
    truth = exact_edges(
        model, inputs, other, metric, replacement=scores.replacement, only={scores.edges[i] for i in picked}
    )
    estimate, exact = (edge_effects(s, *references, draws) for s in (scores, truth))
    known = dict(zip(truth.edges, exact.value.tolist(), strict=True))
    checked = {**dict.fromkeys(largest, "largest"), **dict.fromkeys(drawn, "random")}
    rows = [
        {"sender": s, "receiver": r, **estimate[i].row(), "exact": known.get((s, r), float("nan")),
         "checked": checked.get(i, "")}
        for i, (s, r) in enumerate(scores.edges)
    ]  # fmt: skip
    own = torch.tensor([known[scores.edges[i]] for i in drawn])
    r = correlation(estimate.value[drawn].double(), own.double())
    table = pd.DataFrame(rows).assign(
        metric="attribution estimate", method=scores.method, unit="normalised effect, estimated", correlation=r,
        completeness_error=scores.error, ig_steps=scores.ig_steps,
    )  # fmt: skip
    return Estimate(scores, table, r, len(drawn))
