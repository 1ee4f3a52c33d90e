"""Cached tables at a terminal: the same as the long way gives, without torch, and nothing where anything is amiss."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp.analysis.cached import KEYS, cached, usual_keys
from interp.analysis.nameable import NAME, reachable, read
from interp.analysis.registry import entry
from interp.cli import run as cli
from interp.config.run import configure
from interp.io.tensors import pack, tensor_hash, unpack
from interp.io.whole import array_hash, whole
from interp.runs.folder import RunFolder
from interp.runs.stored import StoredRun, stated

GOLDEN = Path(__file__).parents[2] / "golden/v0.2/retrieval"
HEAVY = {"torch", "transformer_lens", "scipy", "plotly", "transformers", "interp.run", "_pytest"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """A run whose heads were looked at once, the long way."""
    folder = Path(shutil.copytree(GOLDEN, tmp_path_factory.mktemp("kept") / "retrieval"))
    interp.load(folder).heads()
    return folder


@pytest.fixture
def run(kept, tmp_path) -> Path:
    return Path(shutil.copytree(kept, tmp_path / "retrieval"))


def test_the_keys_are_those_of_the_classes():
    assert usual_keys() == KEYS, "keep new ones: python -m interp.analysis.cached"


def test_no_analysis_at_hand_needs_what_only_the_long_way_knows():
    """A caption with settings in it, a pairing of checkpoints, or a form that depends on the run's settings."""
    from interp.analysis.base import Analysis
    from interp.analysis.prompted import Prompted

    for name in KEYS:
        kind = entry(name).load()
        assert "{" not in entry(name).caption
        assert not kind.paired
        assert kind.of in (Analysis.of, Prompted.of)  # of large models, which nothing is at hand of


@pytest.mark.parametrize("steps", ["all", "last", "0,60"])
def test_it_is_what_the_long_way_gives(run, steps):
    for name in ("scores", "heads"):
        short = cached(run, name, steps)
        long = getattr(interp.load(run), name)(steps)
        assert short is not None
        assert (short.name, short.caption, short.conclusion) == (long.name, long.caption, long.conclusion)
        pd.testing.assert_frame_equal(pd.DataFrame(short.table), pd.DataFrame(long.table))


