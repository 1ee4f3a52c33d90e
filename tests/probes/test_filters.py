from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from interp.calibration import planted as planted_bench
from interp.calibration import planted_model as planted
from probes import filter_shape, filters, verdict
from probes.algorithms.iterates import FAMILIES, Algorithm, Problems
from probes.algorithms.problems import STEPS
from probes.families import LADDERS, candidates
from probes.filters import FilterConfig
from probes.observations import Observations
from probes.scan import Scan
from tasks.errors import UserError

PROMPTS, D, NOISE = 2000, planted_bench.D, planted_bench.NOISE
QUERIES = 2 * D
CONFIG = FilterConfig()
SPECTRUM = planted_bench.spectrum()  # kappa = 100


def draw(seed, spectrum=SPECTRUM, n=2 * D, count=PROMPTS, queries=QUERIES):
    gen = torch.Generator().manual_seed(seed)
    prompts = planted.prompts(spectrum, n, count, queries, 0.0, gen)
    return prompts, Problems.of(prompts.x, prompts.y, (n,)), gen


def observe(prompts, problems, algorithm, gen, noise=NOISE):
    return Observations.of(
        problems, prompts.queries, planted.outputs(problems, algorithm, prompts.queries, noise, gen)
    )


TOP = float(draw(0)[1].eigenvalues[:, 0, -1].mean())  # the unit of the planted sizes
TRUTHS = {
    "gd": Algorithm("gd", 16, "fixed", {"eta": 0.6 / TOP}),
    "newton": Algorithm("newton", 10, "fixed", {"alpha": 0.2 / TOP**2}),
    "ridge": Algorithm("ridge", 0, "fixed", {"mu": 0.04 * TOP}),
    "gd++": Algorithm("gd++", 4, "fixed", {"eta": 1.5 / TOP, "gamma": 0.7 / TOP}),
    "cg": Algorithm("cg", 3),
}


@pytest.mark.parametrize(
    "family", [name for name in LADDERS if name not in ("ols", "svd", "newton-identity")]
)
def test_the_search_finds_the_sizes_of_a_family_from_outputs_without_noise(family):
    prompts, problems, gen = draw(1, count=300)
    middle = {
        "eta": 0.7,
        "alpha": 0.3,
        "gamma": 0.7,
        "mu": 0.1,
        "time": 8.0,
        "beta": 0.6,
        "high": 1.0,
        "low": 0.03,
    }
    own = {name: middle[name] for name in LADDERS[family][1]}
    k = LADDERS[family][0][min(3, len(LADDERS[family][0]) - 1)]
    truth = Algorithm(family, k, "norm", own)
    seen = observe(prompts, problems, truth, gen, 0.0)
    found = filters.weigh(seen, {family: candidates(seen, family)}, CONFIG)
    assert found.misfit(family).value < 1e-4
    assert found.of(family).best.k == k
    assert found.of(family).gain == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("cut", "of"), [(0.1, "svd"), (0.0, "svd-rank")])
def test_a_truncation_is_found_by_cut_and_by_rank(cut, of):
    prompts, problems, gen = draw(2, count=300)
    truth = Algorithm("svd", 0, "fixed", {"cut": cut * TOP}) if cut else Algorithm("svd-rank", 4)
    seen = observe(prompts, problems, truth, gen)
    found = filters.weigh(seen, {"svd": candidates(seen, "svd")}, CONFIG)
    assert found.of("svd").best.family == of
    assert found.limits(found.of("svd").left)[1] < CONFIG.tau
    assert found.free_misfit.low > found.misfit("svd").high or of == "svd-rank", (
        "nodes blur a jump, ranks do not"
    )


def test_steps_normalised_by_each_prompt_are_recognised():
    prompts, problems, gen = draw(5)
    seen = observe(prompts, problems, Algorithm("newton", 9, "trace", {"alpha": 1.0}), gen)
    best = filters.weigh(seen, {"newton": candidates(seen, "newton")}, CONFIG).of("newton").best
    assert (best.step, best.k) == ("trace", 9)


def test_scan_equals_the_exact_residual():
    prompts, problems, gen = draw(8, count=200)
    seen = observe(prompts, problems, TRUTHS["gd"], gen)
    for step in STEPS:
        scan = Scan(seen, step)
        sizes = {"eta": torch.tensor([[0.3 / scan.typical]], dtype=torch.float64)}
        f = FAMILIES["gd"].filter(scan.u, 12, eta=0.3 / scan.typical)
        times, squared = (term.sum() for term in seen.terms((f * seen.base)[None]))
        exact = float(seen.size.sum() - times**2 / squared)
        assert float(scan.left_over(scan.frame.curves("gd", (12,), sizes))) == pytest.approx(exact, rel=1e-4)


