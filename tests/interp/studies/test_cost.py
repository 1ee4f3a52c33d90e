"""The cost of a study: counted over all calls, unknown where runs were not counted."""

from __future__ import annotations

import time

import pytest

from interp.config.run import configure
from interp.runs.folder import RunFolder
from interp.studies import cost


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
