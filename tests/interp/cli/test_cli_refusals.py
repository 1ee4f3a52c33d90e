"""Bad input at the command line: one line that names culprit and remedy, exit code 2, nothing measured or written."""

from __future__ import annotations

import shutil

import pytest

from interp.cli import run as cli


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["probe", "--layers", "9"], "no layer '9': known are embed, 0"),
        (["probe", "--layers", "0,embd"], "layer 'embd'"),
        (["probe", "--output", "hop 9"], "no output position 'hop 9': known are hop 1, hop 2, hop 3"),
        (["probe", "--targets", "w"], "targets of regression runs"),
        (["probe", "--ridge", "-1"], "greater than 0"),
        (["probe", "--normalised"], "leave normalised and per_position out"),
        (["probe", "--shift", "x_scale"], "--shift 'x_scale': write it as key=value, such as x_scale=2"),
        (["heads", "--view", "chain", "--layers"], "--layers goes with"),
        (["heads", "--out", "/proc/nowhere/t.parquet"], "cannot be written"),
        (["emergence", "--out", "/proc/nowhere/t.parquet"], "cannot be written"),
        (["circuit", "--out", "/proc/nowhere/c.json"], "cannot be written"),
        (["circuit", "--resamples", "-1"], "--resamples"),
        (["circuit", "--output", "hop 9"], "no output 'hop 9'"),
        (["patch", "--component", "head_ou"], "did you mean 'head_out'?"),
        (["patch", "--output", "hop 9"], "no output 'hop 9'"),
        (["curvature", "--noise", "5"], "100"),
        (["patch", "--by", "layer,head"], "separate axes by spaces: --by layer head"),
        (["patch", "--prompts", "0"], "--prompts 0: must be 1 or more"),
        (["circuit", "--faithfulness", "2"], "--faithfulness 2: must lie between 0 and 1"),
        (["circuit", "--truth", "nowhere.txt"], "nowhere.txt: no such file"),
        (["patch", "--out", "/proc/nowhere/t.parquet"], "cannot be written"),
        (["probe", "--out", "nodir/sub/t.parquet"], "there is no folder nodir; make it"),
        (["report", "--out", "nodir/sub/page.html"], "there is no folder nodir; make it"),
        (["heads", "other"], "heads takes one run: other is one too many"),
        (["measure", "ablation", "other"], "measure takes one each of run and name: other is one too many"),
        (["scores", "--by", "hops"], "this task has no groups"),
        (["check"], "not adopted: there is nothing to check"),
    ],
    ids=" ".join,
)
def test_what_a_run_has_not_is_refused_before_anything_is_measured(
    folder, arguments, told, capsys, tmp_path
) -> None:
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("analysis"))
    command, *options = arguments
    assert cli([command, str(tmp_path / "run"), *options]) == 2
    assert told in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("analysis/*")), "no table was kept"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "nosuch"],
        ["train", "retrieval", "--set", "foo=1"],
        ["train", "retrieval", "--set", "train.lr=fast"],
        ["train", "retrieval", "--set", "model.n_layers=-1"],
        ["train", "retrieval", "--set", "model.n_layers=1000000"],
        ["train", "retrieval", "--steps", "many"],
        ["train"],
        ["train", "retrieval", "--device", "abacus"],
        ["heads", "no/such/run"],
        ["train", "retrieval", "--out", "a" * 300],
        ["sweep", "retrieval", "--seeds", "0:0"],
        ["sweep", "retrieval", "--grid", "train.lr=1e-3,2e-3"],
        ["sweep", "retrieval", "--seeds", "5:2"],
        ["frobnicate"],
        ["report"],
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert said.err.startswith("interp: ")
    assert list(tmp_path.iterdir()) == [], "nothing half written"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "empty.toml"], "a whole example: "),
        (["train", "retrieval", "--threads", "0"], "train.threads: must be 1 or more (got 0)"),
        (["sweep", "retrieval", "--grid", "train.lr=1e-3"], "must be a list: write train.lr=[1e-3]"),
        (["sweep", "retrieval", "--workers", "0"], "--workers 0: must be 1 or more"),
        (["adopt", "nowhere", "--task", "induction", "--out", "x"], "nowhere: no such folder"),
        (["adopt", "mine:build", "--task", "induction", "--out", "x"], "--set vocabulary=VALUE"),
        (["heads", "below"], "below: holds no run (no config.json); did you mean below/markov?"),
    ],
    ids=" ".join,
)
def test_the_line_names_the_remedy(arguments, told, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.toml").write_text("")
    (tmp_path / "below/markov").mkdir(parents=True)
    (tmp_path / "below/markov/config.json").write_text("{}")
    assert cli(arguments) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("metrics.jsonl", "metrics.jsonl: is missing; restore it from a copy"),
        ("checkpoints", "its checkpoints are gone: restore {run}/checkpoints from a copy"),
    ],
)
def test_what_a_run_has_lost_is_told_with_the_remedy(folder, gone, told, capsys, tmp_path) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder, run, ignore=shutil.ignore_patterns("analysis"))
    (run / gone).rename(tmp_path / "elsewhere")
    commands = [["scores", str(run)]]
    if gone == "checkpoints":
        commands.append(["export", str(run), "--out", str(tmp_path / "out")])
    for words in commands:
        assert cli(words) == 2
        assert told.format(run=run) in capsys.readouterr().err
    assert cli(["verify", str(run)]) == 1
    assert "restore it from a copy" in " ".join(capsys.readouterr().out.split())
