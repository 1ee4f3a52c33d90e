"""A hand-constructed induction net as a run: its circuit and the relations of its heads are known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from interp.config.run import configure
from interp.importers.record import record
from interp.models.constructed import constructed_induction
from interp.run import Run
from tasks import settings_of


@pytest.fixture(scope="session")
def net():
    return constructed_induction(vocab=12, dtype="float32")


@pytest.fixture(scope="session")
def run(net, tmp_path_factory) -> Run:
    model = net.model.config.model_dump(mode="json")
    config = configure(
        {"task": settings_of(net.task), "model": model, "train": {"steps": 1, "batch": 4, "lr": 0.1}}
    )
    return Run(
        record(tmp_path_factory.mktemp("planted") / "run", config, (0,), lambda _: net.model.state_dict())
    )


@pytest.fixture(scope="session")
def asked():
    """The module of questions, importable by its name as a user's own is."""
    place = str(Path(__file__).parent)
    sys.path.insert(0, place)
    import questions

    yield questions
    sys.path.remove(place)
