"""Training on as a new run, fewer checkpoints, and models whose files moved; the settings file as a configuration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import interp
from interp.cli import run as cli
from interp.config.run import configure
from interp.runs.fewer import thin
from interp.runs.verify import verify
from interp.train.onward import train_on
from tasks import UserError
from tests.interp.runs.test_run_names import SMALL


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "r"
    interp.Run.train("retrieval", folder, changes=SMALL)
    return folder


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "r"))


def test_trained_on_is_what_a_longer_run_is(folder, tmp_path):
    parent = interp.load(folder)
    child = interp.Run(train_on(parent.folder, tmp_path / "child", step=4, steps=3))
    longer = interp.Run.train("retrieval", tmp_path / "longer", changes=SMALL | {"train.steps": 7})
    ours, theirs = child.model().state_dict(), longer.model().state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    start = child.model(0).state_dict()
    assert all(torch.equal(start[name], value) for name, value in parent.model(4).state_dict().items())
    assert child.config.parent is not None
    assert (child.config.parent.run, child.config.parent.step) == (parent.identity, 4)
    assert child.config.parent.batches == 4
    assert child.identity not in (parent.identity, longer.identity)
    assert verify(child.path).ok
    grandchild = train_on(child.folder, tmp_path / "grandchild", step=3, steps=1)
    assert grandchild.config.parent is not None
    assert grandchild.config.parent.batches == 7


def test_a_child_that_was_broken_off_ends_as_the_whole_one(folder, tmp_path):
    parent = interp.load(folder).folder

    class Stop(Exception):
        pass

    def stop(step: int, loss: float) -> None:
        if step == 1:
            raise Stop

    with pytest.raises(Stop):
        train_on(parent, tmp_path / "broken", step=4, steps=3, progress=stop)
    assert cli(["resume", str(tmp_path / "broken")]) == 0
    train_on(parent, tmp_path / "whole", step=4, steps=3)
    for name in ("metrics.jsonl", "checkpoints/00000003.safetensors", "resume/state.safetensors"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_on_from_an_earlier_checkpoint_under_other_settings(folder, tmp_path, capsys):
    out = tmp_path / "child"
    words = [
        "extend",
        str(folder),
        "--start",
        "2",
        "--steps",
        "2",
        "--out",
        str(out),
        "--set",
        "train.lr=0.01",
    ]
    assert cli(words) == 0
    child = interp.load(out)
    assert child.config.train.lr == 0.01
    assert child.weights_hash(0) == interp.load(folder).weights_hash(2)
    wider = [*words[:-3], str(tmp_path / "wider"), "--set", "model.d_model=16"]
    assert cli(wider) == 2
    assert "not as in this model" in capsys.readouterr().err


def test_a_run_without_a_parent_is_hashed_without_a_word_of_it(folder):
    assert "parent" not in interp.load(folder).config.settings


def test_thinned_checkpoints_are_no_damage_and_their_rows_stay(folder):
    run = interp.load(folder)
    before = run.scores().table
    with pytest.raises(UserError, match="multiples of a number from 1 on"):
        thin(run.folder, keep=(), every=-2)
    assert thin(run.folder, keep=()) == 1
    assert run.steps == (0, 4)
    assert verify(folder).ok
    assert interp.load(folder).scores(steps="last").table["value"].notna().any()
    assert set(interp.load(folder).heads().table["step"].dropna()) == {0, 4}
    held = interp.load(folder).scores().table
    assert len(held) < len(before)
    assert cli(["train", str(folder / "config.json"), "--out", str(folder)]) == 0
    assert not run.folder.checkpoint_path(2).exists()


def test_the_command_thins_only_where_it_is_told_what_stays(folder, capsys):
    assert cli(["thin", str(folder)]) == 2
    assert "--keep 100,200 or --every 100" in capsys.readouterr().err
    assert interp.load(folder).steps == (0, 2, 4)
    assert cli(["thin", str(folder), "--every", "4"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "removed: steps 2; cached results of these can no longer be shown" in said
    assert interp.load(folder).steps == (0, 4)


def test_a_record_of_thinning_that_was_altered_is_found(folder):
    thin(interp.load(folder).folder, keep=())
    path = folder / "thinned.json"
    body = json.loads(path.read_text())
    body["steps"]["4"] = "0" * 64
    path.write_text(json.dumps(body))
    assert "thinned.json" in str(verify(folder).problem)
    path.unlink()
    assert "00000002" in str(verify(folder).problem)


def test_what_is_not_finished_is_not_thinned(tmp_path):
    recorder = interp.Recorder(tmp_path / "x", {"lr": 0.1}, schedule=[0, 1, 2])
    recorder.record(0, torch.nn.Linear(1, 1), loss=1.0)
    with pytest.raises(UserError, match="not finished"):
        thin(interp.load(tmp_path / "x").folder, keep=())


def test_the_settings_file_of_a_run_is_a_configuration(folder, tmp_path, capsys):
    config = configure(folder / "config.json")
    assert config == interp.load(folder).config
    assert cli(["export", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert configure(tmp_path / "out" / "config.json") == config
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(UserError, match="holds no settings of a run"):
        configure(tmp_path / "other.json")
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbfseed = 3\n[task]\nkind = 'retrieval'\n")
    with pytest.raises(UserError, match="model"):
        configure(tmp_path / "bom.toml")
