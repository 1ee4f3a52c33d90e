"""Coefficients known in closed form, and chains that must be refused."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.integrate import quad

from interp.cli import run as main
from interp.cli.landscape_tables import refused
from interp.emergence.instruments import instrument_onsets
from interp.landscape.closed_forms import deep_linear, reduced_rank_regression
from interp.landscape.curvature import Objective
from interp.landscape.langevin import check_traces, model_slopes, split_rhat
from interp.landscape.llc import LearningCoefficient, local_learning_coefficient
from interp.run import Run
from tasks import UserError

N = 1000


def _measured(loss, d: int, step: float, gamma: float = 1.0, draws: int = 3000):
    start = torch.zeros(d, dtype=torch.float64)
    return local_learning_coefficient(
        [loss], start, N, chains=4, draws=draws, burn_in=300, step=step, gamma=gamma
    )


def test_a_bowl_has_half_its_dimension() -> None:
    found = _measured(lambda w: (w**2).sum() / 2, d=10, step=1e-3, draws=1500)
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


def _linear_net(widths: tuple[int, ...], rank: int):
    """Population loss of a product of matrices on normal inputs, and its most singular minimum of that rank."""
    shapes = list(zip(widths[1:], widths, strict=False))
    sizes = [a * b for a, b in shapes]
    start = torch.cat(
        [torch.eye(a, b).mul((torch.arange(b) < rank).float()).flatten() for a, b in shapes]
    ).double()

    def product(w: torch.Tensor) -> torch.Tensor:
        matrices = [part.view(shape) for part, shape in zip(w.split(sizes), shapes, strict=True)]
        return torch.linalg.multi_dot(matrices[::-1])

    target = product(start)
    return lambda w: (product(w) - target).square().sum() / 2, start


@pytest.mark.parametrize(("widths", "rank"), [((3, 2, 3), 1), ((3, 3, 3, 3), 1)])
def test_reduced_rank_regression_and_a_deep_linear_net_agree_with_what_is_proven(widths, rank) -> None:
    """At a small gamma and step; a gamma of a hundred, chains mixed as well, reads a quarter less."""
    loss, start = _linear_net(widths, rank)
    exact = deep_linear(widths, rank)
    assert exact < sum(a * b for a, b in zip(widths[1:], widths, strict=False)) / 2
    settings = {"chains": 4, "draws": 1000, "burn_in": 300}
    found = local_learning_coefficient([loss], start, 10_000, step=1.5e-4, gamma=1.0, **settings)
    assert found.value == pytest.approx(exact, rel=0.15)
    settings["draws"] = 300
    held = local_learning_coefficient([loss], start, 10_000, step=1.5e-4, gamma=100.0, **settings)
    assert held.high < 0.85 * exact


def test_the_two_closed_forms_agree_and_reach_half_the_weights_where_nothing_is_singular() -> None:
    for widths in itertools.product(range(1, 6), repeat=3):
        for rank in range(min(widths) + 1):
            m, h, n = widths
            assert reduced_rank_regression(m, h, n, rank) == pytest.approx(deep_linear(widths, rank))
    assert deep_linear((4, 3), 2) == 6
    assert deep_linear((1, 1, 1), 0) == 0.5
    with pytest.raises(UserError, match="no rank 4"):
        deep_linear((3, 3, 3), 4)


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
        check_traces(torch.linspace(0, 1, 100).double().repeat(4, 1))
    noise = 0.1 * torch.randn(4, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with pytest.raises(UserError, match="no local minimum"):
        check_traces(noise - 1.0)
    with pytest.raises(UserError, match="2 chains"):
        local_learning_coefficient([lambda w: w.sum()], torch.zeros(2), N, chains=1, step=0.1)


def test_minibatches_of_different_levels_cancel_in_pairs() -> None:
    """Four bowls whose depths differ by more than the chains' rise: the mean bowl's coefficient comes out."""
    losses = [lambda w, k=k: (w**2).sum() / 2 + 10 * k for k in range(4)]
    found = local_learning_coefficient(
        losses, torch.zeros(10, dtype=torch.float64), N, draws=1500, burn_in=300, step=1e-3
    )
    assert found.value == pytest.approx(5, rel=0.12)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A net that learns one hop."""
    shape = {"task.hops": 1, "task.chains": 2, "task.vocab": 4, "model.n_layers": 1, "model.n_heads": 1,
             "model.d_model": 8, "train.batch": 16, "train.eval_batch": 16, "train.schedule.every": 20,
             "train.schedule.log": 0, "train.lr": 1e-2}  # fmt: skip
    return Run.train("retrieval", tmp_path_factory.mktemp("llc") / "run", steps=400, changes=shape)


