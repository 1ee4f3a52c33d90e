"""Counts on planted truths: broken off and added to without loss; tables say what they hold."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from interp.calibration import counts, tables
from interp.calibration.counts import Case
from tasks.errors import UserError


def cases(answers):
    """One case whose answers are given, and how often it was asked."""
    asked: list[int] = []

    def answer(k: int) -> str:
        asked.append(k)
        return answers[k]

    return [(Case("on", "law", "truth", "gd"), answer, lambda: (0.03, "cg"))], asked


def test_a_count_that_was_broken_off_goes_on_where_it_was(tmp_path):
    path = tmp_path / "counts.jsonl"
    planned, asked = cases(
        ["identified: gd", "identified: gd", "indistinguishable: cg, gd", "mixture: gd, ols"]
    )
    counts.count(planned, 2, path, time.monotonic() + 60)
    planned, again = cases(["not asked"] * 2 + ["indistinguishable: cg, gd", "mixture: gd, ols"])
    counts.count(planned, 4, path, time.monotonic() + 60)
    assert (asked, again) == ([0, 1], [2, 3])
    (found,) = counts.read(path).values()
    assert found.answers == {"identified: gd": 2, "indistinguishable: cg, gd": 1, "mixture: gd, ols": 1}
    assert (found.distance, found.nearest, found.replicates) == (0.03, "cg", 4)
    assert (tables.covered(found), tables.alone(found), tables.listed(found)) == (3, 2, 3)
    counts.count(planned, 9, path, time.monotonic() - 1)
    assert counts.read(path)[found.key].replicates == 4, "no time left"


def case(part, due, distance, **answers):
    return Case(
        part, "law", "t", due, distance, "cg", Counter({k.replace("_", " "): n for k, n in answers.items()})
    )


def test_a_wrong_name_and_a_lost_truth_are_counted_as_such():
    on = case("on", "gd", 0.05, **{"identified: gd": 5, "identified: cg": 2, "indistinguishable: cg, ols": 1})
    off = case("off", "", 0.05, **{"indistinguishable: gd, unlisted filter": 3, "unlisted filter: gd, cg": 6})
    near = case("off", "", 0.01, **{"identified: gd": 4})
    assert tables._confusion([on]) == [5, 2, 0, 1, 0, 0, 0, 0, 8]
    first, second, third = tables.goals([on, off, near])
    assert "5 of 8" in first
    assert "5 of 8" in second
    assert "3 of 9" in third, "the near truth is not asked, nearest families are no name"
    text = tables.page([on, off, near])
    assert text.index("0.0500") < text.index("## Near truths") < text.rindex("0.0100")


def test_the_tables_are_what_the_counts_say():
    assert tables.main(["--check"]) == 0, "run python -m interp.calibration.tables"


def test_a_readme_without_its_markers_is_refused():
    with pytest.raises(UserError, match="once each"):
        tables.rewritten("no table here", "table")


def test_every_case_has_a_key_of_its_own():
    planned = counts.planned(counts.PARTS, 64)
    assert len({case.key for case, _, _ in planned}) == len(planned) > 190
