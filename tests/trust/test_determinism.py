"""Same settings and seeds, same bytes: twice in one process, in two processes, by one worker and two, after a kill.

Checked for every preset, shrunk; what is compared are all files of the run but its timings.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interp.config.run import configure, preset_names
from interp.sweep.engine import run_sweep
from interp.sweep.plan import SweepPlan
from interp.train.loop import train

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
STEPS = 30 if FULL else 6
KILLS = 5 if FULL else 1
SMALL = {"n_layers": 2, "n_heads": 2, "d_model": 16}


def shrunk(preset: str) -> dict[str, Any]:
    """A preset's settings with few steps, small batches and, where the model has them, few and small layers."""
    whole = configure(preset)
    model = {k: v for k, v in SMALL.items() if k in type(whole.model).model_fields}
    model = {k: min(v, getattr(whole.model, k)) for k, v in model.items()}
    train = {
        "steps": STEPS,
        "batch": min(16, whole.train.batch),
        "eval_batch": 16,
        "save_every": STEPS // 3,
        "log_every": 2,
    }
    train |= {"warmup": 0, "schedule": {"log": 0, "every": STEPS // 2}}
    changes = {**{f"model.{k}": v for k, v in model.items()}, **{f"train.{k}": v for k, v in train.items()}}
    return configure(preset, changes=changes, seed=5).settings


def contents(path: Path) -> dict[str, bytes]:
    skipped = {"timing.jsonl", ".lock"}
    files = (f for f in path.rglob("*") if f.is_file() and f.name not in skipped)
    return {str(f.relative_to(path)): f.read_bytes() for f in files}


@pytest.fixture(scope="module")
def elsewhere(forked) -> Iterator[Any]:
    """Another process that trains what it is told (see `trial.py`)."""
    process = forked.start(Path(__file__).with_name("trial.py").read_text(), piped=True)

    def ask(**job: Any) -> dict:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job, default=str) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    ask(do="warm", settings=shrunk("regression"))
    yield ask
    process.close()


@pytest.mark.parametrize("preset", preset_names())
def test_same_settings_same_bytes(preset, elsewhere, tmp_path, record_property):
    settings = shrunk(preset)
    config = configure(settings)
    train(config, tmp_path / "first")
    expected = contents(tmp_path / "first")
    train(config, tmp_path / "again")
    assert contents(tmp_path / "again") == expected, "twice in one process"
    counted = elsewhere(do="train", settings=settings, out=tmp_path / "other", die_at=0)
    assert counted["code"] == 0, counted
    assert contents(tmp_path / "other") == expected, "in another process"
    for k in range(KILLS):
        moment = counted["calls"] * (2 * k + 1) // (2 * KILLS + 1)
        job = {"do": "train", "settings": settings, "out": tmp_path / f"killed {k}"}
        assert elsewhere(**job, die_at=max(1, moment))["code"] == -signal.SIGKILL
        assert elsewhere(**job)["code"] == 0
        assert contents(tmp_path / f"killed {k}") == expected, "killed and resumed"
    other = configure(settings, seed=6)
    assert other.hash != config.hash
    train(other, tmp_path / "seed")
    assert contents(tmp_path / "seed")["metrics.jsonl"] != expected["metrics.jsonl"], (
        "the seed does something"
    )
    result = f"same bytes: twice here, elsewhere, {KILLS} times killed and resumed"
    row = {"section": "determinism", "what": f"preset {preset}", "tried": 3 + KILLS, "result": result}
    record_property("trust", row)


@pytest.mark.skipif(
    not FULL, reason="full counts only; test_sweep_cluster compares one worker with two every time"
)
def test_one_worker_and_two_write_the_same_bytes(tmp_path, record_property):
    base = {
        "task": {"kind": "retrieval"},
        **{k: v for k, v in shrunk("retrieval").items() if k in ("model", "train")},
    }
    plan = SweepPlan(
        config=base, seeds=(0, 1, 2), grid={"train.lr": (1e-3, 2e-3)}, analyses=("scores", "heads")
    )
    for workers in (1, 2):
        assert not run_sweep(plan, tmp_path / str(workers), workers=workers).failures
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    row = {
        "section": "determinism",
        "what": "sweep of 6 runs by 1 and 2 workers",
        "tried": 2,
        "result": "same bytes",
    }
    record_property("trust", row)
