"""Files of runs and sweeps that someone broke: what is read is what was written, anything else is one clear line."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import strategies as st

from interp.runs.folder import RunFolder
from interp.sweep.results import load_sweep
from tests.trust.inputs import Tried, spliced

HEADERS = [
    b"", b"\0" * 8, b"\xff" * 8, b"\xff" * 64, (2**62).to_bytes(8, "little"), (10**9).to_bytes(8, "little") + b"{}",
    (100_000).to_bytes(8, "little") + b"[" * 100_000, (2).to_bytes(8, "little") + b"{}",
]  # fmt: skip


def absurd(data: bytes) -> list[bytes]:
    """The header of a checkpoint with sizes that no memory holds, and offsets that lie."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    name = next(key for key in header if key != "__metadata__")
    made = []
    for change in (
        {"shape": [10**12]}, {"shape": [2**62, 2**62]}, {"shape": [-1]}, {"shape": []}, {"dtype": "F8192"},
        {"data_offsets": [0, 2**63]}, {"data_offsets": [2**63, 0]}, {"data_offsets": [0, 0]}, {"shape": "../../x"},
    ):  # fmt: skip
        text = json.dumps({**header, name: {**header[name], **change}}).encode()
        made.append(len(text).to_bytes(8, "little") + text + data[8 + size :])
    text = json.dumps({**header, "../../../evil": header[name]}).encode()
    return [*made, len(text).to_bytes(8, "little") + text + data[8 + size :]]


def test_checkpoints(run, record_property):
    """A checkpoint that is read has the very tensors that were written."""
    tried, folder = Tried("checkpoints", record_property), RunFolder.open(run)
    file = folder.checkpoint_path(5)
    data, truth = file.read_bytes(), folder.weights(5)

    def check(altered: bytes) -> None:
        file.write_bytes(altered)
        for read in (lambda: folder.weights(5), lambda: folder.weights_hash(5)):
            found = tried(read)
            if isinstance(found, dict):
                assert altered == data
                assert all(torch.equal(found[name], truth[name]) for name in truth)

    tried.over(st.binary(max_size=200) | spliced(data), [*HEADERS, *absurd(data)], check)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "resume/state.safetensors"])
def test_files_of_a_run(run, name, record_property):
    """Settings, records and resume state that are read are those that were written; of records a part may be missing
    only at the end of the file."""
    tried, file = Tried(name, record_property), run / name
    data, folder = file.read_bytes(), RunFolder.open(run)
    hash_, records = folder.config_hash, folder.records()
    (run / "resume/state.safetensors").unlink() if name == "metrics.jsonl" else None

    def check(altered: bytes) -> None:
        file.write_bytes(altered)
        if name == "config.json":
            found = tried(lambda: RunFolder.open(run).config_hash)
            assert found in (None, hash_)
        elif name == "metrics.jsonl":
            found = tried(folder.records)
            assert found is None or found == records[: len(found)]
        else:
            found = tried(folder.resume_state)
            assert found is None or altered == data

    corpus = [
        b"",
        b"[" * 200_000,
        b"9" * 5_000_000,
        b"\xff" * 100,
        b"{}" * 1000,
        b'{"a":' * 50_000,
        data * 2,
        data[:-1],
    ]
    tried.over(st.binary(max_size=200) | spliced(data), corpus, check, 0.5)


def test_a_sweep_s_own_files(tmp_path, record_property):
    tried = Tried("files of a sweep", record_property)
    plan, failures = tmp_path / "sweep.json", tmp_path / "failures.json"
    good = json.dumps({"version": "0.1.0", "plan": {"config": "retrieval"}}).encode()

    def check(data: bytes) -> None:
        plan.write_bytes(data)
        failures.unlink(missing_ok=True)
        tried(lambda: load_sweep(tmp_path))
        plan.write_bytes(good)
        failures.write_bytes(data)
        tried(lambda: load_sweep(tmp_path))

    tried.over(
        st.binary(max_size=60) | spliced(good), [b"[" * 100_000, b"[]", b"9" * 9_000, b'{"a": 1}'], check, 0.5
    )
