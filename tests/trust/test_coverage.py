"""Simulated coverage of the intervals that are made in few places and used in many: those of `probes.stats`, of onsets,
quantiles and chains. Those of single analyses are in `test_coverage_analyses.py`, what an interval does not cover in
`test_coverage_limits.py`, the band in `conftest.py`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import stats as laws

from interp.calibration import planted_model as planted
from interp.causal.metrics import normalised
from interp.emergence import curriculum
from interp.emergence.onset import onset
from interp.heads.damage import agreement
from interp.landscape import llc, tails
from interp.studies.single_index import measure as single_index_chains
from interp.studies.single_index import rows_emergence as single_index_bridge
from interp.studies.stacked_heads.measure import onset_ratio
from probes import filter_shape, matching, stats
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems
from probes.filters import FilterConfig
from probes.matching import Match
from probes.observations import Observations
from tests.trust.draws import CARRIED, carried, failing, rare, tensor

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
Ends = tuple[float, float]


@dataclass(frozen=True)
class World:
    """`draw(rng)` gives the interval of one simulated data set, or (`many`) those of all of them at once."""

    truth: float
    draw: Callable[[np.random.Generator], stats.Interval] | None = None
    many: Callable[[np.random.Generator, int], stats.Intervals] | None = None
    exception: str = ""
    share: float = 1.0  # of the small count of simulations, for worlds that are slow

    def ends(self, count: int) -> list[Ends]:
        rng = np.random.default_rng(11)
        if self.many is not None:
            found = self.many(rng, count)
            return list(zip(found.low.tolist(), found.high.tolist(), strict=True))
        assert self.draw is not None
        return [(found.low, found.high) for found in (self.draw(rng) for _ in range(count))]


def ranked(rng: np.random.Generator) -> stats.Interval:
    """Two values of 16 heads, jointly normal with correlation .7: Spearman's is 6 asin(.35) / pi (Pearson 1907)."""
    a, b = rng.normal(size=(2, 16))
    return agreement(tensor(a), tensor(0.7 * a + 0.51**0.5 * b))


def r_squared(rng: np.random.Generator, count: int) -> stats.Intervals:
    """A readout that leaves 30% of a target's spread, prompts of several sizes."""
    target = rng.normal(size=(200, count)) * rng.uniform(0.5, 1.5, (200, count))
    error = (0.3 * 13 / 12) ** 0.5 * rng.normal(size=(200, count))
    parts = torch.stack([tensor(error**2), tensor(target**2)], 1)
    return stats.bootstrap(parts, lambda m: 1 - m[:, 0] / m[:, 1], draws=1000)


def recovered(rng: np.random.Generator, count: int) -> stats.Intervals:
    """A patch that gives back 30% of the gap between two runs."""
    gap = 1 + 0.5 * tensor(rng.normal(size=64))
    values = 0.3 * gap[:, None] + 0.2 * tensor(rng.normal(size=(64, count)))
    return normalised(values, gap, torch.zeros_like(gap), 1000)


def onset_of_a_curve(rng: np.random.Generator) -> stats.Interval:
    """Accuracies of 80 prompts at 25 checkpoints; truth and ends are logarithms, relative to the true crossing."""
    steps = np.unique(np.round(np.geomspace(1, 3000, 25))).astype(int)
    at = float(np.exp(rng.uniform(np.log(60), np.log(600))))
    truth = 0.1 + 0.8 / (1 + np.exp(-(np.log1p(steps) - np.log1p(at)) / 0.25))
    ease = 0.7 * rng.standard_normal((80, 1))
    hits = (ease + rng.standard_normal((80, len(steps)))) / np.hypot(0.7, 1) < laws.norm.ppf(truth)
    weights = rng.multinomial(80, np.full(80, 1 / 80), 100) / 80
    found = onset(steps.tolist(), hits.mean(0).tolist(), 0.5, draws=weights @ hits.astype(float))
    high = math.inf if math.isnan(found.ci_high) else found.ci_high
    return stats.Interval(0.0, found.ci_low - at, high - at, 80, "")


