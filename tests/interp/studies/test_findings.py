"""The papers in one line each: what holds, what does not, what is undecided, by the verdicts of the kept ledgers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interp.studies import STUDIES, summary
from interp.studies.findings import FAILS, HOLDS, OPEN, PAPERS, Finding, short_text, verdict_of
from interp.studies.ledger import Ledger, Measured

STUDY = "one-step-gd"
FINDING = Finding(STUDY, "a layer is one step of descent", ("gd-error", "gd-excess"))
FINDINGS = [pytest.param(one, id=f"{one.study}: {one.words}") for found in PAPERS.values() for one in found]


def measured(*values: float) -> Measured:
    """The finding's claims with an interval of .001 about these values; one whose value is missing has no row."""
    claims = summary.claims_of(STUDY)
    said = {"condition": "main", "budget": "1 step", "command": "x"}
    rows = [
        claims[name].measured(value, value - 0.0005, value + 0.0005, 8, **said)
        for name, value in zip(FINDING.claims, values, strict=False)
    ]
    return Measured(Ledger(STUDY, "quick", (0,), tuple(rows)), "9.9", "2026-01-02")


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.01, 0.0004), HOLDS),
        ((0.03, 0.0004), FAILS),  # one row contradicts
        ((0.01, 0.001), OPEN),  # one straddles its bound
        ((0.01,), OPEN),  # one has no row
    ],
)
def test_a_finding_holds_where_every_row_does_and_fails_where_one_is_contradicted(values, verdict):
    assert verdict_of(FINDING, measured(*values)) == verdict


def test_nothing_is_decided_without_a_ledger():
    assert verdict_of(FINDING, None) == OPEN


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_rests_on_claims_of_its_study(finding):
    assert set(finding.claims) <= set(summary.claims_of(finding.study))
    assert finding.claims
    assert not finding.words.endswith(".")


def test_ten_lines_say_of_every_study_where_it_stands():
    lines = short_text(
        {study: (summary.claims_of(study), summary.current(study)) for study in STUDIES}
    ).splitlines()
    assert len(lines) <= 10
    assert all(any(f"`{study}`" in line for line in lines) for study in STUDIES)
    for found in PAPERS.values():
        assert all(sum(one.words in line for line in lines) == 1 for one in found)


def test_a_finding_on_an_exploratory_row_says_so(monkeypatch):
    monkeypatch.setattr("interp.studies.findings.PAPERS", {"A paper": (FINDING,)})
    claims, found = summary.claims_of(STUDY), measured(0.01, 0.0004)
    first, *rest = found.ledger.claims
    explored = replace(found.ledger, claims=(first.model_copy(update={"kind": "exploratory"}), *rest))
    plain = short_text({STUDY: (claims, found)})
    assert plain.endswith("*Holds*: a layer is one step of descent.")
    marked = short_text({STUDY: (claims, replace(found, ledger=explored))})
    assert marked.endswith("*Holds*: a layer is one step of descent (exploratory).")
