"""Tails of gradient noise: planted indices are found and covered, light tails stay silent, batches scale."""

from __future__ import annotations

import math

import pytest
import torch

from interp.config.model_linear import LinearConfig
from interp.landscape import curvature, tails
from interp.landscape.noise import GradientNoise
from interp.models.build import build_model
from tasks.errors import UserError
from tasks.regression import InContextRegression
from tasks.streams import generator


def test_tail_indices_find_heavy_tails() -> None:
    gen = generator(0, "tails", 0)
    u = torch.rand(20_000, generator=gen, dtype=torch.float64)
    heavy, light = u ** (-1 / 3), torch.randn(20_000, 100, generator=gen, dtype=torch.float64).norm(dim=1)
    assert tails.hill(heavy, 0.05) == pytest.approx(3, rel=0.1)
    found, calm = tails.tail(heavy), tails.tail(light)
    truth = 0.01 ** (-1 / 3) / 0.5 ** (-1 / 3)
    assert found.q99_over_median.low < truth < found.q99_over_median.high
    assert calm.q99_over_median.high < found.q99_over_median.low
    assert abs(calm.excess_kurtosis) < 0.2
    assert calm.index > 10


def test_tail_interval_covers() -> None:
    gen = generator(1, "coverage", 0)
    truth = math.log(100) / math.log(2)
    covered = 0
    for _ in range(300):
        sample = torch.empty(500, dtype=torch.float64).exponential_(generator=gen)
        interval = tails.tail(sample).q99_over_median
        covered += interval.low <= truth <= interval.high
    assert covered >= 0.95 * 300 - 8


def test_gradient_noise_has_the_scale_of_its_batch() -> None:
    task = InContextRegression(d=3, n=6, layout="merged", law="sphere")
    model = build_model(
        LinearConfig(n_layers=1, family="gd", init_std=0.3, dtype="float64"), task.interface, 0
    )
    objective = curvature.Objective(model, task, task.sample(0, "x", 0, 4000).double())
    w = objective.weights
    reference = tails.reference_gradient(model, task, w, prompts=40_000)
    small = tails.batch_noise(model, task, w, batch=50, draws=150, reference=reference)
    large = tails.batch_noise(model, task, w, batch=450, draws=150, reference=reference)
    assert float(small.square().mean() / large.square().mean()) == pytest.approx(9, rel=0.3)
    each = tails.prompt_noise(objective, w, reference)
    one = curvature.Objective(model, task, objective.batch.select(slice(3, 4)))
    torch.testing.assert_close(each[3], (one.gradient(w) - reference).norm().detach())
    assert float(each.square().mean() / small.square().mean()) == pytest.approx(50, rel=0.3)


def test_asymmetry_covers_the_truth_and_sees_no_skew_in_a_normal() -> None:
    truth = (math.log(20) - math.log(2)) / (math.log(2) - math.log(1 / 0.95))
    gen, inside, silent = torch.Generator().manual_seed(0), 0, 0
    for _ in range(100):
        found = tails.asymmetry(torch.empty(500, dtype=torch.float64).exponential_(generator=gen))
        inside += found.low < truth < found.high
        even = tails.asymmetry(torch.randn(500, generator=gen, dtype=torch.float64) + 10)
        silent += even.low < 1 < even.high
    assert inside >= 93
    assert silent >= 93
    with pytest.raises(UserError, match="at least 100"):
        tails.asymmetry(torch.ones(50))


def test_noise_finds_heavy_tails_and_none_in_light_ones() -> None:
    """The same net on spheres and on gamma-scaled covariates, whose squared length has a hundred times the spread."""
    found = {}
    for law in ("sphere", "gamma-sphere"):
        task = InContextRegression(d=3, n=6, layout="merged", law=law)
        model = build_model(LinearConfig(n_layers=1, family="gd", init_std=0.3), task.interface, 0)
        table = GradientNoise(draws=500, prompts=20).measure(model, task).set_index("metric")
        found[law] = table.loc["noise q99 / median"]
    assert found["sphere"]["ci_high"] < found["gamma-sphere"]["ci_low"]
    assert found["sphere"]["value"] < 2.5
