"""What results show: pictures drawn from their tables, every label inert, and docstrings whose examples run."""

from __future__ import annotations

import doctest
import importlib
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
import torch

from interp.analysis.result import Result
from interp.config.run import configure
from interp.pictures.attention import AttentionView
from interp.pictures.charts import CHARTS
from interp.run import Run, load
from interp.runs.steps import step_numbers
from tasks.errors import UserError

SMALL = {
    "train.steps": 8,
    "train.batch": 8,
    "train.eval_batch": 8,
    "train.schedule.log": 0,
    "train.schedule.every": 4,
    "model.n_layers": 1,
    "model.n_heads": 2,
    "model.d_model": 8,
}
EXAMPLES = (
    "interp.run",
    "interp.run.measuring",
    "interp.run.emergence",
    "interp.run.heads",
    "interp.run.readouts",
    "interp.run.causes",
    "interp.runs.checkpoints",
    "interp.analysis.result",
    "interp.pictures.svg",
    "interp.studies.ledger",
)
HOSTILE = "</text><script>alert(1)</script>&\"'"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """A tiny run where the docstrings look for the demo run."""
    root = tmp_path_factory.mktemp("results")
    Run.train(configure("retrieval", changes=SMALL), root / "runs/demo/retrieval")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield load("runs/demo/retrieval")


def _examples() -> list:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in EXAMPLES for test in finder.find(importlib.import_module(name))]
    return [pytest.param(test, id=test.name) for test in found if test.examples]


@pytest.mark.parametrize("example", _examples())
def test_the_examples_in_docstrings_run(example, run) -> None:
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    assert runner.run(example, out=said.append).failed == 0, "".join(said)


def test_every_question_put_to_a_run_has_an_example() -> None:
    asked = [
        "scores",
        "heads",
        "probe",
        "emergence",
        "patch",
        "circuit",
        "measure",
        "analyses",
        "show_attention",
        "metrics",
        "model",
    ]
    assert [name for name in asked if ">>>" not in (getattr(Run, name).__doc__ or "")] == []


def _drawn(result: Result) -> ElementTree.Element:
    shown = result._repr_html_()
    assert "<table" in shown
    assert len(shown) < 200_000
    assert not re.search(r"(src|href)=|url\(|<script", shown)
    (svg,) = re.findall(r"<svg.*?</svg>", shown, flags=re.S)
    return ElementTree.fromstring(svg)


def _words(svg: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in svg.iter() if element.tag.endswith("text")]


@pytest.mark.parametrize("ask", ["scores", "heads", "probe"])
def test_a_result_shows_table_and_picture_and_is_text_in_a_terminal(ask, run) -> None:
    result = getattr(run, ask)()
    assert _words(_drawn(result))[0]
    assert "<" not in repr(result).replace("<NA>", "")
    assert repr(result).startswith("\n".join([*map(str, result.conclusion), result.caption]))


def test_a_patch_without_a_behaviour_has_no_picture_and_says_why(run) -> None:
    result = run.patch()
    assert result.picture() is None
    assert result.table["value"].isna().all()
    assert result.table["note"].str.startswith("no behaviour to restore").all()


def test_cells_hold_the_numbers_of_the_table(run) -> None:
    result = run.heads()
    words = _words(_drawn(result))
    last = result.table[(result.table["step"] == 8) & (result.table["control"] == "none")]
    first = words.index("L0H0") + 1
    expected = last[last["head"] == 0]["value"].map("{:.2f}".format).tolist()
    assert words[first : first + len(expected)] == expected
    assert words[0] == "attention at step 8"


def test_a_curve_goes_through_its_points() -> None:
    rows = {
        "step": [0, 50, 100],
        "position": "x",
        "metric": "loss",
        "control": "none",
        "value": [1.0, 0.5, 0.0],
    }
    svg = ElementTree.fromstring(CHARTS["scores"](pd.DataFrame({**rows, "ci_low": 0.0, "ci_high": 1.0})).svg)
    (line,) = [e for e in svg.iter() if e.tag.endswith("polyline") and e.find("{*}title") is not None]
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert points[1] == pytest.approx(
        [(a + b) / 2 for a, b in zip(points[0], points[2], strict=True)], abs=0.1
    )
    assert points[0][1] < points[2][1], "larger values stand higher"


def test_chance_levels_that_differ_are_not_averaged(run) -> None:
    levels = run.scores("last").table.query("control == 'chance'")
    split = levels.assign(value=[0.1, 0.1, 0.4])
    table = pd.concat([run.scores("last").table.query("control != 'chance'"), split])
    assert _words(_drawn(Result("scores", table, ""))).count("chance") == 3
    same = table.assign(value=table["value"].mask(table["control"] == "chance", 0.2))
    assert _words(_drawn(Result("scores", same, ""))).count("chance") == 1