def test_at_a_terminal_neither_torch_nor_scipy_is_loaded(run):
    asked = [
        ["scores", run],
        ["heads", run],
        ["heads", run, "--layers", "--json"],
        ["runs", run.parent],
        ["runs", run],
    ]
    code = f"""
import contextlib, io, json, sys
from interp.cli import run
said = []
for words in {[[str(word) for word in words] for words in asked]}:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert run(words) == 0
    said.append(out.getvalue())
print(json.dumps([said, sorted(sys.modules)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, modules = json.loads(done.stdout.splitlines()[-1])
    assert sorted(HEAVY & set(modules)) == []
    assert "retrieval" in said[3]
    assert "finished" in said[4]
    assert all(said)


def test_both_ways_print_the_same(run, capsys):
    for command in ("scores", "heads"):
        said = []
        for option in ([], ["--threads", "1"]):  # asked so, models may run
            assert cli([command, str(run), *option]) == 0
            said.append(capsys.readouterr().out)
        assert said[0] == said[1]


def test_heads_are_named_by_what_reaches_an_output_or_not_at_hand(run):
    file = run / "analysis" / NAME
    known = read(file.parent, RunFolder.open(run).config_hash)
    assert known is not None
    assert not all(all(layers) for layers in known.values()), "the last layer's rows that are not read"
    table = pd.DataFrame({"metric": [*known], "layer": 1, "control": "none"})
    assert set(reachable(table, known)["metric"]) == {name for name, layers in known.items() if layers[1]}
    assert read(file.parent, "another run") is None
    _flip(file, 40)
    assert cached(run, "heads") is None
    assert interp.load(run).heads().conclusion
    assert cached(run, "heads") is not None, "it was found out anew"


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "file",
    ["config.json", "metrics.jsonl", "checkpoints/00000030.safetensors", "analysis/scores.parquet",
     "resume/state.safetensors"],
)  # fmt: skip
def test_nothing_is_vouched_for_where_a_byte_is_wrong(run, file):
    assert cached(run, "scores") is not None
    path = run / file
    early = file.startswith(
        ("resume", "analysis")
    )  # the state's facts; values, not what Parquet adds about them
    _flip(path, 100 if early else path.stat().st_size // 2)
    assert cached(run, "scores") is None


def test_nor_without_a_checkpoint_a_table_or_with_code_from_outside(run, monkeypatch):
    assert cached(run, "chain") is None
    assert cached(run, "nonsense") is None
    assert cached(run, "scores", "7") is None
    monkeypatch.setenv("ALGOSCOPE_TASKS", "mine")
    assert cached(run, "scores") is None
    monkeypatch.delenv("ALGOSCOPE_TASKS")
    (run / "checkpoints/00000030.safetensors").unlink()
    assert cached(run, "scores") is None


def test_nor_of_a_run_with_interventions_a_newer_one_or_another_analysis_in_its_place(run, tmp_path):
    clamps = [{"role": "ablate", "layer": 0, "head": 0, "kind": "ablate"}]
    body = json.loads((run / "config.json").read_text())
    for changed in ({"settings": {**body["settings"], "train": {**body["settings"]["train"], "clamps": clamps}}},
                    {"version": "99.0"}):  # fmt: skip
        assert stated(_written(tmp_path / "other", {**body, **changed})) is None or (
            cached(tmp_path / "other", "scores") is None
        )
    (run / "analysis/heads.parquet").write_bytes((run / "analysis/scores.parquet").read_bytes())
    assert cached(run, "heads") is None


def _written(folder: Path, body: dict) -> Path:
    from interp.io.files import canonical, sha256

    folder.mkdir(exist_ok=True)
    body = {**{k: v for k, v in body.items() if k != "checksum"}, "hash": sha256(canonical(body["settings"]))}
    body["checksum"] = sha256(canonical(body))
    (folder / "config.json").write_text(json.dumps(body, indent=2, sort_keys=True) + "\n")
    return folder


TENSORS = {
    "b": torch.arange(6.0).view(2, 3),
    "a": torch.tensor([True]),
    "c": torch.zeros(0, 2),
    "d": torch.tensor(1.5).double(),
    "e": torch.arange(3),
    "f": torch.arange(3, dtype=torch.uint8),
    "g": torch.ones(2, dtype=torch.float16),
}


def test_a_whole_file_is_whole_either_way(tmp_path):
    path, facts = tmp_path / "x.safetensors", {"format": "x", "step": 3}
    path.write_bytes(pack(TENSORS, facts))
    found = whole(path, facts)
    assert found is not None
    assert found == unpack(path, facts)[1]
    assert array_hash({name: np.asarray(value) for name, value in TENSORS.items()}) == tensor_hash(TENSORS)
    assert whole(path, {**facts, "step": 4}) is None
    size = path.stat().st_size
    for place in (4, 30, size // 2, size - 1):
        _flip(path, place)
        assert whole(path, facts) is None
        _flip(path, place)
    path.write_bytes(pack({"h": torch.ones(2, dtype=torch.bfloat16)}, facts))
    assert whole(path, facts) is None, "of a type that is not known"
    assert unpack(path, facts)[1]["step"] == 3


def test_a_stored_run_is_the_run(run, tmp_path):
    head = stated(run)
    assert head is not None
    stored, opened = StoredRun(run, head), RunFolder.open(run)
    for name in ("config_hash", "schedule", "steps", "last_step", "finished", "weightless", "lost_resume", "diverged",
                 "recorded", "thinned", "identity", "stated_weights"):  # fmt: skip
        assert getattr(stored, name) == getattr(opened, name), name
    other = RunFolder.create(tmp_path / "new", configure("regression"))
    head = stated(other.path)
    assert head is not None
    assert StoredRun(other.path, head).schedule == other.schedule
    assert stated(tmp_path) is None
