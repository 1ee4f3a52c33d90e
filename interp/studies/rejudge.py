"""Stored ledgers judged again from their stored values, by today's claims and criteria; nothing is measured.

A row whose statistic is still the one that the claim asks for keeps its value and gets today's verdict, power and
wording. Where the criterion was replaced after the measurement the row counts as exploratory until the study is run
again: its criterion was set with the value in sight. Where what is measured has changed (another statistic, another
unit) the row is "not measured" and says what was found before. A mean over three seeds keeps its value and loses its
interval: it settles nothing; one over more seeds has its limits moved inside what is possible. A run that gives the
very figures of before (the same seeds, bit by bit) is no new measurement for a criterion that was set in between. A
claim on another one's measurement by a criterion of its own (`Claim.same_as`) has its row made here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from interp.studies.ledger import Claim, Ledger, Measured, Row
from probes.seeds import MOST_FOR_A_RANGE, within

AGAIN = "needs a new run"
STUDENT = "Student's t"
LINEAR = f"{STUDENT}, linear scale"
FEW = "three seeds or fewer have no 95% interval, and the range was not stored: needs a new run"
OTHERS = "exploratory until other seeds are measured"
SAME = "the very figures of {when}, when another criterion stood: {others}"
AFTER = "judged by a criterion of {when}, set after this measurement: exploratory until it is run again"


def rejudged(ledger: Ledger, claims: Mapping[str, Claim], date: str) -> Ledger:
    """A ledger of `date` (ISO) with today's verdicts, a row for every claim, in the order of the claims."""
    stored: dict[str, list[Row]] = {name: [] for name in claims}
    for row in ledger.claims:
        if row.claim in stored:
            stored[row.claim].append(row)
    for name, claim in claims.items():
        if claim.same_as:
            stored[name] = [_derived(row, claim) for row in stored[claim.same_as]]
    return replace(
        ledger, claims=tuple(row for name, rows in stored.items() for row in _rows(claims[name], rows, date))
    )


def _derived(row: Row, claim: Claim) -> Row:
    """A row's measurement under the name of another claim on it."""
    return row.model_copy(update={"id": claim.id + row.id.removeprefix(claim.same_as)})


def repeated(ledger: Ledger, before: Measured | None, claims: Mapping[str, Claim]) -> Ledger:
    """A new ledger, in which rows that repeat the figures of one of before a change of their criterion say so."""
    if before is None:
        return ledger
    then = {row.id: row for row in before.ledger.claims}
    return replace(ledger, claims=tuple(_marked(row, then, before.date, claims) for row in ledger.claims))


def _marked(row: Row, then: Mapping[str, Row], date: str, claims: Mapping[str, Claim]) -> Row:
    old, claim = then.get(row.id), claims.get(row.claim)
    if old is None or claim is None or row.value is None or old.value is None or OTHERS in row.note:
        return row
    set_since = OTHERS in old.note or any(one.when > date for one in claim.history)
    if not (set_since and row.n == old.n and math.isclose(row.value, old.value, rel_tol=1e-6)):
        return row
    note = "; ".join(part for part in (row.note, SAME.format(when=date, others=OTHERS)) if part)
    kind = row.kind if row.kind == "identity" else "exploratory"
    return row.model_copy(update={"note": note, "kind": kind})


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
    if OTHERS in note and found.kind != "identity":
        found = found.model_copy(update={"kind": "exploratory"})
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
