"""The README's ledger table: made by a command from the code's claims and kept measurements, and never stale."""

from __future__ import annotations

import datetime
import json
import re

import pytest

from interp.studies import STUDIES, summary
from interp.studies.ledger import Ledger
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
            for line in table.strip().splitlines()[2:]
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
    assert f"quick, 3 seeds, {document['version']}, 2026-01-02" in study
    assert f"| {len(ledger.claims) - 1} | quick" in study, "those that could not be tested are counted"
    (first,) = [line for line in claims if line.startswith(f"| {ledger.claims[0].id} |")]
    assert "| 0.5 [0.25, 0.75]" in first


def test_claims_that_are_asked_of_several_models_are_told_from_their_rows(ledger, tmp_path) -> None:
    document = json.loads(ledger.to_json())
    own = document["claims"]
    document["claims"] = [{**row, "id": f"{row['id']}, {model}"} for row in own for model in ("one", "two")]
    (tmp_path / "ledger.json").write_text(json.dumps(document))
    summary.keep(tmp_path / "ledger.json", tmp_path / "kept", datetime.date(2026, 1, 2))
    (study,) = [line for line in summary.summary(tmp_path / "kept").splitlines() if f"`{STUDY}`" in line]
    assert f"| {len(summary.claims_of(STUDY))}, in {2 * len(own)} rows |" in study


def test_a_verdict_by_another_criterion_counts_as_not_measured(ledger, tmp_path) -> None:
    document = json.loads(ledger.to_json())
    document["claims"][0]["criterion"] = "value above something laxer"
    (tmp_path / "ledger.json").write_text(json.dumps(document))
    summary.keep(tmp_path / "ledger.json", tmp_path / "kept")
    (first,) = [
        line
        for line in summary.every_claim(tmp_path / "kept").splitlines()
        if line.startswith(f"| {ledger.claims[0].id} |")
    ]
    assert first.endswith(f"| – | {summary.UNKNOWN} |")


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
        summary.rewritten("no markers", "")
