"""Simulated coverage of the intervals that single analyses make: readouts, matches, filters, contrasts, causal slopes.

Where the truth has no closed form, prompts are drawn from a large pool with the law of which the truth is known
exactly: the pool's own mean. Every module that asks for an interval is listed with the worlds that cover it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from interp.calibration import planted as calibration
from interp.calibration import planted_model as planted
from interp.calibration import stacks
from interp.causal.directions import _compare
from interp.emergence.onset import onset
from interp.studies.context import quotient
from interp.studies.single_index import rows_emergence as single_index_bridge
from interp.studies.single_index import rows_waits as single_index_waits
from probes import contrast, doubling, filter_shape, filters, induced, matching, stats
from probes.algorithms.iterates import Algorithm, Problems
from probes.contrast import ContrastConfig, Rows
from probes.filters import FilterConfig
from probes.matching import Match, Similarities
from probes.observations import Observations
from probes.readout import _mse_and_r2

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
SMALL = 50
DRAWS = 300  # as many as `interp probe --algorithms` takes
Hits = Iterator[bool]
Rng = np.random.Generator


def tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=float))


def generator(rng: Rng) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(1e9)))


def holds(found: stats.Interval, truth: float) -> bool:
    return found.low <= truth <= found.high


def picked(pool: Tensor, prompts: int, rng: Rng) -> Tensor:
    """Prompts of a pool (first axis), drawn independently."""
    return pool[torch.from_numpy(rng.integers(0, len(pool), prompts))]


def errors_of_a_readout(rng: Rng, count: int) -> Hits:
    """Mean squared error and its share of the variance, 512 prompts."""
    pool = tensor(rng.normal(size=(20_000, 2)) ** 2) * torch.tensor([0.3, 1.0])
    truth = _mse_and_r2(pool.mean(0)[None, :, None])[0, :, 0]
    for k in range(count):
        found = stats.bootstrap(picked(pool, 512, rng)[..., None], _mse_and_r2, draws=1000)
        yield holds(found[k % 2, 0], float(truth[k % 2]))


def cosines(rng: Rng) -> Similarities:
    """Similarities of two layers to eight steps in a pool of prompts: the best is 3 in one, 6 in the other."""
    steps = torch.arange(8.0, dtype=torch.float64)[None, :, None]
    best = torch.tensor([3.0, 6.0], dtype=torch.float64)[:, None, None]
    ease = tensor(rng.normal(0, 0.1, (1, 1, 20_000)))
    noise = tensor(rng.normal(0, 0.08, (2, 8, 20_000)))
    return Similarities("SimE", (0.9 - 0.03 * (steps - best) ** 2 + ease + noise).clamp(-1, 1))


def some(scores: Similarities, prompts: int, rng: Rng) -> Match:
    values = picked(scores.values.permute(2, 0, 1), prompts, rng).permute(1, 2, 0)
    return Match.of(Similarities(scores.name, values), range(8), DRAWS)


def similarity(rng: Rng, count: int) -> Hits:
    pool = cosines(rng)
    truth = pool.values.mean(-1)
    for _ in range(count):
        match = some(pool, 256, rng)
        yield holds(stats.percentile(match.point, match.draws, 256)[0, 4], float(truth[0, 4]))


def best_step(rng: Rng, count: int) -> Hits:
    pool = cosines(rng)
    truth = float(pool.values.mean(-1)[1].argmax())
    for _ in range(count):
        match = some(pool, 256, rng)
        found = stats.percentile(match.point.argmax(-1).double(), match.draws.argmax(-1).double(), 256)
        yield holds(found[1], truth)


def peak(rng: Rng, count: int) -> Hits:
    """The similarity at the best of eight steps."""
    pool = cosines(rng)
    truth = float(pool.values.mean(-1)[0].max())
    for _ in range(count):
        match = some(pool, 256, rng)
        yield holds(stats.percentile(match.point[0].max(), match.draws[:, 0].amax(-1), 256).one(), truth)


def distance(rng: Rng, count: int) -> Hits:
    """Relative L2 distance of a layer to a step, prompts of unlike size."""
    gen = generator(rng)
    step = torch.randn(1, 20_000, 6, generator=gen, dtype=torch.float64)
    step = step * (0.5 + torch.rand(1, 20_000, 1, generator=gen, dtype=torch.float64))
    layer = step + 0.3 * torch.randn(step.shape, generator=gen, dtype=torch.float64)
    truth = float(((layer - step).square().sum() / layer.square().sum()).sqrt())
    for _ in range(count):
        places = torch.from_numpy(rng.integers(0, 20_000, 256))
        match = Match.of(matching.relative_distance(layer[:, places], step[:, places]), [1], DRAWS)
        yield holds(stats.percentile(match.point, match.draws, 256)[0, 0], truth)


def order_of_convergence(rng: Rng, count: int) -> Hits:
    """Slope of log e_{l+1} on log e_l over four layers whose errors are squared at each."""
    ease = rng.lognormal(0, 0.5, (20_000, 1))
    pool = tensor(0.5 ** (2.0 ** np.arange(4)) * ease * rng.lognormal(0, 0.3, (20_000, 4)))

    def slope(means: Tensor) -> Tensor:
        x, y = means.log()[:, :3], means.log()[:, 1:]
        x = x - x.mean(1, keepdim=True)
        return (x * y).sum(1) / x.square().sum(1)

    truth = float(slope(pool.mean(0)[None]))
    for _ in range(count):
        yield holds(stats.bootstrap(picked(pool, 256, rng), slope, draws=DRAWS).one(), truth)


def seen(rng: Rng, prompts: int, noise: float = 0.2) -> Observations:
    """Outputs of two steps of gradient descent at ten probe queries, with noise."""
    gen = generator(rng)
    drawn = planted.prompts([1.5, 1.0, 0.5, 0.25], 8, prompts, 10, 0.0, gen)
    problems = Problems.of(drawn.x, drawn.y, (8,))
    outputs = planted.outputs(problems, Algorithm("gd", 2, "norm", {"eta": 0.5}), drawn.queries, noise, gen)
    return Observations.of(problems, drawn.queries, outputs)


def evidence(rng: Rng, count: int) -> Hits:
    """Misfit of ridge above that of gradient descent, 256 prompts."""
    config = FilterConfig(families=("gd", "ridge"), steps=("norm",))
    truth = filters.judge(seen(rng, 30_000), config).difference("ridge", "gd").value
    for _ in range(count):
        found = filters.judge(seen(rng, 256), config)
        yield holds(found.difference("ridge", "gd"), truth)


def misfit(rng: Rng, count: int) -> Hits:
    """Share of the outputs that the best gradient descent misses beyond the noise of its queries."""
    config = FilterConfig(families=("ridge",), steps=("norm",))
    truth = filters.judge(seen(rng, 30_000), config).misfit("ridge").value
    for _ in range(count):
        yield holds(filters.judge(seen(rng, 128), config).misfit("ridge"), truth)


def growing(rng: Rng, count: int) -> Hits:
    """Misfit of adding on steps of gradient descent: nothing but what lies between two nodes of the filter."""
    law = calibration.DISTRIBUTIONS[-1]
    stack = stacks.stacks(law.world(0, 2000).top)["gradient descent"]
    truth = doubling.growth(stack.observed(law, 1, 8000), draws=2).adding.value
    for _ in range(count):
        layers = stack.observed(law, int(rng.integers(1 << 30)), 256)
        yield holds(doubling.growth(layers).adding, truth)


def filter_value(rng: Rng, count: int) -> Hits:
    """f at quantiles of the eigenvalues, of a readout that is least squares times .6: flat, so known at every node."""
    for k in range(count):
        gen = generator(rng)
        drawn = planted.prompts([1.5, 1.0, 0.5, 0.25], 8, 256, 10, 0.0, gen)
        problems = Problems.of(drawn.x, drawn.y, (8,))
        outputs = 0.6 * planted.outputs(problems, Algorithm("ols"), drawn.queries, 0.2, gen)
        found = filter_shape.shape(
            Observations.of(problems, drawn.queries, outputs), FilterConfig(draws=DRAWS)
        )
        yield holds(found.value[k % 8], 0.6)


def nonlinear(rng: Rng, count: int) -> Hits:
    """Share of outputs that is a product of two coordinates: E = .09 of 1.09 beyond what five weights take up."""
    for _ in range(count):
        q = rng.normal(size=(256, 12, 4))
        outputs = (q * rng.normal(size=(256, 1, 4))).sum(-1) / 2 + 0.3 * rng.normal(size=(256, 12))
        yield holds(induced.induced_weights(tensor(q), tensor(outputs)).nonlinear_share(DRAWS), 0.09 / 1.09)


def superposition(rng: Rng, count: int) -> Hits:
    pool = tensor(rng.normal(size=(20_000, 2, 12)) * rng.uniform(0.7, 1.3, (20_000, 2, 1)))
    both = pool.sum(1) + 0.2 * pool[:, 0] * pool[:, 1]
    missed = 0.04 * (pool[:, 0] * pool[:, 1]).square()
    truth = float(missed.mean() / both.square().mean())
    for _ in range(count):
        places = torch.from_numpy(rng.integers(0, 20_000, 256))
        yield holds(induced.label_nonlinearity(*pool[places].unbind(1), both[places], DRAWS), truth)


def contrasted(rng: Rng, count: int) -> Hits:
    """Partial R2 of two near targets, and their difference, readouts fitted once, 256 test prompts."""
    gen = generator(rng)

    def rows(prompts: int) -> Rows:
        draw = [torch.randn(prompts, 3, generator=gen, dtype=torch.float64) for _ in range(6)]
        label, first = draw[0], draw[0] + 0.4 * draw[1]
        second = first + 0.2 * draw[2]
        activations = torch.stack([first + 0.3 * draw[3], second + 0.5 * draw[4], draw[5]], -1)
        return Rows(activations, first, second, label[..., None])

    fit, choose, test = rows(800), rows(400), rows(20_000)
    config = ContrastConfig()
    one = contrast.partial(fit, choose, test, config)
    two = contrast.partial(fit.swapped(), choose.swapped(), test.swapped(), config)
    pool = torch.stack([one.error, one.base, two.error, two.base], 1)
    truth = contrast._figures(pool.mean(0)[None])[0]
    for k in range(count):
        found = stats.bootstrap(picked(pool, 256, rng), contrast._figures, draws=DRAWS)
        yield holds(found[k % 3], float(truth[k % 3]))


def causal(rng: Rng, count: int) -> Hits:
    """Slope .8 of the change that a moved direction makes on the change foretold, and what of it is missed."""
    expected = tensor(rng.normal(size=20_000) * rng.uniform(0.5, 1.5, 20_000))
    change = 0.8 * expected + 0.3 * tensor(rng.normal(size=20_000))
    truth = [
        float((change * expected).mean() / expected.square().mean()),
        float((change - expected).square().mean() / expected.square().mean()),
    ]
    for k in range(count):
        places = torch.from_numpy(rng.integers(0, 20_000, 256))
        row = _compare(change[places], expected[places], DRAWS)[k % 2]
        yield row["ci_low"] <= truth[k % 2] <= row["ci_high"]


def half_rise(rng: Rng, count: int) -> Hits:
    """Onset at half of a loss' own fall (no threshold), 80 prompts at 25 checkpoints."""
    steps = np.unique(np.round(np.geomspace(1, 3000, 25))).astype(int)
    weights = rng.multinomial(80, np.full(80, 1 / 80), 100) / 80
    for _ in range(count):
        at = float(np.exp(rng.uniform(np.log(60), np.log(600))))
        skill = 1 / (1 + np.exp(-(np.log1p(steps) - np.log1p(at)) / 0.25))
        gain = skill * rng.lognormal(0, 0.5, (80, 1)) + 0.3 * rng.normal(size=(80, len(steps)))
        found = onset(steps.tolist(), gain.mean(0).tolist(), None, draws=weights @ gain)
        high = math.inf if math.isnan(found.ci_high) else found.ci_high
        yield found.ci_low <= at <= high


