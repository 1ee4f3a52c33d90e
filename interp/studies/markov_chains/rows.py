"""Rows of the study of Markov chains. Intervals are over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from interp.emergence.curriculum import censored_median
from interp.run import Run
from interp.studies.context import nothing
from interp.studies.ledger import Row
from interp.studies.markov_chains import measure
from interp.studies.markov_chains.runs import DOUBLY, SECOND, USUAL, Study, runs_of
from probes.stats import Interval, share

ORDER = ("unigram", "bigram", "trigram")
COST = "scale cpu: 32 runs of 6,000 steps, about two hours on one core"
SMOOTHER = (
    "losses of weights averaged over steps: with the loss's scatter from checkpoint to checkpoint here (.003 nats), "
    "two planted drops are counted as two in less than half of the simulations"
)
OTHERWISE = (
    "another statistic than the effect on the loss: ablating the path gives back what the loss has fallen by, so that "
    "the two rise together whatever comes first"
)


def words(study: Study, condition: str) -> dict[str, Any]:
    """What a row says of its runs."""
    steps = study.budget.second if condition == SECOND else study.budget.steps
    return {"condition": condition, "budget": f"{steps} steps of 64 prompts"}


def order(study: Study) -> list[Row]:
    """Which predictor is followed when, and at the end."""
    runs, said = runs_of(study, USUAL), words(study, USUAL)
    found = [[measure.onset(run, name) for name in ORDER[:2]] for run in runs]
    ends = [measure.followed_at_end(run) for run in runs]
    note = f"steps of onset (unigram, bigram) a run: {'; '.join(f'{a:g}, {b:g}' for a, b in found)}"
    return [
        study.row("unigram-first", _share([in_order(steps) for steps in found]), note=note, **said),
        study.row("bigram-last", _share([end == "bigram" for end in ends]), **said),
        study.row("bigram-close", [float(measure.distances(run, "bigram").iloc[-1]) for run in runs], **said),
        study.claims["two-drops"].not_testable(would_need=SMOOTHER, command=study.command),
    ]


def in_order(steps: Sequence[float]) -> bool:
    """Whether every predictor was followed, each before the next."""
    return all(a < b for a, b in zip(steps, [*steps[1:], math.inf], strict=True))


def _share(hits: Sequence[bool]) -> Interval:
    return share(sum(hits), len(hits))


def heads(study: Study) -> list[Row]:
    """The two heads at the end, and what comes before the bigram."""
    runs, said = runs_of(study, USUAL), words(study, USUAL)
    masses = {
        "previous-token": [measure.attention(run, measure.PREVIOUS, 0) for run in runs],
        "statistical-induction": [measure.attention(run, measure.SUCCESSORS, 1) for run in runs],
    }
    rows = [
        study.row(claim, [float(mass.iloc[-1]) for mass in each], **said) for claim, each in masses.items()
    ]
    return [
        *rows,
        study.row("head-leads", _median([measure.head_lead(run) for run in runs]), **said),
        study.claims["path-leads"].not_testable(would_need=OTHERWISE, command=study.command),
    ]


def _median(leads: Sequence[float]) -> Interval:
    """Median over runs; a run without one of the two events settles nothing, so that there is then no value."""
    values = np.array(leads, dtype=float)
    if np.isnan(values).any():
        return nothing(len(values), f"{int(np.isnan(values).sum())} of {len(values)} runs lack an event")
    return censored_median(values)


def without_counts(study: Study) -> list[Row]:
    """The bigram's onset where counts of symbols are uninformative, over the usual one of the same seed."""
    usual, changed = runs_of(study, USUAL), runs_of(study, DOUBLY)
    pairs = [
        (measure.onset(a, "bigram"), measure.onset(b, "bigram")) for a, b in zip(changed, usual, strict=True)
    ]
    ratios = [a / b if math.isfinite(a) and math.isfinite(b) else math.nan for a, b in pairs]
    note = f"steps (without counts, usual) a seed: {'; '.join(f'{a:g}, {b:g}' for a, b in pairs)}"
    said = words(study, DOUBLY)
    return [
        study.values("counts-delay", ratios, note=note, scale="log", lost="a bigram did not lead", **said)
    ]


def second_order(study: Study) -> list[Row]:
    """Chains of order 2, where the scale has them."""
    if not study.budget.second:
        return [study.claims["order-2"].not_testable(would_need=COST, command=study.command)]
    runs = runs_of(study, SECOND)
    found = [[measure.onset(run, name) for name in ORDER] for run in runs]
    return [study.row("order-2", _share([in_order(steps) for steps in found]), **words(study, SECOND))]


def shown(study: Study) -> dict[str, list[Run]]:
    """The runs that figures are drawn of."""
    return {name: runs_of(study, name) for name in (USUAL, DOUBLY)}