def test_a_trained_net_has_a_coefficient_and_an_untrained_one_is_refused(run) -> None:
    settings = LearningCoefficient(prompts=64, minibatch=16, n=1000, gamma=100.0, draws=200, step=1e-3)
    table = run.tables([settings], [0, 400])["llc"].set_index("step")
    assert table.loc[400, "note"] == ""
    assert 0 < table.loc[400, "ci_low"] < table.loc[400, "value"] < run.parameters / 2
    assert math.isnan(table.loc[0, "value"])
    assert "no local minimum" in table.loc[0, "note"]


SHORT = LearningCoefficient(prompts=16, minibatch=16, chains=2, draws=20, burn_in=0, step=1e3)


def test_the_copy_that_chains_run_on_has_the_models_gradient_and_leaves_the_model_alone(run) -> None:
    model, batch = run.model("last"), run.task.sample(0, "llc", 0, 16)
    before = {name: p.clone() for name, p in model.named_parameters()}
    (slope,), start = model_slopes(model, run.task, [batch])
    objective = Objective(model, run.task, batch)
    moved = start + 0.05 * torch.randn(start.shape, generator=torch.Generator().manual_seed(0))
    value, gradient = slope(moved)
    assert float(value) == pytest.approx(float(objective.loss(moved)), rel=1e-5)
    exact = objective.gradient(moved)
    assert float((gradient - exact).norm() / exact.norm()) < 1e-5
    assert torch.equal(start, objective.weights)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    assert not any(getattr(module, "fused", "never") == "always" for module in model.modules())


def test_a_sweep_over_gamma_and_step_size_says_where_the_figure_moves(run, tmp_path, capsys) -> None:
    settings = LearningCoefficient(prompts=64, minibatch=16, n=1000, draws=100, burn_in=50)
    found = run.llc_sweep([30.0, 300.0], [1e-3, 1e3], llc=settings)
    table = found.table.set_index(["gamma", "step_size"])
    assert table.loc[(30.0, 1e-3), "ci_low"] > table.loc[(300.0, 1e-3), "ci_high"]
    assert table.loc[(30.0, 1e3), "value"] != table.loc[(30.0, 1e3), "value"], "diverged"
    assert "gamma 30" in found.picture().svg
    assert "at gamma 30, step 0.001" in table.loc[(30.0, 1e-3), "unit"]
    assert "Monte Carlo error alone" in found.caption


def test_the_sweep_at_the_terminal_prints_both_axes_and_writes_its_picture(run, tmp_path, capsys) -> None:
    place = tmp_path / "grid.svg"
    assert (
        main(
            ["curvature", str(run.path), "--gamma", "1e3,1e4", "--step-size", "1e3", "--picture", str(place)]
        )
        == 0
    )
    told = capsys.readouterr().out
    assert "refused" in told or "diverged" in told
    assert not place.exists(), "all chains diverge at such a step"
    assert main(["curvature", str(run.path), "--gamma", "1e3,x"]) == 2
    assert "positive numbers" in capsys.readouterr().err
    assert main(["curvature", str(run.path), "--picture", str(place)]) == 2


def test_refused_checkpoints_keep_a_row_without_a_value_beside_the_curvature(run) -> None:
    found = run.curvature([40, 400], prompts=16, probes=2, llc=SHORT).table
    assert "sharpness" in set(found["metric"])
    table = found[found["metric"] == "local learning coefficient"]
    assert table["step"].tolist() == [40, 400]
    assert table["value"].isna().all()
    assert (table["note"] != "").all()
    assert [step for step, _ in refused(found)] == [40, 400]


def test_the_landscape_is_dated_on_the_runs_axis_and_the_loss_by_its_fall(run) -> None:
    table = instrument_onsets(run, "landscape", run.steps[::2], llc=SHORT).set_index("subject")
    assert table.loc["loss", "state"] == "emerged"
    assert 0 < table.loc["loss", "step"] <= 200
    assert {"sharpness", "gradient norm"} <= set(table.index)
    assert "local learning coefficient" not in table.index, "all its chains are refused"
    with pytest.raises(UserError, match="cannot tell a rise from noise"):
        instrument_onsets(run, "landscape", "0,400")
    with pytest.raises(UserError, match="there are readouts, landscape, edges"):
        instrument_onsets(run, "skills")
