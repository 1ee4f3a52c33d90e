"""The README's ledger table: made by a command from the code's claims and kept measurements, and never stale."""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import replace

import pytest

from interp.studies import STUDIES, rejudge, summary, summary_text
from interp.studies.criteria import Criterion
from interp.studies.ledger import Claim, Ledger, Measured, Replaced, Row
from interp.studies.power import Means
from probes import stats
from tasks.errors import UserError

STUDY = "one-step-gd"


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """A ledger with a row for each claim of the study, the first measured, the others not testable."""
    first, *others = summary.claims_of(STUDY).values()
    said = {"condition": "main", "budget": "1 step", "command": f"interp study {STUDY}"}
    rows = [first.measured(0.5, 0.25, 0.75, 3, **said)]
    rows += [claim.not_testable(would_need="a GPU", command="") for claim in others]
    return Ledger(STUDY, "quick", (0, 1, 2), tuple(rows))


def test_readme_and_page_say_what_code_and_measurements_say() -> None:
    for path, text in summary.texts().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run python -m interp.studies.summary"


def test_the_page_names_exactly_the_claims_of_the_code() -> None:
    page = summary.PAGE.read_text(encoding="utf-8") + "\n## "
    for study in STUDIES:
        (table,) = re.findall(rf"^## {study}\n(.*?)(?=\n## )", page, flags=re.S | re.M)
        named = [
            line.split(" | ")[0].removeprefix("| ").partition(",")[0]
            for line in table.strip().splitlines()
            if line.startswith("| ") and not line.startswith("| id |")
        ]
        assert list(dict.fromkeys(named)) == list(summary.claims_of(study))


def test_a_ledger_is_kept_with_version_and_day_and_shown(ledger, tmp_path) -> None:
    (tmp_path / "ledger.json").write_text(ledger.to_json())
    kept = summary.keep(tmp_path / "ledger.json", tmp_path / "kept", datetime.date(2026, 1, 2))
    document = json.loads(kept.read_text())
    assert (document["date"], document["scale"], document["seeds"]) == ("2026-01-02", "quick", [0, 1, 2])
    lines = summary.summary(tmp_path / "kept").splitlines()
    (study,) = [line for line in lines if line.startswith(f"| `{STUDY}`")]
    claims = summary.every_claim(tmp_path / "kept").splitlines()
    assert f"quick, 3 seeds, {document['version']}, 2026-01-02; **stale**" in study
    assert re.match(rf"\| `{STUDY}` \| {len(ledger.claims)} \| 0 \| 0 \| 0 \| 0 \|", study)
    (first,) = [line for line in claims if line.startswith(f"| {ledger.claims[0].id} |")]
    assert "| 0.5 [0.25, 0.75]" in first
    assert "| identity | **contradicted** |" in first
    assert "100% / 0%" in first


def rejudged(row: Row, claim: Claim, date: str) -> Row:
    (found,) = rejudge.rejudged(Ledger(STUDY, "quick", (0,), (row,)), {claim.id: claim}, date).claims
    return found


def test_a_stored_row_gets_todays_verdict_and_words_and_keeps_its_value() -> None:
    said = {"condition": "main", "budget": "1 step", "command": "x"}
    old = Claim("a", "Old words.", "p", "1", Criterion.above(0.5))
    row = old.measured(0.7, 0.6, 0.8, 4, **said)
    today = Claim(
        "a", "New words are here.", "p", "1", Criterion.above(0.65), "slope", design=Means(0.9, 0.5, 0.1)
    )
    found = rejudged(row, today, "2026-01-02")
    assert (found.value, found.verdict, found.statement) == (0.7, "inconclusive", "New words are here.")
    assert found.power == today.power
    assert rejudged(found, today, "2026-01-02") == found, "a second time changes nothing"


def test_stored_means_over_seeds_keep_inside_what_is_possible_and_three_settle_nothing() -> None:
    said = {"condition": "main", "budget": "1 step", "command": "x", "note": "Student's t, linear scale, n=4"}
    claim = Claim(
        "a",
        "A claim is made.",
        "p",
        "1",
        Criterion.above(0.3),
        "share of argmax",
        design=Means(0.9, 0.2, 0.1),
    )
    values = [0.9, 0.3, 0.2, 0.72]
    t = stats.student(values)
    assert t.low < 0
    found = rejudged(claim.measured(t.value, t.low, t.high, 4, **said), claim, "2026-01-02")
    now = stats.over_seeds(values, 0, 1)
    assert (found.ci_low, found.ci_high) == pytest.approx((now.low, now.high))
    assert now.method in found.note
    assert rejudged(found, claim, "2026-01-02") == found
    said["note"] = "Student's t, linear scale, n=3"
    few = rejudged(claim.measured(0.7, 0.6, 0.8, 3, **said), claim, "2026-01-02")
    assert (few.value, few.ci_low, few.verdict) == (0.7, None, "inconclusive")
    assert "needs a new run" in few.note
    assert rejudged(few, claim, "2026-01-02") == few


