"""What trust tests share: a small sound run, and how a simulated interval is judged and put into the table.

Between 93% and 97% of nominal 95% intervals hold the truth; three named exceptions may hold it more often than they
say, because they must, and none may hold it less than 93 times in 100. The table has a row for each: what it is,
the intervals under it, and how often they held. Bootstrapped medians were put among the discrete after their first
full count (97.2% and 99.9%): a resampled median is one of the values.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from interp.config.run import parse_config
from interp.train.loop import train
from probes import stats
from tests.trust.inputs import SETTINGS

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
LEAST, MOST = 0.93, 0.97
EXCEPTIONS = {
    "discrete": "exact, or resampled, ends that take few values (counts, order statistics, medians, whole steps): the "
    "level is the next one above 95%",
    "combined": "one of several intervals, or ends put together from several, each at its share of the error: all of "
    "them hold at once at least 95 times in 100",
    "onset": "reaches to the checkpoints on both sides of the crossing, between which nothing was seen",
}


@pytest.fixture
def covered(record_property) -> Callable[[str, Sequence[bool], str], None]:
    """Judge hits of simulated intervals. With full counts the share itself must lie in the band, with small ones the
    band must not be ruled out."""

    def check(what: str, hits: Sequence[bool], exception: str = "") -> None:
        count, held = len(hits), sum(hits)
        most = 1.0 if exception else MOST
        row = {"section": "coverage", "what": what, "tried": count, "result": f"{held / count:.1%}"}
        if exception:
            row |= {"remark": f"exception: {exception}", "exception": {exception: EXCEPTIONS[exception]}}
        record_property("trust", row)
        if FULL:
            assert LEAST <= held / count <= most, f"{held} of {count}"
        found = stats.share(held, count, level=0.999)
        assert found.high >= LEAST
        assert found.low <= most

    return check


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "run"
    train(parse_config(SETTINGS), path)
    return path


@pytest.fixture
def run(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "run"))
