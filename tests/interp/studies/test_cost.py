"""The cost of a study: counted over all calls, unknown where runs were not counted, said before it starts."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from interp.config.run import configure
from interp.runs.folder import RunFolder
from interp.studies import STUDIES, cost
from interp.studies.ledger import Ledger, Measured

LEDGER = Ledger("markov-chains", "quick", (0,), cpu_seconds=1500.0)
LAST = Measured(LEDGER, "9.9", "2026-01-02")


def work(seconds: float) -> None:
    """Spend so much CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def broken_off() -> None:
    work(0.3)
    raise KeyboardInterrupt


def test_calls_add_up_and_a_broken_off_one_counts(tmp_path):
    out = tmp_path / "study"
    assert cost.spent(out, "quick") is None
    with cost.counted(out, "quick"):
        work(0.3)
    first = cost.spent(out, "quick")
    with pytest.raises(KeyboardInterrupt), cost.counted(out, "quick"):
        broken_off()
    second = cost.spent(out, "quick")
    assert first >= 0.3
    assert second >= first + 0.3
    assert cost.spent(out, "cpu") is None, "another scale has its own"


def test_runs_that_nobody_counted_leave_the_cost_unknown(tmp_path):
    RunFolder.create(tmp_path / "usual-0", configure("markov"))
    with cost.counted(tmp_path, "quick"):
        pass
    assert cost.spent(tmp_path, "quick") is None


@pytest.mark.parametrize("study", STUDIES)
def test_what_a_study_takes_is_said_before(study, tmp_path):
    said = cost.announced(study, "quick", tmp_path, None)
    runs = int(said.partition("scale quick: ")[2].partition(" runs")[0])
    assert 0 < runs <= len(cost.planned(study, "quick"))
    assert "0 of them begun or finished" in said
    assert said.endswith("has not been measured at this scale")


def test_the_last_cost_is_that_of_the_same_scale(tmp_path):
    RunFolder.create(tmp_path / "usual-0", configure("markov"))
    said = cost.announced("markov-chains", "quick", tmp_path, LAST)
    assert "1 of them begun" in said
    assert said.endswith("25 CPU minutes in all when it was last measured (2026-01-02, version 9.9)")
    assert "not been measured" in cost.announced("markov-chains", "cpu", tmp_path, LAST)
    uncounted = replace(LAST, ledger=replace(LEDGER, cpu_seconds=None))
    assert "not been measured" in cost.announced("markov-chains", "quick", tmp_path, uncounted)
    assert Ledger.from_json(LEDGER.to_json()).cpu_seconds == 1500.0
