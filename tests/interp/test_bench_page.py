"""What a page costs: the made-up run has the shape it is said to have, and a page is opened and moved."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from interp.bench import page
from interp.report.page import render, write
from interp.report.quantise import pack


def test_the_made_up_run_keeps_its_attention_within_half_a_level() -> None:
    run = page.made_up(checkpoints=3, tokens=5)
    assert run.attention[0].pattern.shape == (3, page.LAYERS, page.HEADS, 5, 5)
    assert (page.CHECKPOINTS, page.LAYERS, page.HEADS, page.TOKENS) == (200, 4, 8, 41)
    assert 0 < pack(run.attention[0]).error <= 0.5001 / 255


@pytest.mark.browser
def test_opening_and_moving_are_measured(tmp_path) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("no Chromium on this machine")
    kept = write(render([page.made_up(checkpoints=3, tokens=5)]), tmp_path / "page.html")
    # A thread of its own: other tests of the process may hold Playwright's loop in this one.
    with ThreadPoolExecutor(1) as alone:
        found = alone.submit(page.measured, kept, moves=2).result()
    assert found["mb"] == pytest.approx(kept.stat().st_size / 1e6)
    assert all(value > 0 for value in found.values())
    assert {f"move, {place}, cpu ms" for place in page.PLACES} < set(found)
