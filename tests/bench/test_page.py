"""What a page costs: the made-up run has the shape it is said to have, and a page is opened and moved."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from interp.report.page import render, write
from interp.report.quantise import pack
from tasks.errors import UserError
from tests.bench import opening, page


def test_the_made_up_run_keeps_its_attention_within_half_a_level() -> None:
    run = page.made_up(checkpoints=3, tokens=5)
    assert run.attention[0].pattern.shape == (3, page.LAYERS, page.HEADS, 5, 5)
    assert (page.CHECKPOINTS, page.LAYERS, page.HEADS, page.TOKENS) == (200, 4, 8, 41)
    assert 0 < pack(run.attention[0]).error <= 0.5001 / 255


def test_a_page_is_open_when_the_task_that_drew_the_first_screen_ends(tmp_path) -> None:
    page = tmp_path / "page.html"
    main = {"pid": 1, "tid": 7}
    task = {**main, "name": "ThreadControllerImpl::RunTask", "ph": "X"}
    events = [
        {**main, "name": "navigationStart", "ts": 1_000_000, "args": {"url": page.as_uri()}},
        {**task, "ts": 1_100_000, "dur": 200_000, "tdur": 100_000},
        {**main, "name": "firstContentfulPaint", "ts": 1_200_000},
        {**main, "name": "loadEventEnd", "ts": 1_400_000},
        {**task, "ts": 1_500_000, "dur": 900_000, "tdur": 500_000},
        {**task, "tid": 8, "ts": 1_500_000, "dur": 5_000_000, "tdur": 5_000_000},
        {**main, "name": "in sight", "ts": 2_200_000},
        {**task, "ts": 2_400_000, "dur": 300_000, "tdur": 300_000},
        {**main, "name": "in sight", "ts": 2_500_000},
    ]
    assert opening._opening(events, page) == pytest.approx({"words s": 0.2, "open s": 1.4, "open cpu s": 0.6})
    for gone in ("navigationStart", "loadEventEnd", "in sight"):
        kept = [event for event in events if event["name"] != gone]
        with pytest.raises(UserError, match="was not open after"):
            opening._opening(kept, page)


@pytest.mark.browser
def test_opening_and_moving_are_measured(tmp_path) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("no Chromium on this machine")
    kept = write(render([page.made_up(checkpoints=3, tokens=5)]), tmp_path / "page.html")
    # A thread of its own: other tests of the process may hold Playwright's loop in this one.
    with ThreadPoolExecutor(1) as alone:
        try:
            found = alone.submit(page.measured, kept, moves=2, pause=600, longest=5).result()
        except UserError:  # a loaded machine: as long as the bench gives it
            found = alone.submit(page.measured, kept, moves=2).result()
    assert found["mb"] == pytest.approx(kept.stat().st_size / 1e6)
    assert all(value > 0 for value in found.values())
    assert {f"move, {place}, cpu ms" for place in page.PLACES} < set(found)
