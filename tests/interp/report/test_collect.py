"""From real runs to a page: every kind of run has one, and a hostile name stays text."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from interp.causal.over_training import CircuitSearch
from interp.demo import PRESETS, demo
from interp.report import circuit_view
from interp.report.collect import collect, write_report
from interp.report.page import render
from interp.run import Run, load
from tasks.errors import UserError

SMALL = {
    "train.steps": 8, "train.batch": 16, "train.eval_batch": 16, "train.warmup": 0,
    "train.schedule": {"log": 0, "every": 4, "explicit": []},
}  # fmt: skip
ENDS = {"train.schedule": {"log": 0, "every": 8, "explicit": []}}  # the first and the last checkpoint
TINY = {"model.n_layers": 1, "model.n_heads": 2, "model.d_model": 16}


def _run(preset: str, path, **changes) -> Run:
    return Run.train(preset, path, changes={**SMALL, **changes})


@pytest.fixture
def retrieval(nets) -> Path:
    """A run with every table of its page."""
    return nets.reported("tiny-retrieval", "retrieval", {**SMALL, **TINY})


def test_a_retrieval_run(retrieval) -> None:
    report = collect(load(retrieval))
    assert report.steps == (0, 4, 8)
    assert report.heads is not None
    assert {"untrained", "none"} <= set(report.heads["control"])
    assert report.attention[0].pattern.shape == (3, 1, 2, 13, 13)
    assert any(link.relation == "query -> link_3" for link in report.attention[0].links)
    assert "accuracy is at chance on 1,024 held-out prompts" in report.verdict
    assert set(report.answers) == {
        "Which circuit does it",
        "In which order it emerged",
        "How certain this is",
    }
    told = report.answers["Which circuit does it"]
    assert "are answered not at all" in told
    assert "no head attends with half of its mass or more" in told, "nothing was learned"
    assert "this one run (seed 0)" in report.answers["How certain this is"]
    assert report.sketch is not None
    assert [line.text for line in report.sketch.lines if line.arc is None] == ["hop 1", "hop 2", "hop 3"]
    assert report.patching is not None
    assert set(report.patching["pair"]) == {"swap-hop-1", "swap-hop-2", "swap-hop-3"}
    assert {"patching", "weights", "heads", "scores"} <= {section for section, _, _ in report.made}
    absent = [table for _, _, table in report.made if "*" not in table and not (retrieval / table).exists()]
    assert absent == ["report.html"]  # the page itself, which is not written here
    assert {"seeds", "hashes", "versions"} <= {fact.group for fact in report.facts}


def test_a_circuit_of_too_many_edges_is_told_and_judged_but_not_drawn(
    retrieval, tmp_path, monkeypatch
) -> None:
    shutil.copytree(retrieval, tmp_path / "r", ignore=shutil.ignore_patterns("circuit*", "edges*"))
    run = load(tmp_path / "r")
    edges = [("embed", "L0H1.v"), ("L0H1", "output")]
    kept = [{"metric": "edge", "control": "none", "sender": s, "receiver": r, "value": 0.5} for s, r in edges]
    judged = [
        {"metric": "faithfulness", "control": control, "value": value, "ci_low": value, "ci_high": value}
        for control, value in (("none", 0.9), ("full", 1.0), ("empty", 0.0), ("random", 0.1))
    ]
    monkeypatch.setattr(CircuitSearch, "measure", lambda *_: pd.DataFrame(kept + judged))
    monkeypatch.setattr(circuit_view, "MOST_EDGES", 1)
    report = collect(run)
    assert report.circuit is None
    assert "summarised in the text" in report.missing["circuit"]
    told = report.answers["Which circuit does it"]
    assert "2 edges through 1 head" in told
    assert "faithfulness 0.90 [0.90, 0.90] on held-out prompts" in told
    assert "Circuit and attention agree on 1 of 2 heads" in report.answers["How certain this is"]
    assert report.faithfulness is not None
    page = render([report], ())
    assert 'data-view="faithfulness"' in page
    assert 'data-view="circuit"' not in page


def test_a_regression_run_with_linear_attention(tmp_path) -> None:
    linear = {"model.attention": "linear", "model.layer_norm": "none"}
    report = collect(_run("regression", tmp_path / "r", **TINY, **linear, **ENDS))
    assert report.attention[0].signed
    assert report.attention[0].causal
    assert "mse" in report.lower_is_better
    assert "of the label variance" in report.verdict
    assert report.algorithms is not None
    assert report.filters is not None
    assert report.filters["value"].isna().all(), "no site of an untrained net has a filter"
    assert "no algorithm is identified" in report.answers["Which circuit does it"]


def test_an_lstm_has_a_page_without_heads(tmp_path) -> None:
    model = {"kind": "lstm", "n_layers": 1, "d_model": 16}
    run = _run("regression", tmp_path / "r", model=model, **ENDS)
    report = collect(run)
    assert report.heads is None
    assert not report.attention
    assert "no attention heads" in report.missing["attention"]
    text = write_report([run], tmp_path / "page.html").read_text("utf-8")
    assert 'data-view="scores"' in text
    assert 'id="library-' not in text, "nothing is drawn by it"


def test_a_hostile_name_stays_text(retrieval, tmp_path) -> None:
    run = shutil.copytree(retrieval, tmp_path / "<img src=x onerror=alert(1)>")
    page = write_report([load(run)], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path) -> None:
    run = _run("retrieval", tmp_path / "r", **TINY)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file/page\.html: cannot be written"):
        write_report([run], tmp_path / "file" / "page.html")
    assert not (tmp_path / "r" / "analysis").exists()


def test_the_demo_says_what_it_does(tmp_path, monkeypatch) -> None:
    said: list[str] = []
    sizes = ["model.n_layers=1", "model.n_heads=2", "model.d_model=16"]
    small = [
        "train.steps=8",
        "train.batch=16",
        "train.eval_batch=16",
        "train.warmup=0",
        "train.schedule.log=0",
        "train.schedule.every=8",
    ]
    page = demo(tmp_path / "demo", said.append, [*sizes, *small])
    assert page == tmp_path / "demo" / "report.html"
    assert [line[:3] for line in said if line[0].isdigit()] == ["1/3", "2/3", "3/3"]
    assert sum(": trained (" in line for line in said) == len(PRESETS)
    again: list[str] = []

    def threads(count: int, _: object, begin, given) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(count, initializer=begin, initargs=given)

    monkeypatch.setattr(
        "interp.demo.ProcessPoolExecutor", threads
    )  # all is there: this start is what it costs
    assert demo(tmp_path / "demo", again.append, [*sizes, *small]) == page
    assert sum(": trained (" in line for line in again) == len(PRESETS)
