"""Broken and hostile run folders: one clear line each, and never a number."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from interp.io.tables import Stamp, write_table
from interp.runs.folder import RunFolder
from interp.runs.verify import verify
from interp.train.loop import resume, train
from tasks.errors import UserError
from tests.interp.runs.damage import FILES, assert_found, sound_run, tiny

EXAMPLES = 400 if os.environ.get("ALGOSCOPE_FULL") == "1" else 30


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return sound_run(tmp_path_factory.mktemp("sound") / "run")


@pytest.fixture
def run(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "run"))


def read_everything(path: Path) -> None:
    folder = RunFolder.open(path)
    folder.metrics()
    for step in folder.schedule:
        folder.weights(step)
    folder.resume_state()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_truncated_files(run, name, share):
    file = run / name
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    assert_found(run, file.name)
    with pytest.raises(UserError):
        read_everything(run)


@pytest.mark.parametrize(
    "name", [*FILES, "checkpoints/00000000.safetensors", "checkpoints/00000020.safetensors"]
)
def test_missing_files(run, name):
    (run / name).unlink()
    if name == "config.json":
        with pytest.raises(UserError, match="holds no run"):
            verify(run)
    else:
        assert_found(run, Path(name).name)


@pytest.mark.parametrize("name", FILES)
def test_bytes_added_at_the_end(run, name):
    with open(run / name, "ab") as file:
        file.write(b"x")
    assert_found(run, str(run / name))


@pytest.mark.parametrize("name", FILES)
def test_bit_flips_anywhere_are_found(sound, tmp_path_factory, name):
    path = Path(shutil.copytree(sound, tmp_path_factory.mktemp("flip") / "run"))
    file = path / name
    data = file.read_bytes()

    @budget(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bit=st.integers(0, 8 * len(data) - 1))
    def flip(bit: int) -> None:
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        file.write_bytes(altered)
        assert_found(path, str(file))

    flip()


def test_a_renamed_step(run):
    (run / "checkpoints/00000010.safetensors").replace(run / "checkpoints/00000015.safetensors")
    assert_found(run, "00000010.safetensors: missing")
    shutil.copy(run / "checkpoints/00000015.safetensors", run / "checkpoints/00000010.safetensors")
    problem = assert_found(run, "00000015.safetensors")
    assert "states step 10, should be 15" in problem
    with pytest.raises(UserError, match="states step 10"):
        RunFolder.open(run).weights(15)
    with pytest.raises(UserError, match="states step 10"):
        RunFolder.open(run).weights_hash(15)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_run(run, tmp_path, name):
    other = tmp_path / "other"
    train(tiny(seed=2), other)
    shutil.copy(other / name, run / name)
    culprit = "state.safetensors: states config" if name == "config.json" else name
    assert_found(run, culprit)
    if name != "config.json":
        with pytest.raises(UserError):
            read_everything(run)


def test_a_step_outside_the_schedule(run):
    shutil.copy(run / "checkpoints/00000010.safetensors", run / "checkpoints/00000011.safetensors")
    assert "does not belong" in assert_found(run, "00000011.safetensors")


@pytest.mark.parametrize("with_metadata", [True, False])
def test_an_extra_weight(run, with_metadata):
    file = run / "checkpoints/00000010.safetensors"
    header = json.loads(file.read_bytes()[8 : 8 + int.from_bytes(file.read_bytes()[:8], "little")])
    metadata = header["__metadata__"] if with_metadata else None
    save_file({**load_file(file), "backdoor": torch.zeros(1)}, file, metadata=metadata)
    assert_found(run, str(file))
    with pytest.raises(UserError):
        RunFolder.open(run).weights(10)


def test_an_extra_metadata_key(run):
    file = run / "checkpoints/00000010.safetensors"
    header = json.loads(file.read_bytes()[8 : 8 + int.from_bytes(file.read_bytes()[:8], "little")])
    save_file(load_file(file), file, metadata={**header["__metadata__"], "note": "hello"})
    assert "metadata keys" in assert_found(run, str(file))


def test_altered_weights_under_a_right_hash_of_their_own(run):
    """A checkpoint rewritten consistently still differs from what the metrics say was kept."""
    folder = RunFolder.open(run)
    folder.keep(10, {name: 2 * w for name, w in folder.weights(10).items()})
    assert "metrics" in assert_found(run, "00000010.safetensors")


class _Bomb:
    def __reduce__(self):
        return (os.mkdir, ("pickle-was-run",))


@pytest.mark.parametrize("name", FILES)
def test_a_pickle_in_disguise_is_not_run(run, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (run / name).write_bytes(pickle.dumps({"weights": _Bomb()}))
    assert_found(run, name)
    with pytest.raises(UserError):
        read_everything(run)
    assert not (tmp_path / "pickle-was-run").exists()


def test_metrics_lines_cannot_be_dropped_or_swapped(run):
    file = run / "metrics.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:1] + lines[2:]))
    assert_found(run, "metrics.jsonl")
    file.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    assert "line 1" in assert_found(run, "metrics.jsonl")
    file.write_bytes(b"".join(lines[:-1]))
    assert_found(run, "metrics.jsonl")


def test_a_table_measured_on_other_weights(run):
    folder = RunFolder.open(run)
    hashes = {10: folder.weights_hash(5)}
    stamp = Stamp(analysis="toy", key="k", config=folder.config_hash, checkpoints=hashes, settings={})
    write_table(folder.table_path("toy"), pd.DataFrame({"step": [10]}), stamp)
    assert "weights of step 10" in assert_found(run, "toy.parquet")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_table(run, share):
    file = run / "analysis/toy.parquet"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert_found(run, "toy.parquet")


def test_resuming_from_a_damaged_state_is_refused_and_nothing_is_lost(run):
    state = run / "resume/state.safetensors"
    (run / "checkpoints/00000020.safetensors").unlink()
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join(lines[:-1]))
    state.write_bytes(state.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"state\.safetensors"):
        resume(run)
    assert RunFolder.open(run).steps == (0, 5, 10, 15)


def test_no_run_at_all(tmp_path):
    for call in (verify, RunFolder.open, resume):
        with pytest.raises(UserError, match="holds no run"):
            call(tmp_path)
        with pytest.raises(UserError, match=r"no such folder; interp runs FOLDER lists"):
            call(tmp_path / "nowhere")
    (tmp_path / "retrieval").mkdir()
    with pytest.raises(UserError, match=r"retrival: no such folder: did you mean .*/retrieval\?"):
        RunFolder.open(tmp_path / "retrival")
    with pytest.raises(UserError, match=r"zzz: no such folder; interp runs .* lists what there is"):
        RunFolder.open(tmp_path / "zzz")
