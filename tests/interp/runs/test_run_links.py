"""A language model's files may move: the run is told where they are, and they are proven by their hashes."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import save_file

import interp
from interp.cli import run as cli
from interp.importers.hf import import_hf
from interp.io.weight_files import WeightFiles
from interp.runs.links import linked_files, relink_files
from interp.runs.verify import verify
from interp.studies.retrieval_prompts.runs import save
from interp.studies.retrieval_prompts.runs_texts import SmallModel
from interp.studies.retrieval_prompts.runs_weights import build_small, tokenizer_of
from tasks import UserError


def test_files_that_moved_are_found_again(tmp_path, capsys):
    small = SmallModel(family="gpt2", layers=1, heads=2, width=8, keep=(0,), seed=0)
    save(build_small(small).eval(), tokenizer_of(), tmp_path / "here")
    save(build_small(small.model_copy(update={"seed": 1})).eval(), tokenizer_of(), tmp_path / "other")
    run = interp.load(import_hf(str(tmp_path / "here"), tmp_path / "run", hops=2, chains=2).path)
    before = run.scores().table
    shutil.move(tmp_path / "here", tmp_path / "there")
    with pytest.raises(UserError, match="no such folder"):
        interp.load(run.path).model()
    assert cli(["relink", str(run.path), "--to", str(tmp_path / "other")]) == 2
    assert "altered since the import" in capsys.readouterr().err
    assert cli(["relink", str(run.path), "--to", str(tmp_path / "there")]) == 0
    assert verify(run.path).ok
    interp.load(run.path).model()
    assert interp.load(run.path).scores().table.equals(before)


def test_weight_files_that_moved_are_found_again(tmp_path):
    run, here, there = tmp_path / "run", tmp_path / "here" / "a", tmp_path / "there" / "a"
    here.mkdir(parents=True)
    run.mkdir()
    for name in ("one", "two"):
        save_file({"w": torch.full((2,), len(name) * 1.0)}, here / f"{name}.safetensors")
    files = WeightFiles.of(sorted(here.iterdir()))
    with pytest.raises(UserError, match=r"no folder; give the one"):
        relink_files(run, [files], str(tmp_path / "nowhere"))
    files.check(run)  # its bytes are hashed
    shutil.copytree(here.parent, there.parent, copy_function=shutil.copyfile)  # other times of change
    shutil.rmtree(here)
    with pytest.raises(UserError, match="interp relink RUN --to FOLDER"):
        linked_files(run, files).check(run)
    relink_files(run, [files], str(there.parent))
    moved = linked_files(run, files)
    moved.check(run, again=True)
    assert set(moved.read()) == {"w"}
    (there / "two.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="altered since it was adopted"):
        linked_files(run, files).check(run)
    with pytest.raises(UserError, match=r"two\.safetensors: is not the file that was adopted as"):
        relink_files(run, [files], str(there))
    (there / "two.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no two\.safetensors"):
        relink_files(run, [files], str(there))


def test_files_never_read_are_known_by_size_and_time(tmp_path):
    run, here, there = tmp_path / "run", tmp_path / "here", tmp_path / "there"
    here.mkdir()
    run.mkdir()
    save_file({"w": torch.zeros(2)}, here / "w.safetensors")
    files = WeightFiles.of([here / "w.safetensors"])
    shutil.copytree(here, tmp_path / "touched", copy_function=shutil.copyfile)
    here.rename(there)
    with pytest.raises(UserError, match="is not the file"):
        relink_files(run, [files], str(tmp_path / "touched"))
    relink_files(run, [files], str(there))
    linked_files(run, files).check(run)
