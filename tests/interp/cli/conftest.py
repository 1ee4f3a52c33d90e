"""A small run that was trained at the command line."""

from __future__ import annotations

import pytest

from interp.cli import run as cli

SMALL = [
    *("--steps", "8", "--set", "train.batch=16", "train.schedule.log=0", "train.schedule.every=4"),
    *("train.eval_batch=16", "model.n_layers=1", "model.n_heads=2", "model.d_model=16"),
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("cli") / "run")
    assert cli(["train", "retrieval", "--out", path, *SMALL]) == 0
    return path
