"""The tabulated null of a rise is what a simulation of today's statistic gives, to the error of both.

Some lengths at 4,000 curves a strength, long ones at 1,000; ALGOSCOPE_FULL=1 takes every length and 40,000.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from interp.emergence import null_quantiles, rise_null, rises
from interp.emergence.null_quantiles import EXCEEDED, TAIL, Null, kept
from interp.emergence.rises import FEWEST, LONGEST, NULLS, autoregression, rise_p_values

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
LENGTHS = range(FEWEST, LONGEST + 1) if FULL else (5, 8, 13, 21, 34, 60)
ERRORS = 4.5  # standard errors: a few thousand comparisons at most


def test_every_length_and_strength_is_there() -> None:
    assert list(kept()) == list(range(FEWEST, LONGEST + 1))
    assert {len(nulls) for nulls in kept().values()} == {len(NULLS)}


@pytest.mark.parametrize("length", LENGTHS)
def test_simulated_anew_the_quantiles_are_exceeded_as_often_as_they_say(length: int) -> None:
    draws = 40_000 if FULL else 4000 if length < 30 else 1000
    for strength, null in zip(NULLS, kept()[length], strict=True):
        drawn = rise_null.simulated(length, strength, draws, seed=1)
        above = null.quantiles > null.quantiles[0]  # many curves have no rise that is better than none
        share = (drawn[:, None] >= null.quantiles[above]).mean(0)
        either = 1 / draws + 1 / rise_null.SIMULATED
        error = np.sqrt(EXCEEDED * (1 - EXCEEDED) * either)[above]
        assert (np.abs(share - EXCEEDED[above]) <= ERRORS * error).all()
        beyond = drawn[drawn > null.quantiles[-1]] - null.quantiles[-1]
        assert abs(beyond.mean() - null.excess) <= ERRORS * beyond.std() * np.sqrt(either / TAIL)


def test_probabilities_between_and_beyond_the_quantiles() -> None:
    drawn = np.random.default_rng(0).exponential(2.0, 200_000)
    null = Null.of(drawn)
    at = np.array([-1.0, 0.1, 0.5, 1.7, 3.0, 6.0, 12.0])
    assert null.exceeded(at) == pytest.approx(np.exp(-np.maximum(at, 0) / 2), rel=0.02, abs=0.003)
    assert (np.diff(null.exceeded(np.linspace(-1, 30, 500))) <= 0).all()


def test_another_statistic_would_be_seen(monkeypatch) -> None:
    """Where the strongest autocorrelations are not fitted the table is not that of the statistic any more."""
    monkeypatch.setattr(rises, "STRENGTHS", rises.STRENGTHS[:-2])
    monkeypatch.setattr(
        rises, "_projections", rises._projections.__wrapped__
    )  # not those that are remembered
    with pytest.raises(AssertionError):
        test_simulated_anew_the_quantiles_are_exceeded_as_often_as_they_say(21)


def test_p_values_of_noise_are_those_of_its_own_simulation() -> None:
    """At the strengths that are tabulated the largest of the p-values is at most 5% as often as it should be."""
    for strength in NULLS:
        noise = autoregression(np.random.default_rng(5), 4000, 12, strength)
        assert (rise_p_values(noise) <= 0.05).mean() <= 0.05 + ERRORS * np.sqrt(0.05 * 0.95 / 4000)


def test_what_is_written_is_read_again(tmp_path, monkeypatch) -> None:
    before = kept()
    monkeypatch.setattr(null_quantiles, "KEPT", tmp_path / "table.tsv")
    null_quantiles.write(
        {
            (length, strength): null
            for length in (5, 60)
            for strength, null in zip(NULLS, before[length], strict=True)
        }
    )
    kept.cache_clear()
    try:
        again = kept()
    finally:
        kept.cache_clear()
    assert list(again) == [5, 60]
    for length in (5, 60):
        for one, other in zip(again[length], before[length], strict=True):
            assert one.quantiles == pytest.approx(other.quantiles, abs=1e-9)
            assert one.excess == other.excess
