from __future__ import annotations

import pytest
import torch

from interp.calibration import planted_model as planted
from probes import contrast
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems
from probes.contrast import ContrastConfig, Rows
from tasks.errors import UserError

D, N, WIDTH = 5, 20, 24
NEWTON = Algorithm("newton", 6, "norm", {"alpha": 1.0})
GD = Algorithm("gd", 8, "norm", {"eta": 1.0})
CONFIG = ContrastConfig(draws=300)
READS = tuple(range(1, N + 1))


def split(seed, carried, noise=1e-3, count=400):
    """Rows of a site that carries one iterate, and the same with targets from other weight vectors."""
    gen = torch.Generator().manual_seed(seed)
    prompts = planted.prompts([1.5, 1.2, 1.0, 0.8, 0.5], N, count, 1, 0.0, gen)
    elsewhere = (prompts.x @ torch.randn(count, D, 1, generator=gen, dtype=torch.float64))[..., 0]
    problems = Problems.of(prompts.x, prompts.y, READS)
    direction = torch.Generator().manual_seed(99)
    basis = torch.randn(2, WIDTH, generator=direction, dtype=torch.float64)
    clean = algorithms.predictions(problems, [carried])[0]
    x = clean[..., None] * basis[0] + prompts.y[:, list(READS), None] * basis[1]
    x = x + torch.randn(x.shape, generator=gen, dtype=torch.float64) * (noise * clean.var()).sqrt()
    return rows(x, problems, prompts.y), rows(x, Problems.of(prompts.x, elsewhere, READS), elsewhere)


def rows(x, problems, y):
    newton, gd, ols = algorithms.predictions(problems, [NEWTON, GD, Algorithm("ols")])
    return Rows(x, newton, gd, torch.stack([y[:, list(READS)], ols], -1))


def table(carried, noise=1e-3):
    splits = [split(seed, carried, noise) for seed in (1, 2, 3)]
    plain, random_w = zip(*splits, strict=True)
    found = contrast.contrast(*plain, ("newton", "gd"), CONFIG, "L", tuple(random_w))
    return found.set_index(["metric", "algorithm", "control"])


@pytest.mark.parametrize(("carried", "sign"), [(NEWTON, 1), (GD, -1)])
def test_the_carried_iterate_wins_and_controls_find_nothing(carried, sign):
    found = table(carried)
    name, rival = ("newton", "gd") if sign > 0 else ("gd", "newton")
    own = found.loc[("partial r2", name, "none")]
    assert own.ci_low > 0.5
    assert found.loc[("partial r2", rival, "none")].value < own.value
    for control in ("shuffled", "random w"):
        assert abs(found.loc[("partial r2", name, control)].value) < 0.05


def test_a_site_with_less_noise_reaches_more_and_no_ceiling_is_claimed():
    clear, noisy = (table(NEWTON, noise).loc[("partial r2", "newton", "none")].value for noise in (1e-3, 0.3))
    assert clear > noisy + 0.2
    assert set(table(NEWTON, 1e-3).index.get_level_values(0)) == {"partial r2", "partial r2 difference"}


def test_plain_r2_would_have_been_high_for_both():
    newton, gd = split(1, NEWTON)[0].first, split(1, NEWTON)[0].second
    assert float(torch.corrcoef(torch.stack([newton.flatten(), gd.flatten()]))[0, 1] ** 2) > 0.9


def test_nearest_rival_is_the_most_correlated():
    plain = split(4, NEWTON)[0]
    steps = torch.stack([0 * plain.first, plain.second, plain.first + 0.01 * plain.second])
    assert contrast.nearest(plain.first, steps) == 2


def test_a_target_inside_the_nuisance_is_refused():
    parts = [split(seed, NEWTON)[0] for seed in (1, 2, 3)]
    same = [Rows(p.activations, p.second, p.second, p.nuisance) for p in parts]
    with pytest.raises(UserError, match="no contrast to read") as caught:
        contrast.partial(*same, CONFIG)
    assert "\n" not in str(caught.value)
