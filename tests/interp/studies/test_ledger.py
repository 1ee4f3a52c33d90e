"""Ledgers: a verdict follows from the criterion and nothing else."""

from __future__ import annotations

import json
import math

import pytest

from interp.cli import studies as command
from interp.studies.context import over_seeds
from interp.studies.criteria import Criterion
from interp.studies.ledger import Claim, Ledger, by_kind
from interp.studies.power import Means
from tasks.errors import UserError

CLAIM = Claim("a", "x is about one.", "paper, section 1", "1.0", Criterion.within(0.9, 1.1))
SHOWN = {"condition": "main", "budget": "1 step", "command": "interp study x"}
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (1.0, 0.95, 1.05, "reproduced"),
        (1.0, 0.8, 1.05, "inconclusive"),
        (1.2, 1.0, 1.3, "inconclusive"),
        (1.2, 1.15, 1.3, "contradicted"),
        (0.5, 0.5, 0.5, "contradicted"),
        (1.0, NAN, NAN, "inconclusive"),
        (1.2, NAN, NAN, "inconclusive"),
        (1.0, 0.95, NAN, "inconclusive"),
        (1.0, 0.95, INF, "inconclusive"),
        (NAN, 0.95, 1.05, "not measured"),
        (NAN, NAN, NAN, "not measured"),
    ],
)
def test_verdict_follows_the_interval(value, low, high, verdict) -> None:
    assert CLAIM.measured(value, low, high, 3, **SHOWN).verdict == verdict


@pytest.mark.parametrize(
    ("criterion", "value", "low", "high", "verdict"),
    [
        (Criterion.above(1.0), INF, 2.0, INF, "reproduced"),
        (Criterion.above(1.0), INF, 0.5, INF, "inconclusive"),
        (Criterion.above(1.0), 1.0, 1.0, 1.0, "contradicted"),
        (Criterion.below(1.0), 0.4, -INF, 0.9, "reproduced"),
        (Criterion.equals(1.0), 1.0, 1.0, 1.0, "reproduced"),
        (Criterion.equals(1.0), 0.9, 0.9, 0.9, "contradicted"),
        (Criterion.always(0.6), 1.0, 0.63, 1.0, "reproduced"),
        (Criterion.always(0.6), 7 / 8, 0.47, 0.997, "inconclusive"),
        (Criterion.always(0.6), 5 / 8, 0.24, 0.915, "contradicted"),
        (Criterion.never(0.4), 0.0, 0.0, 0.34, "reproduced"),
        (Criterion.never(0.4), 3 / 8, 0.085, 0.755, "contradicted"),
    ],
)
def test_every_kind_of_criterion_is_judged_by_the_interval(criterion, value, low, high, verdict) -> None:
    assert criterion.judge(value, low, high) == verdict


def test_limits_that_do_not_hold_the_value_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="do not hold the value"):
        CLAIM.measured(2.0, 0.95, 1.05, 3, **SHOWN)


def test_a_range_is_printed_and_settles_nothing() -> None:
    row = CLAIM.measured(1.0, 0.95, 1.05, 3, interval="range", **SHOWN)
    assert row.verdict == "inconclusive"
    assert row.shown == "1 [range 0.95, 1.05]"


def test_means_over_seeds_stay_inside_what_is_possible_and_three_have_a_range() -> None:
    def claim(unit: str) -> Claim:
        return Claim("a", "x is above.", "p", "1", Criterion.above(0.5), unit, design=Means(0.9, 0.5, 0.1))

    accuracy = claim("accuracy of hop 1")
    three, four = over_seeds(accuracy, [0.2, 1.0, 1.0]), over_seeds(accuracy, [0.2, 1.0, 1.0, 1.0 + 1e-9])
    assert (three.is_range, three.low, three.high) == (True, 0.2, 1.0)
    assert four.value == pytest.approx(0.8)
    assert 0 < four.low < 0.8 < four.high <= 1
    ratio = over_seeds(claim("loss ratio"), [1.0, 100.0, 10.0], "log")
    assert (ratio.value, ratio.low, ratio.is_range) == (pytest.approx(10), 1, True)
    with pytest.raises(UserError, match="list its bounds"):
        over_seeds(claim("furlongs"), [1.0, 2.0])
    with pytest.raises(UserError, match="outside of"):
        over_seeds(accuracy, [0.2, 1.1])


def test_ledger_survives_json() -> None:
    rows = (
        CLAIM.measured(1.0, 0.95, NAN, 3, **SHOWN),
        CLAIM.measured(INF, 1.5, INF, 3, **SHOWN),
        CLAIM.not_testable(would_need="a GPU day", command="x"),
    )
    ledger = Ledger("x", "quick", (0, 1), rows, {"source": "abc"})
    document = json.loads(ledger.to_json())
    assert document["claims"][0]["ci_high"] is None
    assert document["claims"][0]["criterion"] == "95% CI within [0.9, 1.1]"
    assert document["fingerprint"] == {"source": "abc"}
    again = Ledger.from_json(ledger.to_json())
    assert again == ledger
    assert again.claims[1].value == INF
    assert len(ledger.table()) == 3


@pytest.mark.parametrize(
    ("value", "low", "high", "code"),
    [(1.2, 1.15, 1.3, 1), (1.2, 1.0, 1.3, 0), (NAN, NAN, NAN, 0), (1.0, 1.0, 1.0, 0)],
)
def test_strict_refuses_a_contradicted_claim_and_nothing_else(
    monkeypatch, capsys, value, low, high, code
) -> None:
    ledger = Ledger("newton", "quick", (0,), (CLAIM.measured(value, low, high, 3, **SHOWN),))
    monkeypatch.setattr(command, "run_study", lambda *_, **__: ledger)
    assert command.study("newton", strict=True) == code
    assert command.study("newton") == 0
    assert "confirmatory: 1 " in capsys.readouterr().out


def test_rows_are_counted_by_kind() -> None:
    row = CLAIM.measured(1.0, 0.95, 1.05, 3, **SHOWN)
    other = row.model_copy(update={"kind": "identity", "paper_value": "none stated (this project)"})
    assert {kind: len(rows) for kind, rows in by_kind([row, other]).items()} == {
        "confirmatory": 1,
        "identity": 1,
        "exploratory": 0,
    }
    assert (row.stated, other.stated) == (True, False)
