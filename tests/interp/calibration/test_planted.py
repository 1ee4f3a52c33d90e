from __future__ import annotations

import os

import pytest

from interp.calibration import ties
from interp.calibration.planted import DISTRIBUTIONS, Setting, row, spectrum, truths
from tasks.errors import UserError

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
SETTING = Setting(replicates=100) if FULL else Setting(replicates=1)
TAU = 0.01
ON = [(distribution, truth) for distribution in DISTRIBUTIONS for truth in truths(distribution, "on")]
OFF = [(distribution, truth) for distribution in DISTRIBUTIONS for truth in truths(distribution, "off")]


def few(cases, every):
    return cases if FULL else cases[::every]


@pytest.mark.parametrize(("distribution", "truth"), few(ON, 16), ids=lambda case: getattr(case, "name", None))
def test_the_set_that_is_returned_holds_the_truth(distribution, truth):
    found = row(distribution, truth, SETTING)
    print(found)
    assert found["covered"] >= 0.95 * SETTING.replicates
    if found["distance"] >= 2 * TAU:
        assert found["alone"] >= 0.95 * SETTING.replicates


@pytest.mark.parametrize(
    ("distribution", "truth"), few(OFF, 28), ids=lambda case: getattr(case, "name", None)
)
def test_a_truth_of_no_family_is_given_no_family_s_name(distribution, truth):
    found = row(distribution, truth, SETTING)
    print(found)
    if found["distance"] >= 2 * TAU:
        assert found["identified"] <= 0.05 * SETTING.replicates


@pytest.mark.parametrize("tie", ties.ties(DISTRIBUTIONS[-1].world(0, 2000).top), ids=str)
def test_identical_neighbouring_and_limiting_iterates_are_indistinguishable(tie):
    names = sum(ties.tied(tie, 2000 + seed, SETTING) for seed in range(SETTING.replicates))
    assert names >= 0.95 * SETTING.replicates


@pytest.mark.parametrize("family", ties.isotropic_truths())
def test_isotropic_prompts_with_many_examples_decide_nothing(family):
    verdicts = [ties.isotropic(family, 3000 + seed, SETTING) for seed in range(SETTING.replicates)]
    assert verdicts.count("indistinguishable") >= 0.95 * SETTING.replicates


def test_three_prompts_decide_nothing():
    found = row(DISTRIBUTIONS[0], truths(DISTRIBUTIONS[0], "on")[0], Setting(replicates=1, prompts=3))
    assert found["verdicts"] == "indistinguishable 1"


def test_the_spectrum_and_bad_settings():
    values = spectrum(4, 1000.0)
    assert sum(values) == pytest.approx(4)
    assert values[0] / values[-1] == pytest.approx(1000)
    with pytest.raises(UserError, match="prompts 2 or more"):
        Setting(prompts=1)
