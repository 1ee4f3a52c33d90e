"""Does the residual filter double or add from layer to layer? Planted stacks of both, and of what does neither."""

from __future__ import annotations

import os

import pytest

from interp.calibration.planted import DISTRIBUTIONS
from interp.calibration.stacks import answers, stacks
from probes import doubling
from probes.observations import Observations
from tasks.errors import UserError

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
REPLICATES = 100 if FULL else 1
DISTRIBUTION = DISTRIBUTIONS[-1]
STACKS = stacks(DISTRIBUTION.world(0, 2000).top)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS if FULL else (DISTRIBUTION,), ids=str)
@pytest.mark.parametrize("name", STACKS)
def test_stacks_are_told_apart(name, distribution):
    found = answers(distribution, stacks(distribution.world(0, 2000).top)[name], REPLICATES)
    print(f"\n{distribution}, {name}: {dict(found)}")
    if STACKS[name].answer == "neither":
        assert found["neither"] >= 0.95 * REPLICATES
    else:
        assert found[STACKS[name].answer] >= 0.9 * REPLICATES
        assert found[STACKS[name].answer] + found["neither"] >= 0.95 * REPLICATES


def test_misfits_have_intervals_and_exponents_are_those_of_the_pattern():
    found = doubling.growth(STACKS["Newton, skipped layers"].observed(DISTRIBUTION, 3))
    assert found.doubling.low < found.doubling.high < doubling.TAU < found.adding.low
    assert found.exponents["doubling"][:3] == (1, 2, 4)
    assert found.layers == (0, 1, 3, 4, 6, 7)
    assert str(found).startswith("doubling (misfit of doubling")


def test_layers_that_stand_still_or_are_too_few_answer_neither():
    layer = STACKS["gradient descent"].observed(DISTRIBUTION, 4)[2]
    found = doubling.growth([layer] * 4)
    assert found.answer == "neither"
    assert "layers move" in found.note


def test_bad_input_is_one_line():
    layers = STACKS["gradient descent"].observed(DISTRIBUTION, 5)
    other: Observations = STACKS["gradient descent"].observed(DISTRIBUTION, 5, prompts=64)[0]
    for bad, words in (([layers[0]], "two layers"), ([layers[0], other], "same queries")):
        with pytest.raises(UserError, match=words):
            doubling.growth(bad)