def test_a_part_of_the_prompts_is_what_observing_them_alone_gives():
    prompts, problems, gen = draw(3, count=80)
    outputs = planted.outputs(problems, TRUTHS["gd"], prompts.queries, NOISE, gen)
    half = torch.arange(0, 80, 2)
    part = Observations.of(problems, prompts.queries, outputs).part(half)
    alone = Observations.of(
        Problems.of(prompts.x[half], prompts.y[half], (2 * D,)), prompts.queries[half], outputs[half]
    )
    for name in ("eigenvalues", "size", "noise"):
        torch.testing.assert_close(getattr(part, name), getattr(alone, name))
    assert part.rows == alone.rows
    assert part.reach["fixed"][1] >= alone.reach["fixed"][1]
    rest = part.without(part.base)
    assert (rest.size - part.size + 2 * (part.base * part.cross).sum(1)).min() > 0


def test_gain_is_free_and_reported():
    prompts, problems, gen = draw(10)
    clean = planted.outputs(problems, TRUTHS["newton"], prompts.queries, NOISE, gen)
    seen = Observations.of(problems, prompts.queries, 0.3 * clean)
    found = filters.weigh(seen, {"newton": candidates(seen, "newton")}, CONFIG)
    assert found.of("newton").gain == pytest.approx(0.3, rel=0.02)
    assert found.limits(found.of("newton").left)[1] < CONFIG.tau


def test_misfit_is_nothing_for_the_truth_and_something_for_another():
    prompts, problems, gen = draw(17, count=600)
    seen = observe(prompts, problems, TRUTHS["newton"], gen)
    found = filters.weigh(seen, {name: candidates(seen, name) for name in ("newton", "ridge")}, CONFIG)
    assert found.misfit("newton").low < 0 < found.misfit("newton").high
    assert found.misfit("ridge").low > 0
    assert found.worse("ridge", "newton")
    assert not found.worse("newton", "ridge")
    assert found.order == ("newton", "ridge")


def test_a_corrected_level_widens_the_limits_and_needs_no_resampling():
    prompts, problems, gen = draw(18, count=300)
    seen = observe(prompts, problems, TRUTHS["ridge"], gen)
    members = {"ridge": candidates(seen, "ridge")}
    low, high = filters.weigh(seen, members, CONFIG).limits(filters.weigh(seen, members, CONFIG).fits[0].left)
    many = filters.weigh(seen, members, FilterConfig(tests=10_000))
    wide = many.limits(many.fits[0].left)
    assert wide[0] < low < high < wide[1]
    assert wide[1] - wide[0] == pytest.approx(
        (high - low) * 4.4 / 1.645, rel=0.15
    )  # normal quantiles of both levels


def test_noise_has_no_smooth_part_and_a_bent_readout_has():
    prompts, problems, gen = draw(19, count=600)
    straight = planted.outputs(problems, TRUTHS["ridge"], prompts.queries, NOISE, gen)
    seen = Observations.of(problems, prompts.queries, straight)
    noise = filters.weigh(seen, {"ridge": candidates(seen, "ridge")}, CONFIG)
    assert noise.smooth.low < 0 < noise.smooth.high
    assert not noise.bent
    square = prompts.queries[..., 0].square()
    bent = straight + 0.2 * straight.std() * (square - square.mean()) / square.std()
    seen = Observations.of(problems, prompts.queries, bent)
    found = filters.weigh(seen, {"ridge": candidates(seen, "ridge")}, CONFIG)
    assert found.bent
    assert 0.01 < found.smooth.low < found.smooth.value < 0.05  # the square is 4% of the outputs


def test_too_few_queries_or_prompts_decide_nothing():
    prompts, problems, gen = draw(18, count=300, queries=3)
    found = filters.judge(
        observe(prompts, problems, TRUTHS["gd"], gen), FilterConfig(families=("gd", "ridge"))
    )
    assert math.isnan(found.misfit("gd").value)
    told = verdict.decide(found)
    assert (told.kind, told.note) == ("indistinguishable", verdict.IMPRECISE)
    assert verdict.UNLISTED in told.families
    prompts, problems, gen = draw(18, count=20)
    few = filters.judge(observe(prompts, problems, TRUTHS["gd"], gen), FilterConfig(families=("gd", "ridge")))
    assert verdict.decide(few).kind == "indistinguishable"


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
    seen = Observations.of(problems, prompts.queries, out)
    cases = [
        (lambda: Observations.of(several, prompts.queries, out), "one context length"),
        (lambda: Observations.of(problems, prompts.queries, out * torch.nan), "NaN"),
        (lambda: Observations.of(problems, prompts.queries, out * 0), "all 0"),
        (lambda: candidates(seen, "adam"), "no filter family"),
        (lambda: filters.split(1, 2), "cannot be split"),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
