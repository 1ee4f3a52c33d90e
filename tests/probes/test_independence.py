"""HSIC permutation tests: exact size on independent samples, power on a dependence no correlation sees, Holm."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import norm

from probes.independence import holm, independence
from probes.stats import share
from tasks.errors import UserError


def samples(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 2, 3, generator=torch.Generator().manual_seed(seed))


def test_independent_samples_are_rejected_5_times_in_100():
    found = [independence(*samples(24, seed).unbind(1), permutations=19, seed=seed)[1] for seed in range(200)]
    rejected = share(sum(p <= 0.05 for p in found), 200, level=0.999)
    assert rejected.low <= 0.05 <= rejected.high


def test_a_dependence_without_correlation_is_seen():
    x = samples(80, 1)[:, 0, :1]
    size, p = independence(x, x.square() + 0.1 * samples(80, 2)[:, 0, :1], permutations=199)
    assert p == pytest.approx(1 / 200)
    assert 0.2 < size < 1
    assert independence(x, x, permutations=19)[0] == pytest.approx(1)


def test_what_does_not_vary_depends_on_nothing():
    x = samples(8, 0)[:, 0]
    assert independence(x, torch.ones(8, 2)) == (0.0, 1.0)
    with pytest.raises(UserError, match="same 4 or more prompts"):
        independence(x, x[:5])


def test_holm_keeps_the_chance_of_any_false_rejection():
    p = torch.rand(2000, 5, generator=torch.Generator().manual_seed(0))
    wrong = share(sum(min(holm(row)) <= 0.05 for row in p.tolist()), 2000, level=0.999)
    assert wrong.low <= 0.05 <= wrong.high
    assert holm([]) == []
    strong = [float(norm.sf(5)), 0.5, 0.04]
    assert holm(strong)[0] == pytest.approx(3 * strong[0])
    assert holm(strong)[2] == pytest.approx(0.08)
