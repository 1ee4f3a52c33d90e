"""The study of layers against Newton's method: configurations, a toy ledger, its figures on planted truth."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from interp.config.run import configure
from interp.models import build_model
from interp.readouts.algorithms import AlgorithmMatch
from interp.run import Run
from interp.studies.context import StudyContext
from interp.studies.newton import measure, measure_growth, measure_planted, rows_conditions, rows_growth
from interp.studies.newton import measure_two_layer as newton_two_layer
from interp.studies.newton import study as newton
from interp.studies.newton import theory as newton_rates
from interp.studies.newton.claims import CLAIMS
from interp.studies.newton.measure import outside_span
from interp.studies.newton.rows import longer
from interp.studies.newton.runs import (
    BUDGETS,
    DEEP,
    MUON,
    NetSizes,
    NewtonBudget,
    condition_config,
    condition_names,
    main_config,
)
from interp.studies.power import planted_figures
from interp.train import train
from probes.algorithms import iterates
from tasks.regression import InContextRegression
from tasks.streams import generator

TINY = NewtonBudget(
    2, NetSizes(3, 5, 3, 2, 8, 2), NetSizes(3, 5, 4, 2, 8, 2), (4, 8), 2, 2, {}, 5, 8, 20,
    {**MUON, "train.batch": 4, "train.schedule.log": 0, "train.eval_batch": 4}, 1,
)  # fmt: skip


QUICK_LEAVES_OUT = {"f-solved", "g-wide", "i-one-head", "i-depth", "m-gd", "m-lower", "m-tanh", "long"}


@pytest.mark.parametrize("scale", ["quick", "cpu", "paper"])
def test_every_condition_of_every_scale_builds(scale):
    budget = BUDGETS[scale]
    configs = [condition_config(budget, name, 0) for name in condition_names(budget)]
    assert len({config.model_dump_json() for config in configs}) == len(configs), (
        "a condition is like another"
    )
    for config in [main_config(budget, 0), *configs] if scale == "quick" else ():
        assert build_model(config.model, config.task.interface, 0) is not None


def test_the_paper_size_takes_a_step(tmp_path):
    budget = replace(
        BUDGETS["paper"], main=replace(BUDGETS["paper"].main, steps=1),
        recipe={**BUDGETS["paper"].recipe, "train.batch": 2, "train.eval_batch": 2},
    )  # fmt: skip
    config = main_config(budget, 0)
    assert (config.model.n_layers, config.model.d_model, config.model.n_heads) == (12, 256, 8)
    assert (config.task.d, config.task.n, config.train.lr, config.train.optimiser) == (20, 40, 1e-4, "adam")
    assert train(config, tmp_path / "run").finished


def toy(out, report):
    return StudyContext("newton", "quick", out, (0, 1), report, TINY, CLAIMS)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    out = tmp_path_factory.mktemp("newton")
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        up_to(8, patch)
        patch.setattr(
            measure, "CHUNK", measure.CHUNK // 4
        )  # nets that learned nothing, read on fewer prompts
        return newton.measure(toy(out, said.append)), out, said


def up_to(steps: int, patch: pytest.MonkeyPatch) -> None:
    """Gradient descent on two-layer nets is offered with so many steps at most, of 512."""
    ladder = tuple(k for k in newton_two_layer.LADDER if k <= steps)
    patch.setattr(newton_two_layer, "LADDER", ladder)
    patch.setattr(newton_two_layer, "descend", partial(newton_two_layer.descend, ladder=ladder))


def test_a_toy_ledger_holds_every_claim_with_its_condition_and_budget(ledger):
    found, out, _ = ledger
    assert [row.id for row in found.claims] == list(CLAIMS)
    assert {"main-0", "main-1", "lstm-0", "kappa-100-0", "width-4-0"} <= {p.name for p in out.iterdir()}
    assert all(row.condition and row.budget for row in found.claims)


def test_what_a_scale_leaves_out_is_not_testable_and_names_the_scale_that_tests_it(tmp_path):
    few = replace(TINY, conditions=BUDGETS["quick"].conditions, to_the_end=False)
    study = StudyContext("newton", "quick", tmp_path, (0, 1), lambda _: None, few, CLAIMS)
    rows = [*rows_conditions.depth_and_heads(study), *rows_conditions.nonlinear(study), *longer(study)]
    rows += rows_conditions.widths(study)
    untested = {row.id for row in rows if row.verdict == "not testable at this scale"}
    assert untested == QUICK_LEAVES_OUT - {"f-solved"}
    assert all(
        "--scale cpu" in row.note and "--scale cpu" in row.command for row in rows if row.id in untested
    )
    assert len(QUICK_LEAVES_OUT) < len(CLAIMS) / 3
    assert set(BUDGETS["cpu"].conditions) > set(BUDGETS["quick"].conditions)


def test_nets_that_learned_nothing_reproduce_no_climb(ledger):
    rows = {row.id: row for row in ledger[0].claims}
    for claim in (
        "a-order",
        "b-slope",
        "b-linear",
        "c-slope",
        "d-slope",
        "l-slope",
        "i-one-head",
        "filter-growth",
    ):
        assert rows[claim].verdict == "not measured", claim
        assert rows[claim].value is None, claim


def test_finished_runs_are_reused(ledger):
    _, out, _ = ledger
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.safetensors")}
    again = toy(out, lambda _: None)
    base = [row for row in rows_conditions.widths(again) if row.id == "g-narrow"]
    assert base == [row for row in ledger[0].claims if row.id == "g-narrow"]
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.safetensors")} == before


def test_deeper_problems_have_rows_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "CHUNK", measure.CHUNK // 8)
    budget = replace(TINY, deep=NetSizes(4, 5, 3, 2, 8, 2))
    study = StudyContext("newton", "cpu", tmp_path, (0,), lambda _: None, budget, CLAIMS)
    rows = rows_growth.deep(study)
    asked = ("filter-growth", "growth-difference", "growth-first", "e-cg", "e-bfgs")
    assert [row.id for row in rows] == [f"{claim}, {name}" for name in DEEP for claim in asked]
    assert all(row.budget.startswith("d 4, n 5, 3 layers") for row in rows)
    assert {row.verdict for row in rows} == {"not measured"}, "nets that learned nothing move no filter"
    assert rows_growth.deep(replace(study, budget=TINY)) == []


def test_checkpoints_that_are_asked_lie_over_the_whole_training():
    assert measure_growth.chosen([0, 1, 3, 200, 400, 600, 800, 1000, 1200, 1400, 1600]) == [
        200, 400, 600, 800, 1200, 1600,
    ]  # fmt: skip
    assert measure_growth.chosen([0, 1, 2]) == [0, 1, 2]


@pytest.mark.parametrize(("side", "sign"), [("true", 1), ("false", -1)])
def test_the_difference_has_the_sign_of_what_planted_layers_run(side, sign):
    growth = measure_planted.growth_of(side, 0)
    assert sign * measure_growth.difference(growth) > 0.001
    course = rows_growth.course_of([{200: None, 400: growth}, {200: None, 400: growth}])
    assert course.startswith("step 200: too few layers move; step 400: misfit of doubling")
    assert course.endswith(f"doubling nearer in {2 if sign > 0 else 0} of 2")
    kept = planted_figures()["growth-difference"][side]
    assert kept[0] == pytest.approx(measure_growth.difference(growth), abs=1e-6)
    assert all(sign * value > 0 for value in kept)


def test_rungs_between_those_of_the_ladder_are_found(tmp_path):
    """A layer that carries 112 steps of gradient descent, which the ladder (64, 128) does not offer."""
    config = configure("regression", changes={"task.n": 12, "train.steps": 1, "train.eval_batch": 4})
    run = Run.train(config, tmp_path / "run")
    net = measure.MatchedNet.of(run, AlgorithmMatch(chunks=5, filter_prompts=2, weight_prompts=2, draws=20))
    rung = next(rung for rung in net.accumulator.rivals.ladders if rung.family == "gd")
    planted = iterates.predictions(net.problems, [replace(rung.members[0], k=k) for k in (16, 112)])
    net.__dict__["layers"] = planted
    assert net.match("gd").best == [16, 128]
    assert net.match_finely((80, 96, 112, 144)).best == [16, 112]


def test_rates_are_those_of_theory():
    assert newton_rates.gd_slope() == pytest.approx(1, abs=0.02)
    assert newton_rates.newton_slope() == pytest.approx(2, abs=0.05)
    assert newton_rates.newton_last_step() == 1
    assert newton_rates.cg_slope() == pytest.approx(0.5, abs=0.1)
    error, layers = newton_rates.constructed_newton_error()
    assert error < 1e-12
    assert layers == 2


def test_newton_and_gradient_descent_are_one_fact():
    from probes.algorithms.problems import Problems

    batch = InContextRegression(d=5, n=20).sample(0, "one fact", 0, 200)
    slope = newton_rates.gd_doublings(Problems.of(batch.x, batch.y, range(21)), batch.y.double())
    assert slope == pytest.approx(0.5, abs=0.1)


def test_weights_are_split_into_span_and_rest():
    gen = torch.Generator().manual_seed(0)
    x = torch.randn(7, 2, 5, generator=gen)
    inside = torch.einsum("pnd,pn->pd", x, torch.randn(7, 2, generator=gen)).double()
    assert outside_span(inside, x).max() < 1e-10
    w = torch.randn(4000, 5, generator=gen).double()
    spread = outside_span(w, torch.randn(4000, 2, 5, generator=gen))
    assert float(spread.mean()) == pytest.approx(3.0, abs=4 * math.sqrt(6 / 4000))


def test_a_first_step_on_a_net_is_that_of_its_tangent_kernel():
    batch = InContextRegression(d=3, n=6, target="relu", hidden=8).sample(0, "two layers", 0, 20)
    half = torch.randn(newton_two_layer.WIDTH // 2, 3, generator=generator(0, "two-layer student", 0))
    w = torch.cat([half, half])
    before = batch.x @ w.T
    hidden, on = before.relu(), (before > 0).float()
    kernel = (hidden @ hidden.mT + (on @ on.mT) * (batch.x @ batch.x.mT)) / newton_two_layer.WIDTH
    top = torch.linalg.eigvalsh(kernel[:, :6, :6] / 6)[:, -1]
    first = 1e-4 / top * (kernel[:, 6, :6] * batch.y[:, :6]).mean(1)
    found = newton_two_layer.descend(batch.x, batch.y, (6,), 1e-4, (1,))[0, :, 0]
    assert torch.allclose(found, first.double(), rtol=1e-2, atol=1e-6)
    assert found.abs().max() > 1e-5


def test_gradient_descent_on_a_net_learns_its_examples():
    batch = InContextRegression(d=3, n=6, target="relu", hidden=8).sample(0, "two layers", 0, 40)
    path = newton_two_layer.descend(batch.x, batch.y, (0, 6), 0.25, (1, 400))
    assert path[0, :, 0].abs().max() < 1e-5, "no examples, no change"
    seen = newton_two_layer.descend(
        torch.cat([batch.x[:, :6], batch.x[:, :1]], 1), batch.y, (6,), 0.25, (1, 400)
    )
    errors = (seen[:, :, 0] - batch.y[:, 0]).square().mean(1)
    assert errors[1] < 0.2 * errors[0]


def test_a_layer_that_carries_gradient_descent_on_a_net_is_matched_with_its_steps(monkeypatch):
    batch = InContextRegression(d=3, n=6, target="relu", hidden=8).sample(0, "two layers", 0, 160)
    contexts = range(7)
    path = newton_two_layer.descend(batch.x, batch.y, contexts, 0.25, (4, 16, 64))
    up_to(256, monkeypatch)  # 16 steps of size 1, of the smallest size that is offered
    match, size = newton_two_layer.two_layer_match(path, batch.x, batch.y, contexts, 50)
    assert [k * size for k in match.best] == [1.0, 4.0, 16.0], "another size needs as many more steps"
