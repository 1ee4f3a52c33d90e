"""Ledgers before and after: taken from history, put side by side, and every difference of a row in words."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from interp.studies import compared
from interp.studies.criteria import Criterion
from interp.studies.ledger import Claim, Ledger, Measured, Replaced
from interp.studies.power import Means
from tasks.errors import UserError

SHOWN = {"condition": "main", "budget": "1 step", "command": "interp study newton"}
CLAIMS = {
    claim.id: claim
    for claim in (
        Claim("kept", "It holds.", "paper", "1", Criterion.above(1.0), "cosine", design=Means(0.9, 0.1, 0.1, 5)),
        Claim("moved", "It holds, too.", "paper", "1", Criterion.below(2.0), history=(
            Replaced("value and interval below 1", "2026-11-30", "power 6%"),)),
        Claim("several", "Models do.", "paper", "1", Criterion.above(0.5), kind="exploratory"),
        Claim("asked-since", "This is new.", "paper", "1", Criterion.above(0.0)),
        Claim("too-dear", "Nobody knows.", "paper", "1", Criterion.above(0.0)),
    )
}  # fmt: skip


def old_row(name: str, verdict: str, value: float | None, n: int, criterion: str) -> dict[str, object]:
    return {"id": name, "verdict": verdict, "value": value, "n": n, "criterion": criterion}


DOCUMENT = {
    "date": "2026-11-23",
    "seeds": [0, 1, 2],
    "claims": [
        old_row("kept", "reproduced", 1.5, 3, "value and interval above 1"),
        old_row("moved", "partly", 0.9, 3, "value and interval below 1"),
        old_row("several, a", "reproduced", 0.9, 1, "value and interval above 0.5"),
        old_row("several, b", "not reproduced", 0.1, 1, "value and interval above 0.5"),
        old_row("too-dear", "reproduced", 0.3, 3, "value and interval above 0"),
        old_row("dropped", "reproduced", 0.3, 3, "value and interval above 0"),
    ],
}


def today() -> Measured:
    rows = (
        CLAIMS["kept"].measured(1.5, 1.2, 1.8, 5, **SHOWN),
        CLAIMS["moved"].measured(0.9, float("nan"), float("nan"), 3, **SHOWN),
        CLAIMS["several"].measured(0.7, 0.6, 0.8, 4, **SHOWN),
        CLAIMS["asked-since"].measured(-1.0, -2.0, -0.5, 5, **SHOWN),
        CLAIMS["too-dear"].not_testable(would_need="nets of a GPU", command=""),
    )
    return Measured(Ledger("newton", "quick", (0, 1, 2, 3, 4), rows, cpu_seconds=1500.0), "1", "2026-12-01")


def line_of(page: str, row: str) -> str:
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {row} |")]
    return line


def test_rows_stand_side_by_side_with_what_is_different_about_them():
    page = compared.compared_text({"newton": (CLAIMS, today())}, {"newton": compared.shortened(DOCUMENT)})
    assert line_of(page, "kept").startswith("| kept | reproduced | reproduced | 1.5 [1.2, 1.8] cosine | ")
    assert line_of(page, "kept").endswith("0% / 0% | n 3 before, 5 now |")
    assert line_of(page, "moved").endswith(
        "| partly | inconclusive | 0.9 | – | criterion was: below 1 (power 6%); "
        "the same figure, whose interval is a range |"
    )
    assert "| 1 reproduced, 1 not reproduced | reproduced (exploratory) |" in line_of(page, "several")
    assert line_of(page, "several").endswith("| 2 models had a row each; now the unit is the model |")
    assert line_of(page, "asked-since").startswith("| asked-since | no row | contradicted |")
    assert line_of(page, "too-dear").endswith("| nets of a GPU |")
    assert "Asked no more: dropped." in page
    assert "| `newton` | 2026-11-23, 3 seeds | 2026-12-01, 5 seeds, quick |" in page
    assert "| 25 CPU minutes |" in page


def test_a_study_without_a_measurement_before_or_now_has_no_table():
    assert "newton" not in compared.compared_text({"newton": (CLAIMS, today())}, {})
    before = {"newton": compared.shortened(DOCUMENT)}
    assert "newton" not in compared.compared_text({"newton": (CLAIMS, None)}, before)


def commit(root, day: str, document: dict[str, object]) -> None:
    kept = root / "interp" / "studies" / "measured" / "newton.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(document))
    when = {"GIT_AUTHOR_DATE": f"{day}T12:00:00Z", "GIT_COMMITTER_DATE": f"{day}T12:00:00Z"}
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", day]):
        subprocess.run(["git", *words], cwd=root, check=True, env={**os.environ, **when})


def test_what_was_before_is_the_last_measurement_of_the_day_or_the_first_there_is(tmp_path):
    for day in ("2026-11-20", "2026-11-23", "2026-12-01"):
        commit(tmp_path, day, {**DOCUMENT, "date": day})
    assert compared.earlier("newton", "2026-11-27", tmp_path)["date"] == "2026-11-23"
    assert compared.earlier("newton", "2026-11-23", tmp_path)["date"] == "2026-11-23"
    assert compared.earlier("newton", "2026-11-01", tmp_path)["date"] == "2026-11-20"
    assert compared.earlier("one-step-gd", "2026-11-27", tmp_path) is None


def test_without_history_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(UserError, match="no history to take ledgers from"):
        compared.earlier("newton", "2026-11-27", inside)


def test_what_is_kept_of_before_has_every_study_and_only_known_verdicts():
    found = compared.kept()
    assert set(found) == set(compared.STUDIES)
    words = {row["verdict"] for one in found.values() for row in one["rows"].values()}
    assert words <= {
        "reproduced", "partly", "not reproduced", "inconclusive", "contradicted", "not measured",
        "not testable at this scale",
    }  # fmt: skip
