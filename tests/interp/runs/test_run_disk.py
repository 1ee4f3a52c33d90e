"""Disks that refuse, devices that are not there, and what merely listing presets may load."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from interp.config.run import parse_config
from interp.runs.folder import RunFolder
from interp.runs.verify import verify
from interp.train.loop import resume, train
from tasks.errors import UserError

CONFIG = parse_config(
    {
        "task": {"kind": "retrieval", "hops": 1, "chains": 2, "vocab": 6},
        "model": {"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 4, "mask": "full"},
        "train": {
            "steps": 12,
            "batch": 4,
            "lr": 0.01,
            "eval_batch": 8,
            "save_every": 4,
            "schedule": {"every": 3},
        },
    }
)


@pytest.mark.parametrize("refused", [1, 3, 9, 12, 20])
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(tmp_path, monkeypatch, refused):
    train(CONFIG, tmp_path / "whole")
    calls, real = [], os.fsync

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == refused:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
            train(CONFIG, tmp_path / "run")
    train(CONFIG, tmp_path / "run")
    assert verify(tmp_path / "run").state == "finished"
    for name in ("metrics.jsonl", "resume/state.safetensors", "checkpoints/00000012.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list((tmp_path / "run").rglob(".writing-*"))


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        train(CONFIG, tmp_path / "file/run")


def test_a_device_that_is_not_here_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="not available here"):
        train(CONFIG, tmp_path / "run", device="cuda:77")
    assert not (tmp_path / "run").exists()
    RunFolder.create(tmp_path / "elsewhere", CONFIG, device="cuda:77")
    with pytest.raises(UserError, match="not available here"):
        resume(tmp_path / "elsewhere")


def test_listing_presets_loads_no_torch():
    code = "import sys; from interp.presets import preset_names; assert preset_names(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
