"""Runs that the view is tried on: a hand-constructed retrieval net, whose two heads are known, and untrained nets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from interp.config.run import RunConfig, configure
from interp.importers.record import record
from interp.models import build_model
from interp.models.constructed import constructed_retrieval
from interp.run import Run
from tasks import settings_of

SMALL = {"kind": "transformer", "n_layers": 2, "n_heads": 2, "d_model": 16, "mask": "causal"}
TRAIN = {"steps": 1, "batch": 4, "lr": 0.1}


def recorded(path: Path, config: RunConfig, weights: Mapping[int, Any]) -> Run:
    return Run(record(path, config, tuple(weights), lambda step: dict(weights[step].state_dict())))


@pytest.fixture(scope="session")
def run(nets) -> Run:
    """Untrained at step 0; at step 1 the net that answers two hops with one head each."""

    def make(path: Path) -> Path:
        net = constructed_retrieval(2, "chain", vocab=12, chains=2, dtype="float32")
        model = net.model.config.model_dump(mode="json")
        config = configure({"task": settings_of(net.task), "model": model, "train": TRAIN})
        before = build_model(config.model, config.task.interface, 0)
        recorded(path, config, {0: before, 1: net.model})
        return path

    from interp.run import load

    return load(nets.made("explored", make))


@pytest.fixture
def untrained(tmp_path):
    """A run of an untrained net for the task that is asked for."""

    def made(task: Mapping[str, Any], model: Mapping[str, Any] = SMALL) -> Run:
        config = configure({"task": dict(task), "model": dict(model), "train": TRAIN})
        net = build_model(config.model, config.task.interface, 0)
        return recorded(tmp_path / f"{task['kind']}-{len(list(tmp_path.iterdir()))}", config, {0: net})

    return made
