from __future__ import annotations

import numpy as np
import pytest
import torch

from interp.calibration import planted_model as planted
from probes import matching
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems
from probes.matching import Match
from tasks.errors import UserError

D, N = 5, 20
CONTEXTS = tuple(range(N + 1))
NEWTON = [Algorithm("newton", k, "norm", {"alpha": 1.0}) for k in range(1, 17)]
GD = [Algorithm("gd", 2**k, "norm", {"eta": 1.0}) for k in range(12)]
PLANTED = (2, 4, 6, 8, 10)


@pytest.fixture(scope="module")
def world():
    gen = torch.Generator().manual_seed(0)
    prompts = planted.prompts([1.0] * D, N, 300, 1, 0.0, gen)
    problems = Problems.of(prompts.x, prompts.y, CONTEXTS)
    newton, gd = algorithms.predictions(problems, NEWTON), algorithms.predictions(problems, GD)
    layers = torch.stack([newton[k - 1] for k in PLANTED])
    layers = layers + 0.02 * torch.randn(layers.shape, generator=gen, dtype=torch.float64)
    weights = algorithms.weights(problems, NEWTON)
    return {"y": prompts.y, "newton": newton, "gd": gd, "layers": layers, "w": weights}


def test_planted_steps_and_their_slope_are_found(world):
    match = Match.of(
        matching.similarity_of_errors(world["layers"], world["newton"], world["y"]), range(1, 17), 300
    )
    assert match.best == list(PLANTED)
    slope = match.slope(range(5), log2=False)
    assert slope.low <= 2 <= slope.high
    assert slope.high - slope.low < 0.5


def test_linear_in_newton_is_exponential_in_gradient_descent(world):
    match = Match.of(
        matching.similarity_of_errors(world["layers"], world["gd"], world["y"]),
        [2**k for k in range(12)],
        300,
    )
    slope = match.slope(range(5), log2=True)
    assert 0.7 < slope.value < 1.4  # two Newton iterations are one doubling: K* grows as 2^(k/2)


def test_zero_predictor_scores_high_against_early_iterates(world):
    zero = torch.zeros(1, *world["y"].shape, dtype=torch.float64)
    floor = matching.similarity_of_errors(world["newton"][:1], zero, world["y"]).values.mean()
    assert 0.8 < float(floor) < 1  # the page's .92 at d=20


def test_table_carries_the_zero_predictor_and_the_band(world):
    scores = matching.similarity_of_errors(world["layers"], world["newton"], world["y"])
    zero = torch.zeros(1, *world["y"].shape, dtype=torch.float64)
    floor = matching.similarity_of_errors(world["layers"], zero, world["y"])
    table = Match.of(scores, range(1, 17), 200).table([f"L{i}" for i in range(5)], "newton", floor)
    assert (table[table.control == "zero"].value < table[table.control == "none"].value.to_numpy()).all()
    assert table[table.control == "none"].k.tolist() == list(PLANTED)
    assert (table.ci_low <= table.value).all()
    assert (table.value <= table.ci_high).all()


def test_band_holds_every_step_within_one_standard_error(world):
    match = Match.of(
        matching.similarity_of_errors(world["layers"], world["newton"], world["y"]), range(1, 17), 300
    )
    for layer, band in enumerate(match.bands):
        top = match.point[layer].max()
        error = match.draws.std(0)[layer, match.point[layer].argmax()]
        for i, k in enumerate(match.ladder):
            assert (k in band) == bool(match.point[layer, i] >= top - error)


def test_ties_make_a_band_of_all_that_tie(world):
    same = torch.stack([world["newton"][3]] * 4)
    match = Match.of(matching.similarity_of_errors(world["layers"], same, world["y"]), [1, 2, 3, 4], 100)
    assert match.bands == [[1, 2, 3, 4]] * 5


def test_distance_and_weights_agree_on_the_planted_step(world):
    near = Match.of(matching.relative_distance(world["layers"], world["newton"]), range(1, 17), 100)
    assert near.best == list(PLANTED)
    layers = world["w"][[k - 1 for k in PLANTED]]
    weights = Match.of(matching.similarity_of_weights(layers, world["w"]), range(1, 17), 100)
    assert weights.best == list(PLANTED)
    assert torch.allclose(
        weights.point.amax(1), torch.tensor(N / (N + 1)).double()
    )  # no weights at t = 0: cosine 0


def test_formulas_equal_numpy():
    rng = np.random.default_rng(0)
    a, b, y = (rng.normal(size=(7, 4)) for _ in range(3))
    ea, eb = a - y, b - y
    expected = np.mean((ea * eb).sum(1) / np.linalg.norm(ea, axis=1) / np.linalg.norm(eb, axis=1))
    ta, tb, ty = (torch.from_numpy(v) for v in (a, b, y))
    found = matching.similarity_of_errors(ta[None], tb[None], ty)
    assert float(found.values.mean()) == pytest.approx(expected)
    apart = Match.of(matching.relative_distance(ta[None], tb[None]), [1], 10)
    assert float(apart.point) == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a))
    nothing = Match.of(matching.relative_distance(ta[None], 0 * tb[None]), [1], 10)
    assert float(nothing.point) == pytest.approx(1)


def test_slope_interval_covers_under_heavy_noise():
    inside = 0
    for seed in range(20):
        gen = torch.Generator().manual_seed(seed)
        prompts = planted.prompts([1.0] * D, N, 80, 1, 0.0, gen)
        steps = algorithms.predictions(Problems.of(prompts.x, prompts.y, CONTEXTS), NEWTON)
        layers = steps[[1, 3, 5, 7]]
        layers = layers + 0.3 * torch.randn(layers.shape, generator=gen, dtype=torch.float64)
        match = Match.of(matching.relative_distance(layers, steps), range(1, 17), 200)
        slope = match.slope(range(4), log2=False)
        inside += slope.low <= 2 <= slope.high
    assert inside >= 16  # nominal 19


def test_bad_input_is_one_line(world):
    scores = matching.similarity_of_errors(world["layers"], world["newton"], world["y"])
    match = Match.of(scores, range(1, 17), 10)
    cases = [
        (lambda: Match.of(scores, range(3)), "3 steps in the ladder"),
        (lambda: match.slope([2], log2=False), "two or more"),
        (lambda: match.slope([0, 9], log2=False), r"layers 0 \.\. 4"),
        (lambda: Match.of(scores, range(16), 10).slope([0, 1], log2=True), "k = 0"),
        (lambda: matching.relative_distance(0 * world["layers"], world["newton"]), "layer 0 predicts 0"),
        (lambda: matching.relative_distance(world["layers"] / 0, world["newton"]), "NaN"),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