def test_an_onset_without_upper_bound_is_drawn_to_the_end() -> None:
    row = {"subject": "L0H0", "metric": "a -> b", "last": 100}
    table = pd.DataFrame(
        [
            {**row, "step": 40.0, "ci_low": 30.0, "ci_high": 50.0},
            {**row, "step": 60.0, "ci_low": 50.0, "ci_high": None},
            {**row, "step": None, "ci_low": None, "ci_high": None},
        ]
    )
    svg = ElementTree.fromstring(CHARTS["emergence"](table).svg)
    dashed = [e for e in svg.iter() if "stroke-dasharray" in e.attrib]
    assert len(dashed) == 1
    assert len([e for e in svg.iter() if e.tag.endswith("circle")]) == 2


def test_where_there_is_nothing_to_draw_the_table_stands_alone(run) -> None:
    row = {
        "step": 8,
        "metric": "edge",
        "control": "none",
        "sender": "",
        "receiver": "",
        "value": float("nan"),
    }
    result = Result("circuit", pd.DataFrame([{**row, "note": "no behaviour to explain"}]), "Edges.")
    assert result.picture() is None
    assert "no behaviour to explain" in result._repr_html_()
    assert Result("emergence", pd.DataFrame({"step": [None], "last": [8]}), "").picture() is None
    assert Result("a table of its own", pd.DataFrame({"value": [1.0]}), "").picture() is None


def test_the_circuit_is_drawn_with_its_strongest_edges_and_what_it_carries() -> None:
    rows = [("embed", "L0H1.v", 0.2), ("embed", "L0H1.k", 0.6), ("L0H1", "output", 0.3)]
    edges = [
        {"metric": "edge", "control": "none", "sender": s, "receiver": r, "value": v} for s, r, v in rows
    ]
    judged = [
        {"metric": "faithfulness", "control": "none", "value": 0.9},
        {"metric": "faithfulness", "control": "random", "value": 0.25},
    ]
    svg = ElementTree.fromstring(CHARTS["circuit"](pd.DataFrame(edges + judged).assign(step=8)).svg)
    said = [e.text for e in svg.iter() if e.tag.endswith("title")]
    assert "embed to L0H1: 0.6" in said
    assert (
        said[0] == "circuit at step 8: 3 edges, faithfulness 0.90 (random circuits of its size: at most 0.25)"
    )
    assert {"embed", "L0H1", "output"} <= set(_words(svg))


def test_no_label_becomes_markup() -> None:
    row = {"step": 1, "layer": 0, "head": 0, "metric": HOSTILE, "control": "none", "value": 0.5}
    shown = Result("heads", pd.DataFrame([row]), HOSTILE)._repr_html_()
    assert "<script" not in shown
    page = AttentionView(HOSTILE, (HOSTILE,), torch.ones(1, 1, 1), (HOSTILE,))
    assert page.page().count("</script>") == 2, "the library's and the call's own end"
    assert "<script>alert" not in page.page()
    assert "<script" not in page._repr_html_()


def test_attention_is_that_of_the_model(run) -> None:
    view = run.show_attention(layer=0, step=4, prompt=2)
    model, batch = run.model(4), run.task.sample(run.config.data_seed, "report", 2, 1)
    cache = model.run_with_cache(batch.inputs)[1]
    assert view.pattern.equal(cache["blocks.0.attn.hook_pattern"][0])
    assert view.tokens == tuple(run.task.labels(batch)[0])
    assert str(round(float(view.pattern[1, -1, 0]), 3)) in view.page()


def test_a_layer_or_step_that_is_not_there_is_one_line(run) -> None:
    with pytest.raises(UserError, match="layer 7: this model has attention patterns in 1 layers"):
        run.show_attention(layer=7)
    with pytest.raises(UserError, match="'all': that is 3 checkpoints; give 'last' or one step number"):
        run.model("all")


@pytest.mark.parametrize("steps", [None, 1.5, [0.5], ["x"], object(), "0,x", ""])
def test_steps_that_are_none_are_one_line(steps) -> None:
    with pytest.raises(UserError, match="give 'all', 'last', a step number, or several"):
        step_numbers(steps)


def test_steps_in_every_form() -> None:
    forms = ["4,0", [0, 4], (4, 0, 4), range(0, 5, 4), pd.Index([0, 4]), iter([4, 0])]
    assert {step_numbers(form) for form in forms} == {(0, 4)}
    with pytest.raises(UserError, match="no step was asked for"):
        step_numbers([])
