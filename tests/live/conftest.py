"""A real Chromium, and the run of a net whose answers are known."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from interp.config.run import configure
from interp.importers.record import record
from interp.models.constructed import constructed_retrieval
from tasks import settings_of

SHOTS = os.environ.get("ALGOSCOPE_SHOTS")  # a folder that keeps what was seen


@pytest.fixture(scope="session")
def page(browser) -> Iterator:
    found = browser.new_page(viewport={"width": 1500, "height": 1800})
    found.set_default_timeout(120_000)
    yield found
    if SHOTS:
        found.screenshot(path=str(Path(SHOTS) / "last.png"))


@pytest.fixture
def shot(page):
    """Keeps a picture of the page where a folder for them is named."""
    return lambda name: page.screenshot(path=str(Path(SHOTS) / f"{name}.png")) if SHOTS else None


@pytest.fixture
def net(tmp_path) -> Path:
    """The run folder of a net that answers two hops with one head each."""
    made = constructed_retrieval(2, "chain", vocab=12, chains=2, dtype="float32")
    settings = {
        "task": settings_of(made.task),
        "model": made.model.config.model_dump(mode="json"),
        "train": {"steps": 1, "batch": 4, "lr": 0.1},
    }
    return record(tmp_path / "net", configure(settings), (0,), lambda _: made.model.state_dict()).path
