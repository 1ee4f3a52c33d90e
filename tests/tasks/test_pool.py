"""A finite pool of tasks: dMMSE against a direct loop, the pool's draws, what stays as it was, levels."""

import math

import pytest
import torch

from tasks import InContextRegression, UserError, build, settings_of
from tasks.regression_pool import pool_rows
from tasks.risk import risk
from tasks.theory import pool as theory
from tasks.theory.pool import pool_predictions


def direct(x, y, pool, noise):
    """dMMSE of one prompt, one position and one task at a time."""
    found = []
    for t in range(len(y)):
        weight = [
            math.exp(
                sum(-((y[i] - sum(w * v for w, v in zip(x[i], row, strict=True))) ** 2) for i in range(t))
                / (2 * noise**2)
            )
            for row in pool
        ]
        guess = [sum(w * v for w, v in zip(x[t], row, strict=True)) for row in pool]
        found.append(sum(p * g for p, g in zip(weight, guess, strict=True)) / sum(weight))
    return found


@pytest.mark.parametrize(("size", "noise"), [(1, 0.5), (7, 0.5), (40, 0.2)])
def test_dmmse_equals_a_direct_loop(size, noise, monkeypatch):
    task = InContextRegression(d=3, n=5, noise=noise, pool=size)
    batch = task.sample(0, "test", 0, 4)
    found = task.strategies(batch)["dMMSE"][:, ::2, 0]
    x, y = batch.x.double(), batch.y.double()
    pool = pool_rows(size, 3, 0).double()
    prompts = zip(x.tolist(), y.tolist(), strict=True)
    wanted = torch.tensor([direct(a, b, pool.tolist(), noise) for a, b in prompts], dtype=torch.float64)
    assert (found - wanted).abs().max() < 1e-10
    assert torch.equal(task.answer(batch)[:, ::2, 0], found)
    assert torch.allclose(found[:, 0], x[:, 0] @ pool.mean(0), atol=1e-12)
    monkeypatch.setattr(theory, "HELD", 16)
    monkeypatch.setattr(theory, "LEAST", 2)
    assert (pool_predictions(x, y, pool, noise) - wanted).abs().max() < 1e-10


def test_unlikely_tasks_do_not_overflow():
    """A noise so small that every weight of the pool underflows if exponents are not shifted."""
    task = InContextRegression(d=3, n=8, noise=1e-3, pool=50)
    batch = task.sample(0, "test", 0, 16)
    last = task.answer(batch)[:, -1, 0]
    assert (last - batch.clean[:, -1]).abs().max() < 1e-5


def test_a_pool_of_a_million_tasks_fits():
    task = InContextRegression(d=8, n=3, noise=0.5, pool=2**20)
    batch = task.sample(0, "test", 0, 2)
    both = task.strategies(batch)
    gap = task.distance(both["dMMSE"], both["ridge"], batch)
    assert gap.max() < 1e-3, "so many tasks are as good as all"
    few = InContextRegression(d=8, n=3, noise=0.5, pool=4)
    known = few.strategies(few.sample(0, "test", 0, 64))
    assert few.distance(known["dMMSE"], known["ridge"], few.sample(0, "test", 0, 64)).mean() > 0.1


@pytest.mark.parametrize("arm", [{}, {"kappa": 10.0, "basis": "prompt", "noise": 0.3}, {"layout": "merged"}])
def test_without_a_pool_settings_and_data_are_as_ever(arm):
    task = InContextRegression(**arm)
    assert not {"pool", "pool_seed"} & set(settings_of(task))
    assert build(settings_of(task)) == task
    pooled = InContextRegression(**{**arm, "noise": 0.3}, pool=5, pool_seed=3)
    assert settings_of(pooled)["pool"] == 5
    assert build(settings_of(pooled)) == pooled
    fresh = pooled.distributions["fresh tasks"]
    a, b = pooled.sample(0, "test", 0, 20), fresh.sample(0, "test", 0, 20)
    assert torch.equal(a.x, b.x)
    assert torch.allclose(a.y - a.clean, b.y - b.clean, atol=1e-6)
    assert fresh == InContextRegression(**{**arm, "noise": 0.3})


def test_prompts_take_their_tasks_from_the_pool_all_alike():
    task = InContextRegression(d=3, n=2, noise=0.1, pool=4, pool_seed=9, weight_scale=2.0)
    w = task.sample(0, "test", 0, 4000).w
    pool = 2.0 * pool_rows(4, 3, 9)
    which = torch.cdist(w, pool)
    assert which.amin(1).max() < 2e-3
    counts = torch.bincount(which.argmin(1), minlength=4)
    assert (counts - 1000).abs().max() < 5 * (1000 * 0.75) ** 0.5
    assert not torch.equal(pool_rows(4, 3, 9), pool_rows(4, 3, 8))
    assert torch.equal(pool_rows(2000, 3, 9)[:4], pool_rows(4, 3, 9))
    pair = task.pair("replace-w", 0, "test", 0, 50)
    assert torch.cdist(pair.corrupt.w, pool).amin(1).max() < 2e-3


def test_each_answer_is_best_on_its_own_distribution():
    task = InContextRegression(d=4, n=15, noise=0.5, pool=8)
    levels = {
        (name, on): risk(task, name, on).value.mean().item()
        for name in ("ridge", "dMMSE")
        for on in task.distributions
    }
    assert levels["dMMSE", "pool tasks"] < 0.8 * levels["ridge", "pool tasks"]
    assert levels["ridge", "fresh tasks"] < 0.5 * levels["dMMSE", "fresh tasks"]
    floor, plain = task.bayes_risk(), task.distributions["fresh tasks"].bayes_risk()
    assert floor.value.tolist() == risk(task, "dMMSE", "pool tasks").value.tolist()
    gap = (risk(task, "ridge", "fresh tasks").value - plain.value).abs()
    assert (gap < 4 * risk(task, "ridge", "fresh tasks").se + 4 * plain.se).all()
    with pytest.raises(UserError, match="no distribution 'mars'"):
        risk(task, "ridge", "mars")
    with pytest.raises(UserError, match="no strategy 'tea leaves'"):
        risk(task, "tea leaves")


@pytest.mark.parametrize("arm", [{}, {"kappa": 10.0, "basis": "fixed", "prior": "inverse-covariance"}])
def test_the_zero_predictor_scores_chance(arm):
    task = InContextRegression(d=4, n=3, noise=0.5, pool=3, **arm)
    batch = task.sample(0, "test", 0, 60000)
    loss = task.loss(torch.zeros(60000, 7, 1), batch)
    assert ((loss.mean(0) - task.chance().value).abs() < 4.5 * loss.std(0) / 60000**0.5).all()


def test_what_a_pool_does_not_go_with():
    with pytest.raises(UserError, match="linear"):
        build({"kind": "regression", "pool": 4, "target": "relu"})
    with pytest.raises(UserError, match="eigenbasis"):
        build(
            {"kind": "regression", "pool": 4, "kappa": 3.0, "basis": "prompt", "prior": "inverse-covariance"}
        )
    with pytest.raises(UserError, match="at most 131072 tasks"):
        build({"kind": "regression", "pool": 2**20, "d": 1024})
    silent = InContextRegression(pool=4)
    assert set(silent.strategies(silent.sample(0, "test", 0, 3))) == {"ridge"}
    with pytest.raises(UserError, match="noise above 0"):
        silent.answer(silent.sample(0, "test", 0, 3))
