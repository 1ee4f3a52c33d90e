"""A language model's files may move: the run is told where they are, and they are proven by their hashes."""

from __future__ import annotations

import shutil

import pytest

import interp
from interp.cli import run as cli
from interp.importers.hf import import_hf
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
