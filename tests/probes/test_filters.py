from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest
import torch

from interp.calibration import planted as planted_bench
from interp.calibration import planted_model as planted
from interp.calibration import ties
from probes import filter_shape, filters
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import FAMILIES, Algorithm, Problems
from probes.families import Observations, Scan, candidates
from probes.filters import FilterConfig
from tasks.errors import UserError

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
REPLICATES = 100 if FULL else 3
PROMPTS, D, NOISE = 2000, planted_bench.D, planted_bench.NOISE
QUERIES = int(os.environ.get("ALGOSCOPE_QUERIES", str(2 * D)))
CONFIG = FilterConfig()
SPECTRUM = planted_bench.spectrum()  # kappa = 100
ALLOWED = 5 if FULL else 0


def draw(seed, spectrum=SPECTRUM, n=2 * D, count=PROMPTS, queries=QUERIES):
    gen = torch.Generator().manual_seed(seed)
    prompts = planted.prompts(spectrum, n, count, queries, 0.0, gen)
    return prompts, Problems.of(prompts.x, prompts.y, (n,)), gen


def observe(prompts, problems, algorithm, gen, noise=NOISE):
    return Observations.of(
        problems, prompts.queries, planted.outputs(problems, algorithm, prompts.queries, noise, gen)
    )


def top():
    """Mean largest eigenvalue of S: the unit of the planted sizes."""
    return float(draw(0)[1].eigenvalues[:, 0, -1].mean())


TOP = top()
TRUTHS = planted_bench.truths(TOP)
NORMALISED = {
    "gd": Algorithm("gd", 16, "norm", {"eta": 0.6}),
    "newton": Algorithm("newton", 9, "trace", {"alpha": 1.0}),
    "ridge": Algorithm("ridge", 0, "trace", {"mu": 0.02}),
    "gd++": Algorithm("gd++", 4, "norm", {"eta": 1.5, "gamma": 0.7}),
}


@pytest.mark.parametrize("family", [name for name in TRUTHS if name != "cg"])
def test_planted_filters_are_half_way_at_the_median_eigenvalue(family):
    _, problems, _ = draw(0)
    truth = TRUTHS[family]
    assert 0.2 < float(FAMILIES[family].filter(problems.eigenvalues.median(), truth.k, **truth.sizes)) < 0.8


@pytest.mark.parametrize("family", TRUTHS)
def test_each_family_is_told_from_every_other(family):
    lost, verdicts = Counter(), Counter()
    for seed in range(REPLICATES):
        prompts, problems, gen = draw(1000 + seed)
        evidence = filters.judge(observe(prompts, problems, TRUTHS[family], gen), CONFIG)
        lost.update(
            rival for rival in TRUTHS if rival != family and evidence.compare(family, rival) != family
        )
        verdicts[evidence.verdict] += 1
    print(f"\ntruth {family}: verdicts {dict(verdicts)}; wrong or indistinguishable by rival {dict(lost)}")
    assert max(lost.values(), default=0) <= ALLOWED
    assert verdicts[family] >= REPLICATES - ALLOWED


@pytest.mark.parametrize("family", NORMALISED)
def test_steps_normalised_by_each_prompt_are_recognised(family):
    prompts, problems, gen = draw(5)
    evidence = filters.judge(observe(prompts, problems, NORMALISED[family], gen), CONFIG)
    assert evidence.verdict == family
    best = evidence.best[evidence.families.index(family)]
    assert best.step == NORMALISED[family].step


SETTING = planted_bench.PlantedSetting(replicates=REPLICATES, prompts=PROMPTS, queries=QUERIES)


@pytest.mark.parametrize("tie", ties.ties(TOP), ids=str)
def test_identical_and_neighbouring_iterates_are_indistinguishable(tie):
    names = sum(ties.tied(tie, 2000 + seed, SETTING) for seed in range(REPLICATES))
    print(f"\n{tie}: indistinguishable {names} of {REPLICATES}")
    assert names >= REPLICATES - ALLOWED


@pytest.mark.parametrize("family", ties.isotropic_truths())
def test_isotropic_prompts_with_many_examples_decide_nothing(family):
    verdicts = Counter(ties.isotropic(family, 3000 + seed, SETTING) for seed in range(REPLICATES))
    print(f"\nisotropic, truth {family}: verdicts {dict(verdicts)}")
    assert verdicts["indistinguishable"] >= REPLICATES - ALLOWED


def test_pure_noise_names_no_family():
    prompts, problems, gen = draw(7)
    noise = torch.randn(PROMPTS, QUERIES, generator=gen, dtype=torch.float64)
    evidence = filters.judge(Observations.of(problems, prompts.queries, noise), CONFIG)
    assert evidence.verdict == "indistinguishable"
    assert min(evidence.unexplained) > 0.99


def test_scan_equals_the_exact_residual():
    prompts, problems, gen = draw(8, count=200)
    seen = observe(prompts, problems, TRUTHS["gd"], gen)
    for step in algorithms.STEPS:
        scan = Scan(seen, step)
        sizes = {"eta": torch.tensor([[0.3 / scan.typical]], dtype=torch.float64)}
        f = FAMILIES["gd"].filter(scan.u, 12, eta=0.3 / scan.typical)
        times, squared = (term.sum() for term in seen.terms((f * seen.base)[None]))
        exact = float(seen.size.sum() - times**2 / squared)
        assert float(scan.left_over("gd", (12,), sizes)) == pytest.approx(exact, rel=1e-4)  # 0.2 nats here