def test_a_criterion_replaced_after_the_measurement_makes_the_row_exploratory() -> None:
    said = {"condition": "main", "budget": "1 step", "command": "x"}
    was = Replaced("value above 0.9", "2026-02-01", "no power")
    today = Claim("a", "A claim is made.", "p", "1", Criterion.above(0.5), history=(was,))
    row = today.measured(0.7, 0.6, 0.8, 3, **said)
    before, after = (rejudged(row, today, date) for date in ("2026-01-02", "2026-02-02"))
    assert (before.kind, before.verdict) == ("exploratory", "reproduced")
    assert "set after this measurement" in before.note
    assert (after.kind, after.note) == ("confirmatory", "")
    assert rejudged(before, today, "2026-01-02") == before


def test_the_same_figures_again_do_not_make_a_later_criterion_confirmatory() -> None:
    """The criterion was set between two runs of the same seeds; with other figures the row counts."""
    said = {"condition": "main", "budget": "1 step", "command": "x"}
    was = Replaced("value above 0.9", "2026-02-01", "no power")
    today = Claim("a", "A claim is made.", "p", "1", Criterion.above(0.5), history=(was,))

    def again(value: float, before: Measured) -> Row:
        row = today.measured(value, value - 0.1, value + 0.1, 4, **said)
        return rejudge.repeated(Ledger(STUDY, "quick", (0,), (row,)), before, {"a": today}).claims[0]

    old = Ledger(STUDY, "quick", (0,), (today.measured(0.7, 0.5, 0.9, 4, **said),))
    first = again(0.7, Measured(old, "9.9", "2026-01-02"))
    assert first.kind == "exploratory"
    assert "the very figures of 2026-01-02" in first.note
    assert rejudged(first, today, "2026-02-02") == first
    assert again(0.71, Measured(old, "9.9", "2026-01-02")).kind == "confirmatory"
    assert again(0.7, Measured(old, "9.9", "2026-02-02")).kind == "confirmatory", (
        "the criterion stood already"
    )
    third = Measured(Ledger(STUDY, "quick", (0,), (first,)), "9.9", "2026-02-02")
    assert again(0.7, third).kind == "exploratory"


def test_another_statistic_needs_a_new_run_and_says_what_was_found_before() -> None:
    said = {"condition": "main", "budget": "1 step", "command": "x"}
    was = Replaced("of one seed", "2026-02-01", "the unit is the seed", remeasure=True)
    today = Claim("a", "A claim is made.", "p", "1", Criterion.above(0.5), unit="share", history=(was,))
    found = rejudged(today.measured(0.7, 0.6, 0.8, 3, **said), today, "2026-01-02")
    assert (found.value, found.verdict, found.kind) == (None, "not measured", "confirmatory")
    assert found.note == "needs a new run: the unit is the seed; before, 0.7 [0.6, 0.8] share, n=3"
    assert rejudged(found, today, "2026-01-02") == found
    new = rejudge.rejudged(Ledger(STUDY, "quick", (0,)), {"a": today}, "2026-01-02").claims
    assert [row.note for row in new] == ["needs a new run: the claim is new"]


def test_another_criterion_on_the_same_measurement_has_a_row_of_its_own() -> None:
    above = Claim("more", "It is more.", "", "", Criterion.above(1.0))
    alike = Claim(
        "alike", "It is alike.", "", "", Criterion.within(0.5, 1.5), kind="exploratory", same_as="more"
    )
    said = {"condition": "main", "budget": "1 step", "command": "x"}
    rows = [
        above.measured(1.2, 0.9, 1.4, 5, **said),
        replace(above, id="more, net").measured(3.0, 2.0, 4.0, 5, **said),
    ]
    claims = {"more": above, "alike": alike}
    found = rejudge.rejudged(Ledger(STUDY, "quick", (0,), rows), claims, "2026-01-02").claims
    assert [(row.id, row.verdict, row.kind) for row in found] == [
        ("more", "inconclusive", "confirmatory"), ("more, net", "reproduced", "confirmatory"),
        ("alike", "reproduced", "exploratory"), ("alike, net", "contradicted", "exploratory"),
    ]  # fmt: skip
    assert rejudge.rejudged(Ledger(STUDY, "quick", (0,), found), claims, "2026-01-02").claims == found
    unmeasured = rejudge.rejudged(Ledger(STUDY, "quick", (0,)), claims, "2026-01-02").claims
    assert [row.verdict for row in unmeasured] == ["not measured", "not measured"]


@pytest.mark.parametrize("study", STUDIES)
def test_kept_ledgers_are_judged_by_todays_claims(study) -> None:
    """`python -m interp.studies.summary --rejudge` has been run since a claim or criterion changed last."""
    kept = summary.measured(study)
    assert kept is None or kept.ledger == summary.current(study).ledger


def test_a_claim_that_the_code_does_not_know_is_refused(ledger, tmp_path) -> None:
    (tmp_path / "ledger.json").write_text(ledger.to_json().replace(ledger.claims[0].id, "invented"))
    summary.keep(tmp_path / "ledger.json", tmp_path / "kept")
    with pytest.raises(UserError, match="claim 'invented' is not in the code"):
        summary.summary(tmp_path / "kept")


def test_what_is_no_ledger_is_refused(tmp_path) -> None:
    (tmp_path / "x.json").write_text('{"claims": 3}')
    with pytest.raises(UserError, match="no ledger"):
        summary.keep(tmp_path / "x.json", tmp_path)
    with pytest.raises(UserError, match="once each"):
        summary_text.rewritten("no markers", "")