def tail_index(rng: np.random.Generator, n: int = 500) -> tails.Tail:
    return tails.tail(tensor(rng.exponential(size=n)))


def learning_coefficient(rng: np.random.Generator) -> stats.Interval:
    """Four chains in a bowl of 10 dimensions; the truth is that of the localised law at this n."""
    start = torch.zeros(10, dtype=torch.float64)
    return llc.local_learning_coefficient(
        [lambda w: (w**2).sum() / 2],
        start,
        1000,
        chains=4,
        draws=250,
        burn_in=50,
        step=1e-2,
        seed=int(rng.integers(1e9)),
    )


def bowl() -> float:
    """E[n beta |w|^2 / 2] under the discretised, localised dynamics: each coordinate is AR(1)."""
    beta_n, h = 1000 / math.log(1000), 1e-2
    pull = beta_n + 1.0
    variance = h / (1 - (1 - h / 2 * pull) ** 2)
    return 10 * beta_n * variance / 2


def matched_slope(rng: np.random.Generator) -> stats.Interval:
    """Layers that carry Newton's iterates 2, 4, 6, 8 under noise: two steps a layer."""
    gen = torch.Generator().manual_seed(int(rng.integers(1e9)))
    prompts = planted.prompts([1.0] * 5, 10, 80, 1, 0.0, gen)
    family = [Algorithm("newton", k, "norm", {"alpha": 1.0}) for k in range(1, 17)]
    steps = algorithms.predictions(Problems.of(prompts.x, prompts.y, (10,)), family)
    layers = steps[[1, 3, 5, 7]]
    layers = layers + 0.3 * torch.randn(layers.shape, generator=gen, dtype=torch.float64)
    return Match.of(matching.relative_distance(layers, steps), range(1, 17), 200).slope(range(4), log2=False)


def filter_power(rng: np.random.Generator) -> stats.Interval:
    """The leading power of a gradient-descent filter that is small everywhere."""
    gen = torch.Generator().manual_seed(int(rng.integers(1e9)))
    spectrum = np.geomspace(2, 0.2, 5).tolist()
    prompts = planted.prompts(spectrum, 10, 128, 10, 0.0, gen)
    problems = Problems.of(prompts.x, prompts.y, (10,))
    small = Algorithm("gd", 2, "fixed", {"eta": 1e-4})
    outputs = planted.outputs(problems, small, prompts.queries, 0.001, gen)
    return filter_shape.shape(Observations.of(problems, prompts.queries, outputs), FilterConfig()).power


def escape_slope(rng: np.random.Generator) -> stats.Interval:
    """Times whose median grows as the square of the dimension, 64 replicas each."""
    sizes = (16, 32, 64, 128)
    samples = [d**2 * rng.lognormal(0, 0.4, 64) for d in sizes]
    return single_index_chains.resampled(
        lambda medians: single_index_chains.slope(sizes, medians), samples, 0
    )


def paired_medians(rng: np.random.Generator) -> stats.Interval:
    """Difference of the medians of two samples of the same replicas."""
    first = rng.lognormal(0, 0.4, 101)
    second = first * rng.lognormal(0, 0.1, 101) + 1
    return single_index_bridge._paired(lambda m: math.log(m[0]) - math.log(m[1] - 1), [first, second], 0)


def taus(rng: np.random.Generator) -> stats.Interval:
    return curriculum.mean_tau([curriculum.kendall(rng.permutation(3).tolist()) for _ in range(8)])


TAIL = math.log(100) / math.log(2)


def delayed(rng: np.random.Generator) -> stats.Interval:
    """Onsets of eight runs with a median of 400 steps, and of six with one of 800, watched for 1,200 steps."""
    before, after = (middle * rng.lognormal(0, 0.4, n) for middle, n in ((400, 8), (800, 6)))
    return onset_ratio(np.where(after > 1200, np.inf, after), before, np.full(6, 1200.0))


