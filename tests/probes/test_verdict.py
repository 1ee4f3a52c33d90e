"""What is concluded of planted outputs: each verdict where it is due, and no name where none fits."""

from __future__ import annotations

import pytest
import torch

from interp.calibration.planted import DISTRIBUTIONS, conclude, noisy
from interp.calibration.truths import listed, strangers
from probes import filters, verdict
from probes.algorithms.iterates import Algorithm
from probes.filters import FilterConfig
from probes.observations import Observations

EASY, HARD = DISTRIBUTIONS[0], DISTRIBUTIONS[-1]
OFF = {truth.name: truth for truth in strangers()}


def concluded(distribution, make, seed=1, prompts=512, tests=1):
    world = distribution.world(seed, prompts)
    return conclude(world, noisy(world, make(world), distribution.noise), tests)


def member(name, distribution=EASY):
    algorithm = listed(distribution.world(0, 2000).top, distribution.d)[name][1]
    return lambda world: world.answers(world.run(algorithm))


@pytest.mark.parametrize(
    ("name", "family"), [("newton, 4 steps", "newton"), ("cg, 3 steps", "cg"), ("online gd", "ogd")]
)
def test_a_truth_that_no_rival_comes_near_is_identified(name, family):
    found = concluded(EASY, member(name), tests=224)
    assert (found.kind, found.families) == ("identified", (family,))
    assert found.misfit.high < 0.01


@pytest.mark.parametrize(
    ("name", "limit", "of"), [("gradient flow", "flow", "gd"), ("least squares", "ols", "svd")]
)
def test_limits_of_one_another_are_indistinguishable(name, limit, of):
    found = concluded(HARD, member(name, HARD))
    assert found.kind == "indistinguishable"
    assert {limit, of} <= set(found.families)
    assert f"{limit} is a limit of" in found.note


@pytest.mark.parametrize(
    ("name", "kind", "families"),
    [
        ("high pass", "unlisted filter", None),
        ("mean of online gd and ridge", "mixture", {"ogd", "ridge"}),
        ("newton(6) or ridge by prompt", "mixture", {"newton"}),
        ("softmax smoother", "not a filter", None),
        ("first half of the examples", "not a filter", None),
    ],
)
def test_what_no_family_fits_is_given_no_name(name, kind, families):
    found = concluded(EASY, OFF[name].make)
    assert found.kind == kind
    if families:
        assert any(families <= set(m.families) for m in found.mixtures)
    else:
        assert "nearest" in found.words


def test_pure_noise_is_none():
    world = EASY.world(3, 256)
    noise = torch.randn(world.queries.shape[:2], generator=world.gen, dtype=torch.float64)
    assert conclude(world, noise, 1).kind == "none"


def test_the_share_of_a_choice_and_its_members_are_found():
    make = OFF["gd(2) or least squares by prompt"].make
    best = concluded(EASY, make).mixtures[0]
    assert best.how == "choice"
    assert 0.4 < best.share < 0.6
    assert "gd" in best.families
    assert "of the prompts" in str(best)


def test_the_table_has_every_family_and_the_free_filter():
    world = EASY.world(4, 300)
    outputs = noisy(world, world.answers(world.run(Algorithm("ridge", 0, "norm", {"mu": 0.1}))), 0.05)
    seen = Observations.of(world.problems, world.queries, outputs)
    evidence = filters.judge(seen, FilterConfig(families=("gd", "ridge", "cg")))
    rows = verdict.table(evidence).set_index("algorithm")
    assert list(rows.index) == [*evidence.order, verdict.FREE]
    assert rows.loc[evidence.order[0], "above_best"] == 0
    assert set(rows["verdict"]) == {verdict.decide(evidence).kind}
    assert (rows["ci_low"] < rows["value"]).all()
