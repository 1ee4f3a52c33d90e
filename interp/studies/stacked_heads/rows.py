"""Rows of the study of stacked heads on the order of learning and on targets without, or with another, curriculum.

"Not learned" always means within the budget of the row. Intervals are over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from interp.emergence import curriculum
from interp.run import Run
from interp.studies.context import nothing
from interp.studies.ledger import Row
from interp.studies.stacked_heads.measure import (
    HOPS,
    accuracy,
    delay,
    emerged,
    events,
    survival_words,
)
from interp.studies.stacked_heads.rows_circuits import LINK_ATTENTION
from interp.studies.stacked_heads.runs import Study, row
from probes.stats import Interval, share


def order(study: Study, runs: Sequence[Run]) -> list[Row]:
    """Order of hops and of heads, and the loss's drops."""
    found = events(runs)
    table = curriculum.order(found, HOPS).set_index("metric")
    medians = curriculum.over_seeds(found).set_index("event")
    said = ", ".join(f"{hop} {medians.loc[hop, 'value']:.0f}" for hop in HOPS)
    counts = [len(curriculum.drops(*_total_loss(run))) for run in runs]
    last = [accuracy(run)[-1] for run in runs]
    return [
        row(study, "curriculum-solves", _interval(table.loc["every event emerged"]), "ic"),
        row(study, "last-hop", last, "ic"),
        row(study, "fixed-order", _interval(table.loc["strictly in order"]), "ic", f"median onsets: {said}"),
        row(study, "fixed-order-tau", _pairs(_interval(table.loc["kendall tau"])), "ic"),
        row(study, "head-order", first_before(found), "ic"),
        row(study, "head-leads", _lead(found), "ic", "median over seeds, exact order statistics"),
        row(study, "stages", share(counts.count(len(HOPS)), len(counts)), "ic", f"drops a run: {counts}"),
    ]


def _interval(row: Any) -> Interval:
    return Interval(row["value"], row["ci_low"], row["ci_high"], int(row["n"]), "")


def _pairs(tau: Interval) -> Interval:
    """Kendall's tau as the share of pairs that are in order."""
    return Interval((1 + tau.value) / 2, (1 + tau.low) / 2, (1 + tau.high) / 2, tau.n, tau.method)


def first_before(found: pd.DataFrame) -> Interval:
    """Share of runs in which link 1 has a head before link 2 has one (neither: not counted as before)."""
    if not set(LINK_ATTENTION) <= set(found["event"]):
        return share(0, found["run"].nunique())
    pair = curriculum.precedence(found, LINK_ATTENTION).iloc[0]
    return share(int(pair["before"]), int(pair["n"]))


def _lead(found: pd.DataFrame) -> Interval:
    """Lead of the first head on link 2 before hop 2."""
    if not {LINK_ATTENTION[1], HOPS[1]} <= set(found["event"]):
        return nothing(0, "no head and no hop")
    steps = found[found["event"].isin([LINK_ATTENTION[1], HOPS[1]])]["step"]
    return (
        nothing(0, "neither came")
        if steps.isna().all()
        else curriculum.lead_time(found, LINK_ATTENTION[1], HOPS[1])
    )


def _total_loss(run: Run) -> tuple[list[int], list[float]]:
    """Held-out loss summed over hops, by checkpoint."""
    table = run.scores().table
    loss = table[(table["metric"] == "loss") & (table["control"] == "none")].groupby("step")["value"].sum()
    return [int(step) for step in loss.index], loss.tolist()


def curricula(study: Study, ic: Sequence[Run], others: Mapping[str, Sequence[Run]]) -> list[Row]:
    """Targets without, with another, and with a curriculum with one hop dropped."""
    final = [accuracy(run)[-1] for run in others["final"]]
    return [
        row(study, "final-discrete", final, "final", survival_words(others["final"], HOPS[2])),
        _gaussian(study, others),
        row(
            study,
            "mix",
            emerged(others["mix"], "asked hop"),
            "mix",
            survival_words(others["mix"], "asked hop"),
        ),
        row(
            study,
            "dropped-hop",
            delay(others["no-hop-1"], ic, HOPS[1]),
            "no-hop-1",
            survival_words(others["no-hop-1"], HOPS[1]),
        ),
    ]


def _gaussian(study: Study, others: Mapping[str, Sequence[Run]]) -> Row:
    """Gaussian symbols, the last hop alone beside every hop; a budget in which neither is learned tells nothing."""
    last, name = HOPS[2], "gaussian-final"
    if not {name, "gaussian-ic"} <= set(others):
        need = "scale cpu: on Gaussian symbols every hop takes over 1,200 steps too; 24 runs, three hours on one core"
        return study.claims["final-gaussian"].not_testable(would_need=need, command=study.command)
    blind, plain = (survival_words(others[one], last) for one in (name, "gaussian-ic"))
    note = f"{blind}; with every hop in the target: {plain}"
    return row(study, "final-gaussian", emerged(others[name], last), name, note)
