"""Where an interval must not be printed, or covers less than it says: refused, or stated in the documentation."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import numpy as np
import pytest
import torch

from interp.landscape import tails
from probes import stats
from tasks.errors import UserError
from tests.trust.draws import CARRIED, carried

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"


def test_no_interval_is_printed_where_it_would_cover_less_than_90_percent():
    for n in (1, 2, stats.FEWEST_PROMPTS - 1):
        found = stats.bootstrap(torch.arange(float(n)))
        assert math.isnan(float(found.low))
        assert math.isnan(float(found.high))
        assert "fewer than" in found.method
    assert stats.median([1.0, 2.0, 3.0]).is_range
    assert stats.over_seeds([0.1, 0.2, 0.3], 0, 1).is_range
    assert math.isnan(stats.student([1.0]).low)
    with pytest.raises(UserError, match="at least 100"):
        tails.tail(torch.ones(99))


def test_what_three_seeds_and_seeds_of_two_kinds_cover(record_property):
    """A range of three is no 95% interval; nor is what is made of seeds of which those that fail were not trained."""
    rng, count = np.random.default_rng(17), 1000 if FULL else 200

    def held(draw: Callable[[], np.ndarray], truth: float) -> float:
        found = [stats.over_seeds(draw(), 0, 1) for _ in range(count)]
        return float(np.mean([one.low <= truth <= one.high for one in found]))

    of_three = held(lambda: rng.beta(8, 2, 3), 0.8)
    fails = {n: held(lambda n=n: np.where(rng.random(n) < 0.2, 0.25, 0.98), 0.834) for n in (5, 8)}
    assert 0.6 < of_three < 0.85
    result = f"range of 3 seeds: {of_three:.1%}"
    result += "".join(f"; {n} seeds, 1 in 5 fails: {share:.1%}" for n, share in fails.items())
    row = {"section": "limits", "what": "means over seeds that are not covered 95 times in 100"}
    record_property("trust", {**row, "tried": 3 * count, "result": result, "remark": "the docstring says so"})


def test_a_ratio_is_held_where_a_prompt_that_carries_it_was_seen(record_property):
    """Where none was seen, which no rule can tell from a ratio of 0, it is not; the table says how often that is."""
    rng, said = np.random.default_rng(13), []
    for prompts in (64, 128, 256, 1024):
        effect, whole = carried(rng, prompts, 1000)
        found, seen = stats.ratio(effect, whole), (effect > 0).any(0)
        held = (found.low <= CARRIED) & (found.high >= CARRIED)
        assert not bool(held[~seen].any())
        with_one = float(held[seen].double().mean())
        assert with_one >= 0.9
        said.append(f"{prompts} prompts: {with_one:.1%}, none seen in {1 - float(seen.double().mean()):.1%}")
    row = {"section": "limits", "what": "a ratio that 2% of prompts carry, where one of them is seen"}
    remark = "one that the data hold no trace of is taken for 0; the README says so"
    record_property("trust", {**row, "tried": 4000, "result": "; ".join(said), "remark": remark})
