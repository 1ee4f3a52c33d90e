"""What an analysis says while it is waited for: to a person at an interpreter or a notebook, and to nobody else."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

import interp
from interp.analysis import progress as waiting
from interp.config.run import configure
from interp.train import train

SMALL = [
    "train.steps=2",
    "train.batch=4",
    "train.eval_batch=4",
    "train.schedule.log=0",
    "train.schedule.every=1",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    size = ["model.n_layers=1", "model.n_heads=1", "model.d_model=4"]
    return interp.Run(
        train(configure("retrieval", overrides=[*SMALL, *size]), tmp_path_factory.mktemp("w") / "r")
    )


ASKED = {"curvature": lambda run: run.curvature(prompts=8, hessian=False), "scores": lambda run: run.scores()}


def fresh(run, name):
    """The analysis without the table that it kept."""
    for table in (run.path / "analysis").glob("*"):
        table.unlink()
    return ASKED[name](run)


@pytest.mark.parametrize("name", ASKED)
def test_a_person_at_an_interpreter_is_told_how_far_it_is(run, name, monkeypatch, capsys):
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fresh(run, name)
    reported = capsys.readouterr().err
    assert f"{name}: checkpoints, 1 of 3" in reported
    assert reported.endswith("\r\x1b[K"), "the line goes when the work is done"


@pytest.mark.parametrize("name", ASKED)
def test_scripts_and_the_impatient_are_told_nothing(run, name, monkeypatch, capsys):
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    fresh(run, name)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(waiting, "PATIENCE", 3600.0)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fresh(run, name)
    assert capsys.readouterr().err == "", "quick work has no line"


def test_a_notebook_s_cell_is_written_over(run, monkeypatch):
    from IPython import display

    said = []
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)
    monkeypatch.setattr(waiting, "_notebook", lambda: SimpleNamespace(kernel=None))
    monkeypatch.setattr(display.DisplayHandle, "display", lambda self, text: said.append(("new", text.data)))
    monkeypatch.setattr(display.DisplayHandle, "update", lambda self, text: said.append(("over", text.data)))
    fresh(run, "scores")
    assert [how for how, _ in said] == ["new", "over", "over", "over"]
    assert said[-1] == ("over", "")
