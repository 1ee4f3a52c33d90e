"""`interp watch`: a look at runs in every state, and the end when there is nothing more to come."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from interp.analysis.conclusion import Sentence
from interp.cli import live
from interp.cli import run as command
from interp.config.run import configure
from interp.run import Run
from interp.runs.folder import RunFolder
from interp.train import Diverged, train

SMALL = (
    *(
        "train.steps=8",
        "train.batch=8",
        "train.eval_batch=8",
        "train.schedule.log=0",
        "train.schedule.every=4",
    ),
    *("model.n_layers=1", "model.n_heads=2", "model.d_model=8", "train.save_every=4"),
)


def test_a_finished_run_is_looked_at_once_and_left(tmp_path, capsys) -> None:
    train(configure("retrieval", overrides=SMALL), tmp_path / "r")
    assert command(["watch", str(tmp_path / "r")]) == 0
    said = capsys.readouterr().out
    assert "r: step 8 of 8, finished" in said
    lines = [line.split() for line in said.splitlines()]
    assert [line[0] for line in lines if line and line[0].isdecimal()] == ["0", "4", "8"]
    assert max(map(len, said.splitlines())) <= 100


def test_what_has_emerged_stands_above_the_tables(tmp_path, capsys, monkeypatch) -> None:
    train(configure("retrieval", overrides=SMALL), tmp_path / "r")
    found = SimpleNamespace(conclusion=(Sentence("Hop 1 emerges at step 4.", {"step": 4.0}),))
    monkeypatch.setattr(Run, "emergence", lambda self: found)
    assert command(["watch", str(tmp_path / "r"), "--once"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "Hop 1 emerges at step 4."


def test_a_run_without_a_checkpoint(tmp_path, capsys) -> None:
    RunFolder.create(tmp_path / "r", configure("retrieval", overrides=SMALL))
    assert command(["watch", str(tmp_path / "r"), "--once"]) == 0
    assert "no checkpoint yet" in capsys.readouterr().out


def test_a_run_under_training_is_watched_to_its_end(tmp_path, capsys) -> None:
    config = configure("retrieval", overrides=SMALL)
    RunFolder.create(tmp_path / "r", config)
    training = threading.Timer(0.5, train, (config, tmp_path / "r"))
    training.start()
    assert command(["watch", str(tmp_path / "r"), "--every", "0.1"]) == 0
    training.join()
    assert "step 8 of 8, finished" in capsys.readouterr().out


def test_in_a_pipe_every_change_is_printed_once_and_at_once(tmp_path, capsys, monkeypatch) -> None:
    config, shown = configure("retrieval", overrides=SMALL), []
    RunFolder.create(tmp_path / "r", config)

    def wait(seconds: float) -> None:
        shown.append(capsys.readouterr().out)
        if len(shown) == 2:
            train(config, tmp_path / "r")

    monkeypatch.setattr(live.time, "sleep", wait)
    assert command(["watch", str(tmp_path / "r")]) == 0
    assert shown == ["r: step 0 of 8, no checkpoint yet\n", ""]
    assert capsys.readouterr().out.splitlines()[0] == "r: step 8 of 8, finished"


def test_a_diverged_run_says_so(tmp_path, capsys) -> None:
    config = configure("retrieval", overrides=[*SMALL, "train.max_loss=0.01"])
    with pytest.raises(Diverged):
        train(config, tmp_path / "r")
    assert command(["watch", str(tmp_path / "r")]) == 0
    assert "diverged at step 0" in capsys.readouterr().out


def test_no_run_is_one_line(tmp_path, capsys) -> None:
    assert command(["watch", str(tmp_path / "nothing"), "--once"]) == 2
    assert "no such folder" in capsys.readouterr().err
    RunFolder.create(tmp_path / "r", configure("retrieval", overrides=SMALL))
    assert command(["watch", str(tmp_path / "r"), "--every", "0"]) == 2
    assert "--every" in capsys.readouterr().err
