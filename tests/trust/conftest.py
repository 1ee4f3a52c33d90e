"""How a simulated interval is judged and put into the table of trust.

Between 93% and 97% of nominal 95% intervals hold the truth; three kinds of exception may hold it more often than they
say, because they must, and none may hold it less than 93 times in 100. Bootstrapped medians were put among the discrete
after their first full count (97.2% and 99.9%): a resampled median is one of the values.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import pytest

from probes import stats

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
LEAST, MOST = 0.93, 0.97
EXCEPTIONS = {
    "discrete": "ends take few values (counts, order statistics, whole steps), so the level is the next one above 95%",
    "combined": "ends of several intervals, each at its share of the error, so that together they hold at least 95%",
    "onset": "reaches to the checkpoints on both sides of the crossing, between which nothing was seen",
}


@pytest.fixture
def covered(record_property) -> Callable[[str, Sequence[bool], str], None]:
    """Judge hits of simulated intervals. With full counts the share itself must lie in the band, with small ones the
    band must not be ruled out."""

    def check(what: str, hits: Sequence[bool], exception: str = "") -> None:
        count, held = len(hits), sum(hits)
        most = 1.0 if exception else MOST
        remark = f"named exception: {EXCEPTIONS[exception]}" if exception else ""
        row = {"section": "coverage", "what": what, "tried": count, "result": f"{held / count:.1%}"}
        record_property("trust", {**row, "remark": remark})
        if FULL:
            assert LEAST <= held / count <= most, f"{held} of {count}"
        found = stats.share(held, count, level=0.999)
        assert found.high >= LEAST
        assert found.low <= most

    return check
