"""Stored ledgers judged again from their stored values, by today's claims and criteria; nothing is measured.

A row whose statistic is still the one that the claim asks for keeps its value and gets today's verdict, power and
wording. Where the criterion was replaced after the measurement the row counts as exploratory until the study is run
again: its criterion was set with the value in sight. Where what is measured has changed (another statistic, another
unit) the row is "not measured" and says what was found before. A mean over three seeds keeps its value and loses its
interval: it settles nothing; one over more seeds has its limits moved inside what is possible.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from interp.studies.ledger import Claim, Ledger, Row
from probes.seeds import MOST_FOR_A_RANGE, within

AGAIN = "needs a new run"
STUDENT = "Student's t"
LINEAR = f"{STUDENT}, linear scale"
FEW = "three seeds or fewer have no 95% interval, and the range was not stored: needs a new run"
AFTER = "judged by a criterion of {when}, set after this measurement: exploratory until it is run again"


def rejudged(ledger: Ledger, claims: Mapping[str, Claim], date: str) -> Ledger:
    """A ledger of `date` (ISO) with today's verdicts, a row for every claim, in the order of the claims."""
    stored: dict[str, list[Row]] = {name: [] for name in claims}
    for row in ledger.claims:
        if row.claim in stored:
            stored[row.claim].append(row)
    return replace(
        ledger, claims=tuple(row for name, rows in stored.items() for row in _rows(claims[name], rows, date))
    )


def _rows(claim: Claim, rows: Sequence[Row], date: str) -> list[Row]:
    if not rows:
        return [_unmeasured(claim, None, f"{AGAIN}: the claim is new")]
    return [_row(replace(claim, id=row.id), row, date) for row in rows]


def _row(claim: Claim, row: Row, date: str) -> Row:
    if row.verdict == "not testable at this scale":
        return claim.not_testable(would_need=row.note, command=row.command)
    later = [old for old in claim.history if old.when > date]
    if any(old.remeasure for old in later):
        old = next(old for old in later if old.remeasure)
        before = "" if row.value is None else f"; before, {row.shown}, n={row.n}"
        return row if row.note.startswith(AGAIN) else _unmeasured(claim, row, f"{AGAIN}: {old.why}{before}")
    value, low, high = (math.nan if x is None else x for x in (row.value, row.ci_low, row.ci_high))
    note = row.note
    if STUDENT in note and row.n <= MOST_FOR_A_RANGE and claim.kind != "identity":
        low = high = math.nan
        note = note if FEW in note else f"{note}; {FEW}"
    elif LINEAR in note and not math.isnan(low):
        low, high, scale = within(np.array(value), np.array((high - low) / 2), *claim.bounds)
        low, high, note = float(low), float(high), note.replace(LINEAR, f"{STUDENT}, {scale} scale")
    found = claim.measured(
        value, low, high, row.n, condition=row.condition, budget=row.budget, command=row.command, note=note,
        interval=row.interval,
    )  # fmt: skip
    if not later:
        return found
    after = AFTER.format(when=later[-1].when)
    note = note if after in note else "; ".join(part for part in (note, after) if part)
    return found.model_copy(update={"kind": "exploratory", "note": note})


def _unmeasured(claim: Claim, row: Row | None, note: str) -> Row:
    return claim.measured(
        math.nan, math.nan, math.nan, 0, condition=row.condition if row else "", budget=row.budget if row else "",
        command=row.command if row else "", note=note,
    )  # fmt: skip