WORLDS = {
    "bootstrap, mean of 64 prompts": World(
        2.0, many=lambda g, n: stats.bootstrap(tensor(g.gamma(2, size=(64, n))))
    ),
    "bootstrap, mean of the fewest prompts": World(
        0.0, many=lambda g, n: stats.bootstrap(tensor(g.normal(size=(stats.FEWEST_PROMPTS, n))))
    ),
    "bootstrap, squared errors of 64 prompts": World(
        1.0, many=lambda g, n: stats.bootstrap(tensor(g.normal(size=(64, n)) ** 2))
    ),
    "bootstrap, attention that fails on 2% of 1024 prompts": World(
        0.02 / 6 + 0.98 * 50 / 51, many=lambda g, n: stats.bootstrap(tensor(failing(g, 1024, n)))
    ),
    "skewness-corrected t, skewed mean of the fewest prompts": World(
        1.0, many=lambda g, n: stats.mean(tensor(g.exponential(size=(stats.FEWEST_PROMPTS, n))))
    ),
    "skewness-corrected t, a loss that 2% of 1024 prompts decide": World(
        0.1, many=lambda g, n: stats.mean(tensor(rare(g, 1024, n)))
    ),
    "skewness-corrected t, mean of 64 prompts": World(
        0.0, many=lambda g, n: stats.mean(tensor(g.normal(size=(64, n))))
    ),
    "Clopper-Pearson, shares of 256 prompts": World(
        0.98, many=lambda g, n: stats.shares(tensor(g.random((256, n)) < 0.98)), exception="discrete"
    ),
    "bootstrap, mean of 512 prompts": World(
        1.0, many=lambda g, n: stats.bootstrap(tensor(g.exponential(size=(512, n))))
    ),
    "bootstrap, share of attention on 256 prompts": World(
        0.2, many=lambda g, n: stats.bootstrap(tensor(g.beta(0.5, 2, size=(256, n))))
    ),
    "bootstrap, difference of paired prompts": World(
        0.3,
        many=lambda g, n: stats.paired(
            (shared := tensor(g.normal(size=(64, n)))) + 0.3 + tensor(0.1 * g.normal(size=(64, n))), shared
        ),
    ),
    "Fisher transform, rank correlation of 16 heads": World(0.6829, ranked),
    "bootstrap, ratio of sums": World(
        0.5,
        many=lambda g, n: stats.ratio(
            (bottom := tensor(g.exponential(size=(200, n)))) * tensor(g.uniform(0, 1, (200, n))), bottom
        ),
    ),
    "bootstrap, a ratio that 2% of 256 prompts carry": World(
        CARRIED, many=lambda g, n: stats.ratio(*carried(g, 256, n))
    ),
    "bootstrap, R2 of a readout": World(0.7, many=r_squared),
    "bootstrap, recovered share of a patch": World(0.3, many=recovered),
    "bootstrap, slope of matched steps": World(2.0, matched_slope, exception="discrete", share=0.1),
    "bootstrap, power of a filter": World(1.0, filter_power, share=0.1),
    "bootstrap, slope of log medians over replicas": World(
        2.0, escape_slope, exception="discrete", share=0.1
    ),
    "bootstrap, paired medians of replicas": World(0.0, paired_medians, exception="discrete", share=0.1),
    "quotient of two medians, the upper with censored runs": World(2.0, delayed, exception="combined"),
    "Student's t, 3 values": World(2.0, lambda g: stats.student(g.normal(2, 1, 3))),
    "Student's t, 8 values": World(2.0, lambda g: stats.student(g.normal(2, 1, 8))),
    "over seeds, a share of 5": World(0.8, lambda g: stats.over_seeds(g.beta(8, 2, 5), 0, 1)),
    "over seeds, a share of 8": World(0.8, lambda g: stats.over_seeds(g.beta(8, 2, 8), 0, 1)),
    "over seeds, a share from 0 to 1, 5 of it": World(0.5, lambda g: stats.over_seeds(g.beta(2, 2, 5), 0, 1)),
    "over seeds, a share from 0 to 1, 8 of it": World(0.5, lambda g: stats.over_seeds(g.beta(2, 2, 8), 0, 1)),
    "over seeds, solved or not, 5 seeds": World(
        0.8, lambda g: stats.over_seeds((g.random(5) < 0.8) * 1.0, 0, 1), exception="discrete"
    ),
    "over seeds, solved or not, 8 seeds": World(
        0.8, lambda g: stats.over_seeds((g.random(8) < 0.8) * 1.0, 0, 1), exception="discrete"
    ),
    "over seeds, a cosine of 5": World(0.6, lambda g: stats.over_seeds(2 * g.beta(8, 2, 5) - 1, -1, 1)),
    "over seeds, a cosine of 8": World(0.6, lambda g: stats.over_seeds(2 * g.beta(8, 2, 8) - 1, -1, 1)),
    "over seeds, R2 of 5": World(0.6, lambda g: stats.over_seeds(1 - g.gamma(4, 0.1, 5), most=1)),
    "over seeds, R2 of 8": World(0.6, lambda g: stats.over_seeds(1 - g.gamma(4, 0.1, 8), most=1)),
    "over seeds, a loss of 5": World(4.0, lambda g: stats.over_seeds(g.gamma(4, 1, 5), least=0)),
    "over seeds, a loss of 8": World(4.0, lambda g: stats.over_seeds(g.gamma(4, 1, 8), least=0)),
    "over seeds, no bounds, 5": World(0.0, lambda g: stats.over_seeds(g.normal(size=5))),
    "over seeds, no bounds, 8": World(0.0, lambda g: stats.over_seeds(g.normal(size=8))),
    "Student's t, log scale, 5 seeds": World(
        math.exp(2), lambda g: stats.student(g.lognormal(2, 1, 5), "log")
    ),
    "Student's t, logit scale, 5 seeds": World(
        1 / (1 + math.exp(-1)), lambda g: stats.student(1 / (1 + np.exp(-g.normal(1, 1, 5))), "logit")
    ),
    "Student's t, learning coefficient over 4 chains": World(bowl(), learning_coefficient, share=0.05),
    "Clopper-Pearson, share of 512 prompts": World(
        0.37, lambda g: stats.share(int(g.binomial(512, 0.37)), 512), exception="discrete"
    ),
    "Clopper-Pearson, share of 8 seeds": World(
        0.6, lambda g: stats.share(int(g.binomial(8, 0.6)), 8), exception="discrete"
    ),
    "Clopper-Pearson, mean Kendall tau of 8 seeds": World(0.0, taus, exception="discrete"),
    "order statistics, median of 8 seeds": World(
        math.log(2), lambda g: stats.median(g.exponential(size=8)), exception="discrete"
    ),
    "order statistics, median with censored runs": World(
        math.log(2),
        lambda g: curriculum.censored_median(np.where((x := g.exponential(size=12)) > 1.2, np.inf, x)),
        exception="discrete",
    ),
    "order statistics, 99% quantile of gradient noise": World(
        math.log(100),
        lambda g: tails.quantile(tensor(g.exponential(size=1000)), 0.99, 0.95),
        exception="discrete",
    ),
    "order statistics, tail index": World(
        TAIL, lambda g: tail_index(g).q99_over_median, exception="combined"
    ),
    "order statistics, asymmetry": World(
        1.0, lambda g: tails.asymmetry(tensor(g.normal(size=500))), exception="combined"
    ),
    "onset within a run": World(0.0, onset_of_a_curve, exception="onset", share=0.25),
}


def simulations(world: World) -> int:
    return 1000 if FULL else max(20, int(50 * world.share))


@pytest.mark.parametrize("name", WORLDS)
def test_a_95_percent_interval_holds_the_truth_95_times_in_100(name, covered):
    world = WORLDS[name]
    ends = world.ends(simulations(world))
    covered(name, [low <= world.truth <= high for low, high in ends], world.exception)