def two_quotients(rng: Rng, count: int) -> Hits:
    for _ in range(count):
        top, bottom = (stats.bootstrap(tensor(rng.exponential(m, 256)), draws=DRAWS).one() for m in (2, 1))
        yield holds(quotient(top, bottom), 2.0)


def farthest_gain(rng: Rng, count: int) -> Hits:
    """The gain that lies farthest from its law among four, all of which follow it."""
    for _ in range(count):
        pairs = [rng.lognormal(0, 0.5, 64) for _ in range(8)]
        yield holds(single_index_waits.farthest(pairs, [1.0] * 4)[1], 1.0)


def worst_pair(rng: Rng, count: int) -> Hits:
    """The largest relative error of four medians, each off by 1% and measured on the same replicas."""
    for _ in range(count):
        samples = []
        for _ in range(4):
            times = rng.lognormal(0, 0.5, 64)
            samples += [times * 1.01 * rng.lognormal(0, 0.002, 64), times]
        yield holds(single_index_bridge.resampled_pairs(samples), 0.01)


WORLDS: dict[str, tuple[Callable[[Rng, int], Hits], str, float]] = {
    "readout: squared error, R2": (errors_of_a_readout, "", 1),
    "matching: similarity to a step": (similarity, "", 0.5),
    "matching: relative distance to a step": (distance, "", 0.5),
    "matching: best step": (best_step, "discrete", 0.5),
    "matching: similarity at the best step": (peak, "", 0.5),
    "matching: order of convergence": (order_of_convergence, "", 0.5),
    "filters: misfit above the best": (evidence, "", 0.1),
    "filters: misfit": (misfit, "", 0.1),
    "doubling: misfit of a pattern": (growing, "", 0.1),
    "filters: f at an eigenvalue": (filter_value, "", 0.1),
    "induced weights: share not linear in the query": (nonlinear, "", 0.5),
    "induced weights: share not additive in the labels": (superposition, "", 0.5),
    "contrast: partial R2, difference": (contrasted, "", 0.5),
    "causal slope, missed change": (causal, "", 0.5),
    "onset at half of a loss' own fall": (half_rise, "onset", 0.25),
    "quotient of two bootstraps": (two_quotients, "combined", 0.5),
    "medians: the gain farthest from its law": (farthest_gain, "combined", 0.2),
    "medians: the worst relative error of several": (worst_pair, "combined", 0.1),
}


@pytest.mark.parametrize("name", WORLDS)
def test_an_analysis_interval_holds_the_truth_95_times_in_100(name, covered):
    world, exception, share = WORLDS[name]
    count = 1000 if FULL else max(20, int(SMALL * share))
    covered(name, list(world(np.random.default_rng(12), count)), exception)
