"""Where tables go and what becomes of them where a folder cannot be written or holds no weights; threads restored."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pandas as pd
import pytest
import torch

import interp
from interp.analysis import kept
from interp.cli import run as cli
from interp.cli.asking import taken
from interp.io import files, tables
from interp.runs.verify import verify
from tasks import UserError
from tests.interp.runs.test_run_names import SMALL


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "r"
    interp.Run.train("retrieval", folder, changes=SMALL)
    return folder


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    kept._SAID.clear()
    return Path(shutil.copytree(trained, tmp_path / "r"))


@pytest.fixture
def read_only(folder, monkeypatch) -> Path:
    """A folder that refuses to be written; root may write anywhere, so the refusal is put in."""
    write = files.write_atomically

    def refused(path: Path, data: bytes) -> None:
        if folder in path.parents:
            raise files.cannot_write(path, PermissionError(13, "Permission denied"))
        write(path, data)

    monkeypatch.setattr(tables, "write_atomically", refused)
    return folder


def test_a_folder_that_cannot_be_written_loses_nothing(read_only, tmp_path, recwarn):
    first = interp.load(read_only).scores().table
    assert first["value"].notna().any()
    assert [w for w in recwarn if "not kept" in str(w.message) and "--tables DIR" in str(w.message)]
    assert not (read_only / "analysis").exists() or not list((read_only / "analysis").iterdir())
    run = interp.load(read_only, tables=tmp_path / "elsewhere")
    pd.testing.assert_frame_equal(run.scores().table, first)
    (table,) = (tmp_path / "elsewhere").rglob("*.parquet")
    assert table.name == "scores.parquet"
    assert run.identity.startswith(table.parent.name)
    data = table.read_bytes()
    torch_called = []
    with torch.no_grad():
        run.scores()
    assert table.read_bytes() == data
    assert torch_called == []


@pytest.mark.filterwarnings("default")
def test_one_warning_for_several_tables_of_a_command(read_only, capsys):
    assert cli(["scores", str(read_only), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["rows"]
    assert told.err.count("interp: warning:") == 1
    assert len(told.err.strip().splitlines()) == 1


def test_tables_of_two_runs_in_one_folder_do_not_meet(folder, tmp_path):
    other = interp.Run.train("retrieval", tmp_path / "other", seed=1, changes=SMALL)
    place = tmp_path / "tables"
    for path in (folder, other.path):
        assert cli(["scores", str(path), "--tables", str(place), "--json"]) == 0
    assert len(list(place.rglob("scores.parquet"))) == 2
    assert not (folder / "analysis").exists()


def test_fresh_measures_again_and_once(folder, monkeypatch):
    run = interp.load(folder)
    before = run.scores().table
    path = folder / "analysis" / "scores.parquet"
    found = tables.read_table(path)
    assert found is not None
    tables.write_table(path, found[0].assign(value=7.0), found[1])
    assert set(interp.load(folder).scores().table["value"]) == {7.0}
    fresh = interp.load(folder, fresh=True)
    pd.testing.assert_frame_equal(fresh.scores().table, before)
    tables.write_table(path, found[0].assign(value=7.0), found[1])
    assert set(fresh.scores().table["value"]) == {7.0}, "what this asking measured is not measured again"
    assert cli(["scores", str(folder), "--fresh", "--json"]) == 0
    pd.testing.assert_frame_equal(interp.load(folder).scores().table, before)


def test_fresh_of_one_step_leaves_the_others(folder):
    before = interp.load(folder).scores().table
    interp.load(folder, fresh=True).scores(steps="last")
    pd.testing.assert_frame_equal(interp.load(folder).scores().table, before)


def test_a_copy_without_weights_is_read_and_never_resumed(folder, capsys):
    before = interp.load(folder).scores().table
    for gone in ("checkpoints", "resume"):
        shutil.rmtree(folder / gone)
    copy = interp.load(folder)
    assert copy.steps == (0, 2, 4)
    pd.testing.assert_frame_equal(copy.scores().table, before)
    assert "finished" in repr(copy)
    assert len(copy.metrics()) > 0
    with pytest.raises(UserError, match="copy without its weights"):
        copy.model()
    with pytest.raises(UserError, match=r"heads of step 0 is not among its tables"):
        copy.heads()
    assert cli(["resume", str(folder)]) == 2
    assert not (folder / "checkpoints").exists()
    for command in (["verify"], ["heads"], ["runs"]):
        cli([*command, str(folder)])
        told = capsys.readouterr()
        assert "resume" not in (told.out + told.err).replace("resume/", "")


def test_a_run_whose_resume_state_is_gone_is_not_begun_again(tmp_path):
    changes = SMALL | {"train.steps": 40, "train.save_every": 5, "train.schedule": {"log": 0, "every": 5}}
    folder = tmp_path / "broken"

    class Stop(Exception):
        pass

    def stop(step: int, loss: float) -> None:
        if step == 20:
            raise Stop

    from interp.config.run import configure
    from interp.train import train

    with pytest.raises(Stop):
        train(configure("retrieval", changes=changes), folder, progress=stop)
    shutil.rmtree(folder / "resume")
    there = sorted((folder / "checkpoints").iterdir())
    with pytest.raises(UserError, match="begin again at step 0"):
        train(configure("retrieval", changes=changes), folder)
    assert sorted((folder / "checkpoints").iterdir()) == there


def test_threads_are_restored_and_change_no_table(folder, tmp_path):
    before = torch.get_num_threads()
    one = interp.load(folder, threads=1, tables=tmp_path / "one")
    two = interp.load(folder, threads=2, tables=tmp_path / "two")
    for name in ("scores", "heads", "probe"):
        found = [getattr(run, name)(steps="last").table for run in (one, two)]
        pd.testing.assert_frame_equal(*found, check_exact=True)
        assert torch.get_num_threads() == before
    found = {path.name: path.read_bytes() for path in (tmp_path / "one").rglob("*.parquet")}
    assert found == {path.name: path.read_bytes() for path in (tmp_path / "two").rglob("*.parquet")}
    with pytest.raises(UserError, match="threads"):
        interp.load(folder, threads=0)
    with pytest.raises(UserError, match="not available"):
        interp.load(folder, device="cuda:99")


def test_seven_at_once_in_one_process(folder):
    before, failed = torch.get_num_threads(), []

    def ask() -> None:
        try:
            interp.load(folder).scores()
        except Exception as error:
            failed.append(error)

    workers = [threading.Thread(target=ask) for _ in range(7)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    assert torch.get_num_threads() == before
    assert not list(folder.rglob(f"{files.TEMPORARY}*"))
    assert verify(folder).ok


def test_only_what_dead_writers_left_is_swept(tmp_path):
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    machine, alive = files.writer().rsplit("-", 1)
    names = {
        f"{files.TEMPORARY}x.parquet-{machine}-{alive}-0": True,
        f"{files.TEMPORARY}x.parquet-{machine}-{dead}-3": False,
        f"{files.TEMPORARY}x.parquet-{dead}": False,  # as version 0.1 named them
        f"{files.TEMPORARY}x.parquet-{alive}": True,
        f"{files.TEMPORARY}x.parquet-00000000-{dead}-3": True,  # another machine's
    }
    for name in names:
        (tmp_path / name).touch()
    files.sweep(tmp_path)
    assert {name: (tmp_path / name).exists() for name in names} == names


@pytest.mark.parametrize("words", [["--threads", "x"], ["--threads"], ["--device", "mps:0"], ["--tables"]])
def test_bad_options_are_one_line(words, folder, capsys):
    assert cli(["scores", str(folder), *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_options_are_taken_wherever_they_stand():
    assert taken(["heads", "--tables=t", "r", "--device", "cuda"])[0] == ["heads", "r"]
    assert taken(["heads", "--", "--fresh"]) == (["heads", "--", "--fresh"], {})


def test_rows_of_another_device_are_measured_again(folder):
    here = interp.load(folder)
    here.scores()
    path = folder / "analysis" / "scores.parquet"
    data = path.read_bytes()
    there = interp.load(folder, device="cpu:0")
    there.scores(steps="last")
    found = tables.read_table(path)
    assert found is not None
    assert found[1].devices == {4: "cpu:0"}
    interp.load(folder).scores()
    assert path.read_bytes() == data
    with pytest.warns(
        UserWarning, match="circuit, which runs the model itself, is measured on cpu, and its rows say"
    ):
        there.circuit()
    kept = tables.read_table(folder / "analysis" / "circuit.parquet")
    assert kept is not None
    assert kept[1].devices == {}


def test_mps_is_refused_in_one_line(folder):
    with pytest.raises(UserError, match=r"device 'mps'"):
        interp.load(folder, device="mps")
