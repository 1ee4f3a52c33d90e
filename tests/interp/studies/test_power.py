"""Powers of criteria: what is computed is what simulation gives, and no claim has a criterion that is no test."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from interp.studies import STUDIES
from interp.studies.criteria import Criterion
from interp.studies.newton import measure_planted
from interp.studies.power import (
    PLANTED,
    TEST,
    Estimates,
    Exact,
    Means,
    Planted,
    Shares,
    Signs,
    planted_figures,
)
from interp.studies.summary import claims_of
from probes import stats

CLAIMS = [
    pytest.param(claim, id=f"{study}: {name}")
    for study in STUDIES
    for name, claim in claims_of(study).items()
]
LARGEST_SIZE = 0.05


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_criterion_is_a_test(claim):
    """At the quick scale's n: met more often than not when the claim is true, and hardly when it is false."""
    power = claim.power
    assert power is not None
    assert power.if_true >= TEST, claim.criterion.text
    assert power.if_false <= LARGEST_SIZE, claim.criterion.text


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_is_a_sentence_of_its_own(claim):
    assert re.match(r"[A-Z].*\.$", claim.statement, flags=re.S), claim.statement
    assert len(claim.statement.split()) >= 5
    assert not re.match(r"(The same|It|They|That|And|So)\b", claim.statement)
    assert "..." not in claim.statement
    assert claim.source
    assert claim.unit


def by_simulation(criterion, draw, trials=400):
    rng = np.random.default_rng(1)
    met = [
        criterion.judge(found.value, found.low, found.high) == "reproduced"
        for found in map(draw, [rng] * trials)
    ]
    return float(np.mean(met))


@pytest.mark.parametrize(
    ("design", "criterion", "draw"),
    [
        (Shares(0.9, 0.5, 9), Criterion.above(0.5), lambda p, rng: stats.share(int(rng.binomial(9, p)), 9)),
        (Means(1.3, 1.0, 0.2, 4), Criterion.above(1.0), lambda m, rng: stats.student(rng.normal(m, 0.2, 4))),
        (Means(1.5, 1.0, 0.3, 5, "log"), Criterion.above(1.0),
         lambda m, rng: stats.student(np.exp(rng.normal(np.log(m), 0.3, 5)), "log")),
        (Signs(0.95, 0.5, 8), Criterion.above(0.0),
         lambda p, rng: stats.median(np.where(rng.random(8) < p, 1.0, -1.0) * rng.random(8))),
    ],
)  # fmt: skip
def test_powers_are_those_of_the_intervals_that_rows_have(design, criterion, draw):
    found = design.power(criterion, design.n)
    for chance, truth in ((found.if_true, design.true), (found.if_false, design.false)):
        simulated = by_simulation(criterion, lambda rng, truth=truth: draw(truth, rng))
        assert chance == pytest.approx(simulated, abs=4 * np.sqrt(0.25 / 400))


def test_powers_of_bounded_figures_are_those_of_their_intervals():
    """Accuracies near 1: what a row has stays below 1, and so does what the power is simulated with."""
    design, criterion = Means(0.97, 0.9, 0.02, 5), Criterion.within(0.9, 1.0)
    simulated = by_simulation(
        criterion, lambda rng: stats.over_seeds(rng.normal(0.97, 0.02, 5).clip(0, 1), 0, 1)
    )
    assert design.power(criterion, 5, (0.0, 1.0)).if_true == pytest.approx(
        simulated, abs=4 * np.sqrt(0.25 / 400)
    )
    assert design.power(criterion, 5).if_true < simulated - 0.1, "without bounds limits pass 1"


def test_windows_wider_than_the_gap_and_three_of_three_are_found_out():
    """What the powers were asked for: criteria that a claim's rival meets, and such as nothing can meet."""
    gap = Criterion.within(0.941, 1.0)
    assert Means(0.991, 0.957, 0.0034).power(gap, 4).if_false > 0.5
    assert Means(9.0, 0.0, 0.1).power(Criterion.above(1.0), 3).if_true == 0, "three seeds have a range"
    assert Shares(0.99, 0.5, 3).power(Criterion.above(0.5), 3).if_true == 0
    assert Signs(0.99, 0.5, 3).power(Criterion.above(1.0), 3).if_true == 0
    assert Exact(1.0, 0.99).power(Criterion.within(0.9, 1.1), 1).if_false == 1
    assert Estimates(2.0, 1.0, 1.0).power(Criterion.within(1.8, 2.2), 1).if_true == 0


OLD = {
    "table-order": Criterion.above(0.01),
}


@pytest.mark.parametrize(("name", "old"), OLD.items())
def test_criteria_that_planted_nets_cannot_meet_were_replaced(name, old):
    design = Planted(name)
    assert design.power(old, 5).if_true == 0
    claim = claims_of("newton")[name]
    assert claim.history
    assert claim.criterion.text != old.text


def test_without_units_or_figures_there_is_no_power():
    assert Shares(0.9, 0.5, 3).power(Criterion.above(0.5), 0) is None
    assert Means(1, 0, 1).power(Criterion.above(0.5), 1) is None
    assert Planted("unheard of").power(Criterion.above(0.5), 3) is None


def test_kept_figures_are_of_both_truths():
    document = json.loads(PLANTED.read_text())
    for sides in planted_figures().values():
        assert {side: len(found) for side, found in sides.items()} == {
            "true": document["nets"], "false": document["nets"],
        }  # fmt: skip


def test_kept_figures_are_what_the_simulation_gives():
    found, kept = measure_planted.simulated(1), planted_figures()
    for name, sides in found.items():
        for side, values in sides.items():
            assert values == pytest.approx(kept[name][side][:1], rel=1e-4)


def test_the_standard_error_of_an_estimate_goes_with_its_units():
    criterion = Criterion.within(1.8, 2.2)
    design = Estimates(2.0, 1.0, 0.072, n=144)
    assert design.power(criterion, 144) == Estimates(2.0, 1.0, 0.072).power(criterion, 144)
    assert design.power(criterion, 576) == Estimates(2.0, 1.0, 0.036).power(criterion, 1)
    assert design.power(criterion, 576).if_true > design.power(criterion, 144).if_true