def test_posterior_adds_up_and_identical_families_share_it():
    prompts, problems, gen = draw(9)
    seen = observe(prompts, problems, TRUTHS["gd"], gen)
    same = candidates(seen, "gd", ladder=(16,))
    evidence = filters.weigh(seen, {"a": same, "b": same}, CONFIG)
    assert evidence.posterior.tolist() == pytest.approx([0.5, 0.5])
    assert filters.judge(seen, CONFIG).posterior.sum().item() == pytest.approx(1)


def test_gain_is_free_and_reported():
    prompts, problems, gen = draw(10)
    clean = planted.outputs(problems, TRUTHS["newton"], prompts.queries, NOISE, gen)
    evidence = filters.judge(Observations.of(problems, prompts.queries, 0.3 * clean), CONFIG)
    assert evidence.verdict == "newton"
    assert evidence.gain[evidence.families.index("newton")] == pytest.approx(0.3, rel=0.02)
    assert evidence.unexplained[evidence.families.index("newton")] == pytest.approx(0.1 / 1.1, rel=0.1)


def test_misfit_is_nothing_for_the_truth_and_something_for_an_algorithm_of_no_family():
    prompts, problems, gen = draw(17)
    right = filters.judge(observe(prompts, problems, TRUTHS["newton"], gen), CONFIG)
    own = right.misfit[right.families.index("newton")]
    assert own.low < 0 < own.high
    assert right.misfit[right.families.index("ridge")].low > 0
    other = Algorithm("momentum", 6, "norm", {"eta": 1.0, "beta": 0.8})
    stranger = filters.judge(observe(prompts, problems, other, gen), CONFIG)
    assert min(found.low for found in stranger.misfit) > 0.001
    few, problems, gen = draw(18, count=300, queries=3)
    assert np.isnan(filters.judge(observe(few, problems, TRUTHS["gd"], gen), CONFIG).misfit[0].value)


def test_table_says_who_stands():
    prompts, problems, gen = draw(11)
    table = (
        filters.judge(observe(prompts, problems, TRUTHS["ridge"], gen), CONFIG).table().set_index("algorithm")
    )
    assert table.loc["ridge", "value"] == 0
    assert (table.drop("ridge").value < 0).all()
    assert set(table.verdict) == {"ridge"}


@pytest.mark.parametrize(("family", "slope"), [("newton", 2.0), ("gd", 1.0), ("ridge", 1.0)])
def test_slope_at_small_eigenvalues_covers_the_truth(family, slope):
    # every filter is small everywhere here, so its leading power is what there is to see; kappa = 10
    spectrum = list(np.geomspace(2, 0.2, D))
    small = {
        "gd": Algorithm("gd", 2, "fixed", {"eta": 0.01 / TOP}),
        "newton": Algorithm("newton", 2, "fixed", {"alpha": 0.003 / TOP**2}),
        "ridge": Algorithm("ridge", 0, "fixed", {"mu": 40 * TOP}),
    }[family]
    other = 3 - slope
    inside = told = 0
    for seed in range(12):
        prompts, problems, gen = draw(4000 + seed, spectrum, count=500)
        found = filter_shape.shape(observe(prompts, problems, small, gen, 0.001), CONFIG)
        inside += found.power.low <= slope <= found.power.high
        told += not found.power.low <= other <= found.power.high
    assert told >= 11
    assert inside >= 9  # 95% intervals: 8 or fewer of 12 has probability 2e-4


def test_a_power_that_cannot_be_measured_has_a_wide_interval():
    prompts, problems, gen = draw(16, count=300)
    tiny = Algorithm("newton", 1, "fixed", {"alpha": 1e-3 / TOP**2})
    found = filter_shape.shape(observe(prompts, problems, tiny, gen, 0.5), CONFIG)
    assert found.power.low < 1 < 2 < found.power.high


def test_measured_filter_follows_the_planted_one():
    prompts, problems, gen = draw(12)
    truth = TRUTHS["ridge"]
    found = filter_shape.shape(observe(prompts, problems, truth, gen), CONFIG)
    expected = FAMILIES["ridge"].filter(found.eigenvalues, 0, **truth.sizes)
    assert (found.value.value - expected).abs().max() < 0.05


def test_bad_input_is_one_line():
    prompts, problems, _ = draw(15, count=20)
    several = Problems.of(prompts.x, prompts.y, (5, 10))
    out = torch.ones(20, QUERIES)
    cases = [
        (lambda: Observations.of(several, prompts.queries, out), "one context length"),
        (lambda: Observations.of(problems, prompts.queries, out * torch.nan), "NaN"),
        (lambda: Observations.of(problems, prompts.queries, out * 0), "all 0"),
        (
            lambda: candidates(Observations.of(problems, prompts.queries, out), "adam"),
            "no filter family",
        ),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
