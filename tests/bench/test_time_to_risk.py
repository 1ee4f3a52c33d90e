"""The benchmark reads the right step off a run, and refuses times that mean nothing."""

from __future__ import annotations

import dataclasses
import json

import pytest

from interp.config.run import parse_config
from interp.train.loop import train
from tasks.errors import UserError
from tests.bench.time_to_risk import time_to_risk

CONFIG = parse_config(
    {
        "task": {"kind": "regression", "d": 1, "n": 3},
        "model": {"kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 4, "mlp": "none"},
        "train": {"steps": 12, "batch": 4, "lr": 0.01, "eval_batch": 32, "eval_every": 3, "log_every": 6},
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(CONFIG, tmp_path_factory.mktemp("floor") / "run")


def test_the_first_step_within_the_share_is_named(run):
    losses = {r["step"]: sum(r["eval"]["loss"]) / 4 for r in run.records() if "eval" in r}
    floor = float(CONFIG.task.bayes_risk().value.mean())
    for loss in losses.values():
        found = time_to_risk(run, within=loss / floor - 1 + 1e-9)
        first = next(step for step, other in losses.items() if other <= loss + 1e-9)
        timing = [json.loads(line) for line in run.timing_path.read_text().splitlines()]
        assert found.step == first
        assert found.cpu_s == next(line["cpu_s"] for line in timing if line["step"] == first)
    never = time_to_risk(run, within=-0.99)
    assert dataclasses.asdict(never)["step"] is None
    assert never.best_loss == min(losses.values())


def test_a_run_of_several_goes_has_no_time(run, tmp_path):
    with open(run.timing_path, "a") as file:
        file.write('{"step": 12, "from": 6, "wall_s": 0.1, "cpu_s": 0.1}\n')
    with pytest.raises(UserError, match="several goes"):
        time_to_risk(run, within=100.0)
