"""The two studies of linear attention: what their rows are made of, on sizes that a test can afford."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import torch

from interp.config.run import configure
from interp.models.build import build_model
from interp.models.linear_weights import relative_error
from interp.studies import STUDIES, linear_nets
from interp.studies.context import StudyContext
from interp.studies.figure_page import Part, write_page
from interp.studies.linear_attention import figures as linear_attention_figures
from interp.studies.linear_attention import measure_depth as linear_attention_deep
from interp.studies.linear_attention import measure_paths as linear_attention_paths
from interp.studies.linear_attention import runs as linear_attention_runs
from interp.studies.linear_attention import study as linear_attention_study
from interp.studies.linear_attention.claims import CLAIMS as LANDSCAPE
from interp.studies.one_step_gd import rows as one_step_rows
from interp.studies.one_step_gd import rows_saddle as one_step_gd_saddle
from interp.studies.one_step_gd import runs as one_step_gd
from interp.studies.one_step_gd import study as one_step_study
from interp.studies.one_step_gd import theory as linear
from interp.studies.one_step_gd.claims import CLAIMS as ONE_STEP
from tasks.errors import UserError
from tasks.regression import InContextRegression

SMALL = one_step_gd.OneStepBudget(50_000, 4000, 60, 60, 32, ((5, 40), (3,), (0.0, 1.0)), starts=2)


@pytest.fixture
def study(tmp_path) -> StudyContext:
    return one_step(tmp_path, (0, 1))


def one_step(out, seeds, budget=SMALL) -> StudyContext:
    return StudyContext("one-step-gd", "quick", out, seeds, lambda line: None, budget, ONE_STEP)


def landscape(out, seeds=(0,)) -> StudyContext:
    sizes = linear_attention_runs.SIZES["quick"]
    return StudyContext("linear-attention", "quick", out, seeds, lambda line: None, sizes, LANDSCAPE)


def test_studies_are_known_by_name() -> None:
    assert STUDIES[one_step_gd.NAME] == one_step_study.__name__
    assert STUDIES[linear_attention_runs.NAME] == linear_attention_study.__name__
    assert all(claim.id == key for claims in (ONE_STEP, LANDSCAPE) for key, claim in claims.items())


@pytest.mark.parametrize("preset", ["one-step-gd", "linear-attention"])
def test_presets_build(preset: str) -> None:
    config = configure(preset)
    model = build_model(config.model, config.task.interface, 0)
    batch = config.task.sample(0, "x", 0, 8)
    assert torch.isfinite(config.task.loss(model(batch.inputs), batch)).all()


def test_normal_equations_find_the_closed_form() -> None:
    found = linear_nets.least_squares(one_step_gd.WHITENED, 100_000, 0)
    best = linear.optimal_preconditioner(linear_nets.distribution_of(one_step_gd.WHITENED), 20)
    assert relative_error(found, best) < 0.02
    wrong = linear.optimal_preconditioner(linear_nets.distribution_of(one_step_gd.ISOTROPIC), 20)
    assert relative_error(found, wrong) > 0.3


def test_distributions_of_tasks() -> None:
    law = linear_nets.distribution_of(one_step_gd.ANISOTROPIC)
    values = torch.linalg.eigvalsh(law.covariance)
    torch.testing.assert_close(
        values, torch.tensor(sorted(one_step_gd.SPECTRUM)).double(), rtol=1e-5, atol=1e-6
    )
    w = one_step_gd.WHITENED.sample(0, "w", 0, 100_000).w.double()
    torch.testing.assert_close(
        w.T.cov(), linear_nets.distribution_of(one_step_gd.WHITENED).prior, rtol=0.05, atol=0.05
    )
    with pytest.raises(UserError, match="normal covariates"):
        linear_nets.distribution_of(one_step_gd.drawn_from("sphere"))


def test_a_fit_ends_at_the_optimum_and_says_so(study: StudyContext) -> None:
    config = linear_nets.run_config(
        InContextRegression(d=3, n=10, layout="merged"),
        one_step_gd.GD,
        0,
        {"steps": 1, "batch": 1, "lr": 1.0},
    )
    G = linear_nets.one_layer(linear_nets.fit(config, 10_000), 10)
    assert relative_error(G, linear.isotropic_step(10, 3) * torch.eye(3).double()) < 0.06


def test_rows_judge_what_was_measured(study: StudyContext) -> None:
    claim = "gd-cosine"
    words = {"condition": "a", "budget": "b"}
    assert study.row(claim, [0.9995, 0.9996, 0.9995, 0.9996], **words).verdict == "reproduced"
    assert study.row(claim, [0.9995], **words).verdict == "inconclusive"
    assert study.row(claim, [0.5, 0.6, 0.5, 0.55], **words).verdict == "contradicted"
    assert study.row(claim, [0.9995, 0.9996], **words).command == "interp study one-step-gd --scale quick"


def test_short_training_does_not_reproduce(study: StudyContext) -> None:
    """After 60 steps on 32 prompts the full net is not at the optimum, and the rows must say so."""
    verdicts = {row.id: row.verdict for row in one_step_rows.full_family(study)}
    assert set(verdicts) == {"full-error", "full-excess", "full-nuisance"}
    assert "reproduced" not in verdicts.values()
    before = sorted(path.name for path in study.out.iterdir())
    one_step_rows.full_family(study)
    assert sorted(path.name for path in study.out.iterdir()) == before == ["full-0", "full-1"]


def test_gradient_flow_balances(study: StudyContext) -> None:
    (row,) = one_step_rows.gradient_flow(study)
    assert row.verdict == "reproduced"
    assert row.value == pytest.approx(1, abs=1e-4)


def test_lemma_rows() -> None:
    assert 0 < linear_attention_deep.lemma_error("float32", 0) < 1e-5
    assert 0 < linear_attention_deep.lemma_error("float64", 0) < 1e-10


def test_deep_nets_reach_the_floor_of_descent() -> None:
    task = linear_attention_runs.SETTINGS["S1"].task
    deep = linear_attention_deep.deep_fit(task, 2, False, [0], 1500)
    assert deep.loss / deep.reference < 1.06
    assert sorted(deep.steps) == pytest.approx(deep.optimum.steps, rel=0.05)
    assert max(deep.distances(white=True)) < 0.15


def test_paths_of_a_run_hold_true_steps(tmp_path) -> None:
    study = landscape(tmp_path)
    run = linear_attention_runs.run_of(study, "S1", "sgd", linear_attention_runs.model_of(1), 0, 150)
    found = linear_attention_paths.path(run)
    assert list(found.index) == [0, 50, 100]
    assert (found["gradient norm"] > 0).all()
    assert run.config.train.lr == pytest.approx(0.02 * 5)
    assert run.config.train.clip == pytest.approx(1 / 5)
    assert linear_attention_runs.final_loss(run) < 5


def test_a_diverged_seed_is_left_out_and_counted(tmp_path) -> None:
    study = landscape(tmp_path)
    claim, words = "gap-S1", {"condition": "a", "budget": "b"}
    row = study.ratios(claim, [10.0, float("inf"), 10.0], **words)
    assert (row.value, row.ci_low, row.n, row.verdict) == (pytest.approx(10), None, 2, "inconclusive")
    assert "1 of 3 seeds left out" in row.note
    lost = study.ratios(claim, [10.0, float("nan"), 0.0], **words)
    assert (lost.value, lost.verdict) == (None, "not measured")


def test_a_run_that_diverges_has_an_infinite_loss_and_is_not_chosen(tmp_path) -> None:
    study = landscape(tmp_path)
    model = linear_attention_runs.model_of(2)
    run = linear_attention_runs.run_of(study, "S1", "sign", model, 0, 30, rate=1e6)
    assert run.folder.diverged is not None
    assert linear_attention_runs.final_loss(run) == float("inf")


def test_starts_of_deep_fits_are_all_kept() -> None:
    task = linear_attention_runs.SETTINGS["S1"].task
    deep = linear_attention_deep.deep_fit(task, 2, True, [0, 1], 300, start="scalar")
    assert len(deep.reached) == len(deep.far) == 2
    assert deep.loss / deep.reference == min(deep.reached)


def test_descent_at_a_large_rate_finds_the_better_basin_and_says_when_it_does_not(monkeypatch) -> None:
    """Two layers of GD++ have two basins of multiples of the identity; a short training ends in neither."""
    task = linear_attention_runs.SETTINGS["S1"].task
    (deep,) = linear_attention_deep.descended(task, 2, [[0, 1]], 4000, rate=0.1, steps=500, batch=96)
    assert max(deep.reached) < 1.1
    assert max(deep.far) < 0.1
    assert deep.flattening == pytest.approx(deep.optimum.flattening, rel=0.1)
    monkeypatch.setattr(linear_attention_deep, "RISK_PROMPTS", 2000)  # far from any basin
    (short,) = linear_attention_deep.descended(task, 2, [[0]], 4000, rate=0.1, steps=20, batch=96)
    assert short.reached[0] > 2


def test_members_of_a_descent_go_their_own_ways(monkeypatch) -> None:
    monkeypatch.setattr(linear_attention_deep, "RISK_PROMPTS", 1000)  # a floor that all share
    task = linear_attention_runs.SETTINGS["S1"].task
    sizes = {"rate": 0.1, "steps": 5, "batch": 8}
    both, other = linear_attention_deep.descended(task, 2, [[0, 1], [2]], 200, **sizes)
    (one,) = linear_attention_deep.descended(task, 2, [[0]], 200, **sizes)
    assert both.reached[0] == pytest.approx(one.reached[0], rel=1e-9)
    assert len({*both.reached, *other.reached}) == 3


def test_the_feature_net_trains_as_a_run(tmp_path) -> None:
    study = landscape(tmp_path)
    run = linear_attention_runs.run_of(study, "mlp", "adam", linear_attention_runs.FEATURES, 0, 60)
    assert linear_attention_runs.final_loss(run) < linear_attention_runs.label_variance(run)
    assert list(linear_attention_paths.path(run).index) == [0, 50]


def test_settled_runs_are_told_from_the_optimum(tmp_path) -> None:
    """After 60 steps both starts are far above the optimum, and the rows say what their weights hold."""
    study = one_step(tmp_path, (0,), replace(SMALL, fit_prompts=500))
    rows = {row.id: row for row in one_step_gd_saddle.saddle(study)}
    assert (rows["saddle-share"].value, rows["saddle-share"].n) == (1, 2)
    assert rows["saddle-detour"].value > 0.05
    assert "cannot have rank one" in rows["saddle-rank"].note
    assert one_step_gd_saddle.least_rank_one_excess() == pytest.approx(1.95, abs=0.01)
    (part,) = study.parts
    drawn = [np.array(picture.z)[::-1] for picture in part.body.data]
    assert len(drawn) == 3
    assert np.linalg.matrix_rank(drawn[1], tol=1e-9) == 1
    best = 20 * linear.optimal_preconditioner(linear_nets.distribution_of(one_step_gd.ANISOTROPIC), 20)
    np.testing.assert_allclose(np.sort(np.diag(drawn[2])), torch.linalg.eigvalsh(best).numpy(), rtol=1e-6)


def test_pictures_and_the_table_beside_the_paper(tmp_path) -> None:
    study = landscape(tmp_path)
    sgd, adam = (
        linear_attention_runs.run_of(study, "S2", name, linear_attention_runs.model_of(1), 0, 60)
        for name in ("sgd", "adam")
    )
    table = linear_attention_figures.compared_with_paper([sgd], [adam], [50, 55])
    expected = linear_attention_runs.final_loss(sgd) / linear_attention_runs.final_loss(adam)
    assert table.loc["final loss", "seed 0"] == pytest.approx(expected)
    assert table.loc["R at step 50", "paper, mean (sd)"] == "none stated"
    assert table.loc["R at step 50", "seed 0"] > 0
    assert table.loc["R at step 55", "mean (sd)"] == "nan (nan)"  # 55 is no checkpoint
    assert len(linear_attention_figures.loss_figure({"sgd": [sgd], "adam": [adam]}).data) == 4
    figure = linear_attention_figures.preconditioner_figure(
        {"a": torch.eye(2), "b": torch.tensor([[0.0, -3.0]])}
    )
    assert (figure.data[0].zmax, figure.data[1].zmin) == (3.0, -3.0)
    assert figure.data[0].z.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    two = linear_attention_figures.preconditioner_figure({"a": torch.eye(2)}, {"b": 2 * torch.eye(2)})
    assert [picture.zmax for picture in two.data] == [2.0, 2.0]


def test_the_page_escapes_its_words_and_holds_the_script_once(tmp_path) -> None:
    parts = [
        Part(pd.DataFrame({"<i>": ["<script>a</script>"]}), "A & B", "1 < 2"),
        *(Part(go.Figure(go.Scatter(y=[1, 2])), f"picture {k}") for k in range(2)),
    ]
    page = write_page(tmp_path / "deep" / "page.html", "<b>", parts).read_text()
    assert "<script>a</script>" not in page
    assert "&lt;script&gt;a" in page
    assert "<h2>A &amp; B</h2><p>1 &lt; 2</p>" in page
    assert "<title>&lt;b&gt;</title>" in page
    assert page.count('class="plotly-graph-div"') == 2
    assert page.count("plotly.js v") == 1


def test_noise_curves_fall_from_one(tmp_path) -> None:
    lengths = torch.tensor([4.0, 1.0, 2.0])
    (curve,) = linear_attention_figures.noise_figure({"S1": lengths}).data
    assert list(curve.x) == [0.5, 1.0, 2.0]
    assert list(curve.y) == pytest.approx([1, 2 / 3, 1 / 3])


def test_a_searched_rate_is_one_at_which_every_run_comes_to_its_end(tmp_path, monkeypatch) -> None:
    losses = {(0.1, 200): 0.1, (0.05, 200): 0.2, (0.1, 500): math.inf}  # the fastest start breaks off later
    monkeypatch.setattr(linear_attention_runs, "run_of", lambda *settings: (settings[-1], settings[-2]))
    monkeypatch.setattr(linear_attention_runs, "final_loss", lambda run: losses.get(run, 1.0))
    study = landscape(tmp_path, (0, 1))
    model = linear_attention_runs.model_of(8)
    assert linear_attention_runs.rate_of(study, "S1", "sgd", model, 500) == 0.05
    monkeypatch.setattr(
        linear_attention_runs, "final_loss", lambda run: math.inf if run[1] == 500 else losses.get(run, 1.0)
    )
    assert linear_attention_runs.rate_of(study, "S1", "sgd", model, 500) == 0.1  # none does
