"""Rows of the landscape study at searched rates: the ladder, diverged runs, falling rates, what quick leaves out."""

from __future__ import annotations

import math

import pytest

from interp.studies.context import StudyContext
from interp.studies.linear_attention import rows_optimisers as rows
from interp.studies.linear_attention import runs, runs_searched
from interp.studies.linear_attention.claims import CLAIMS


@pytest.fixture
def study(tmp_path) -> StudyContext:
    return StudyContext(
        "linear-attention", "quick", tmp_path, (0,), lambda line: None, runs.SIZES["quick"], CLAIMS
    )


@pytest.mark.parametrize(("middle", "first"), [(0.7, 0.1), (0.7, 8.0), (0.003, 0.1)])
def test_a_ladder_of_rates_ends_with_a_worse_rung_on_either_side(middle, first) -> None:
    asked: list[float] = []

    def loss(rate: float) -> float:
        asked.append(rate)
        return math.inf if rate > 4 else math.log(rate / middle) ** 2

    best = runs_searched.climbed(loss, first)
    assert abs(math.log(best / middle)) <= math.log(2) / 2
    assert {best / 2, best * 2} <= set(asked)
    assert len(asked) == len(set(asked)), "no rate is trained at twice"


def test_a_run_that_diverged_loses_at_searched_rates(study, monkeypatch) -> None:
    """Of three seeds, one whose SGD run diverged counts for Adam, and one in which both did is not counted."""
    losses = {("sgd", 0): 2.0, ("adam", 0): 1.0, ("sgd", 1): math.inf, ("adam", 1): 1.0}
    monkeypatch.setattr(runs_searched, "best_rate", lambda *asked: 0.1)
    monkeypatch.setattr(
        runs_searched, "searched_run", lambda study, name, arm, model, seed, *rest: (arm, seed)
    )
    monkeypatch.setattr(runs_searched, "late_loss", lambda run: losses.get(run, math.inf))
    ratios, said = runs_searched.searched_gap(study, "S3", runs.model_of(), 10, (0, 1, 2))
    assert ratios[:2] == [2.0, math.inf]
    assert math.isnan(ratios[2])
    assert "0.1/0.1, falling to 0" in said
    assert (rows._won(ratios).value, rows._won(ratios).n) == (1.0, 2)
    assert rows.middle([1.0, 0.0, math.inf, math.nan]).value == 1.0


def test_rates_fall_to_zero_and_the_loss_is_that_of_late_checkpoints(study) -> None:
    model = runs.model_of(1)
    run = runs_searched.searched_run(study, "S1", "adam", model, 0, 100, 0.02)
    assert (run.config.train.decay, run.config.train.final_lr) == ("cosine", 0)
    each = [runs.final_loss(run), runs_searched.late_loss(run)]
    assert each[0] < each[1] < runs.label_variance(run), "steps 0, 50 and 100: the middle one"
    deeper = runs.model_of(2)
    lost = runs_searched.searched_run(study, "S1", "sign", deeper, 0, 30, 1e6)
    assert lost.folder.diverged is not None
    assert runs_searched.late_loss(lost) == math.inf


def test_rows_that_quick_leaves_to_cpu_say_what_they_need(study) -> None:
    found = [*rows.depth(study), *rows.softmax(study), *rows.features(study)]
    assert {row.id for row in found} == {
        "depth-gap", "softmax-gap", "softmax-smoothness", "softmax-l0-l1", "mlp-gap", "mlp-condition"
    }  # fmt: skip
    assert all(row.verdict == "not testable at this scale" and "scale cpu" in row.note for row in found)
