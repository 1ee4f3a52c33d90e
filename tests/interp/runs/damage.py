"""A small sound run to damage, and what `verify` must say of it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from interp.config.run import RunConfig, parse_config
from interp.io.tables import Stamp, write_table
from interp.runs.verify import verify
from interp.train.loop import train

FILES = ("config.json", "metrics.jsonl", "checkpoints/00000010.safetensors", "resume/state.safetensors")


def tiny(seed: int = 1) -> RunConfig:
    return parse_config(
        {
            "task": {"kind": "retrieval", "hops": 1, "chains": 2, "vocab": 6},
            "model": {
                "kind": "transformer",
                "n_layers": 1,
                "n_heads": 1,
                "d_model": 4,
                "mlp": "none",
                "mask": "full",
            },
            "train": {
                "steps": 20,
                "batch": 4,
                "lr": 0.01,
                "eval_batch": 8,
                "log_every": 5,
                "save_every": 10,
                "schedule": {"every": 5},
            },
            "seed": seed,
        }
    )


def sound_run(path: Path) -> Path:
    """The run of `tiny`, finished, with a table."""
    run = train(tiny(), path)
    hashes = {step: run.weights_hash(step) for step in run.steps}
    stamp = Stamp(analysis="toy", key="k", config=run.config_hash, checkpoints=hashes, settings={"chunks": 4})
    write_table(run.table_path("toy"), pd.DataFrame({"step": list(hashes), "value": 0.5}), stamp)
    assert verify(path).ok
    return path


def assert_found(path: Path, culprit: str) -> str:
    found = verify(path)
    assert not found.ok
    assert found.problem is not None
    assert culprit in found.problem
    assert "\n" not in found.problem
    assert len(found.problem) < 600
    return found.problem
