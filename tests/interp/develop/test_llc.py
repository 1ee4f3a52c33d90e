"""Coefficients known in closed form, and chains that must be refused."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad

from interp.develop.llc import check_traces, llc_table, local_learning_coefficient, split_rhat
from interp.run import Run
from tasks import UserError

N = 1000


def _measured(loss, d: int, step: float, gamma: float = 1.0, draws: int = 3000):
    start = torch.zeros(d, dtype=torch.float64)
    return local_learning_coefficient(
        loss, start, N, chains=4, draws=draws, burn_in=300, step=step, gamma=gamma
    )


def test_a_bowl_has_half_its_dimension() -> None:
    found = _measured(lambda w: (w**2).sum() / 2, d=10, step=1e-3)
    assert found.value == pytest.approx(5, rel=0.08)


def test_flat_directions_do_not_count() -> None:
    found = _measured(lambda w: (w[:4] ** 2).sum() / 2, d=10, step=1e-3)
    assert found.value == pytest.approx(2, rel=0.1)


def test_a_singular_minimum_agrees_with_quadrature() -> None:
    """loss w^4: coefficient 1/4 as n grows; at this n and localisation the exact value is an integral."""
    beta_n = N / math.log(N)

    def weight(w: float) -> float:
        return math.exp(-beta_n * w**4 - w**2 / 2)

    exact = beta_n * quad(lambda w: w**4 * weight(w), -3, 3)[0] / quad(weight, -3, 3)[0]
    assert exact == pytest.approx(0.25, abs=0.03)
    found = _measured(lambda w: (w**4).sum(), d=8, step=4e-3, draws=4000)
    assert found.value / 8 == pytest.approx(exact, rel=0.12)


def test_rhat_tells_chains_that_agree_from_those_that_do_not() -> None:
    gen = torch.Generator().manual_seed(0)
    good = torch.randn(4, 500, generator=gen, dtype=torch.float64)
    assert split_rhat(good) < 1.02
    assert split_rhat(good + torch.arange(4.0).double()[:, None]) > 1.3
    assert split_rhat(good + torch.linspace(0, 4, 500).double()) > 1.3


def test_bad_chains_are_refused() -> None:
    with pytest.raises(UserError, match="diverged"):
        _measured(lambda w: (w**2).sum() * 1e4, d=3, step=1.0, draws=200)
    with pytest.raises(UserError, match="not mixed"):
        check_traces(torch.linspace(0, 1, 100).double().repeat(4, 1), 0.0)
    noise = 0.1 * torch.randn(4, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with pytest.raises(UserError, match="no local minimum"):
        check_traces(noise - 1.0, 0.0)
    with pytest.raises(UserError, match="2 chains"):
        local_learning_coefficient(lambda w: w.sum(), torch.zeros(2), N, chains=1, step=0.1)


def test_a_table_over_a_run_keeps_refused_checkpoints_without_a_value(tmp_path) -> None:
    shape = {"task.hops": 1, "task.chains": 2, "task.vocab": 4, "model.n_layers": 1, "model.n_heads": 1,
             "model.d_model": 8, "train.batch": 16, "train.eval_batch": 16, "train.schedule.every": 20,
             "train.schedule.log": 0, "train.lr": 1e-2}  # fmt: skip
    run = Run.train("retrieval", tmp_path / "run", steps=400, changes=shape)
    settings = {"prompts": 16, "chains": 2, "gamma": 100.0}
    good = llc_table(run, [400], draws=300, burn_in=50, step=3e-3, **settings)
    assert good["note"].tolist() == [""]
    assert good["value"].iloc[0] > 0
    bad = llc_table(run, [0, 40], draws=20, burn_in=0, step=1e3, **settings)
    assert bad["step"].tolist() == [0, 40]
    assert bad["value"].isna().all()
    assert (bad["note"] != "").all()
    with pytest.raises(UserError, match="sampling needs"):
        llc_table(run, [400], draws=1, burn_in=0, step=1e-9, **settings)
