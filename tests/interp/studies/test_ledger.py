"""Ledgers: a verdict follows from the criterion and nothing else."""

from __future__ import annotations

import json
import math

import pytest

from interp.studies.ledger import Claim, Criterion, Ledger

CLAIM = Claim("a", "x is about one", "paper, section 1", "1.0", Criterion.within(0.9, 1.1))
SHOWN = {"condition": "main", "budget": "1 step", "command": "interp study x"}


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (1.0, 0.95, 1.05, "reproduced"),
        (1.0, 0.8, 1.05, "partly"),
        (1.2, 1.0, 1.3, "not reproduced"),
        (1.0, math.nan, math.nan, "partly"),
        (math.nan, 0.95, 1.05, "not reproduced"),
    ],
)
def test_verdict_follows_the_interval(value, low, high, verdict) -> None:
    assert CLAIM.measured(value, low, high, 3, **SHOWN).verdict == verdict


def test_ledger_survives_json() -> None:
    rows = (
        CLAIM.measured(1.0, 0.95, math.nan, 3, **SHOWN),
        CLAIM.not_testable(would_need="a GPU day", command="x"),
    )
    ledger = Ledger("x", "quick", (0, 1), rows)
    document = json.loads(ledger.to_json())
    assert document["claims"][0]["ci_high"] is None
    assert document["claims"][0]["criterion"] == "value and interval within [0.9, 1.1]"
    assert Ledger.from_json(ledger.to_json()).claims == rows
    assert not ledger.all_reproduced
    assert len(ledger.table()) == 2
