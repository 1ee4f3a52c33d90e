"""How heavy a page is: its size, the error of its attention, how soon it opens, what moving and scrolling cost.

A made-up run of 200 checkpoints, 4 layers, 8 heads and 41 tokens, or any page given by its path, in a real Chromium
with the network off. A page is open when it has loaded, everything in the first screen is drawn (plots too) and
the main thread is free to answer (`tests.bench.opening`). Seconds of the clock depend on what else the machine does;
processor milliseconds of the page's main thread much less. A move is one step of a slider on its way, with the views in
sight redrawn; CircuitsVis follows once the slider stands still, and that is counted apart. A frame of scrolling is 80
pixels of a page that was scrolled through before; the first time through draws the attention.

    python -m tests.bench.page [PAGE.html]
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.report.model import DrawnAttention, RunReport
from interp.report.page import render, write
from interp.report.quantise import pack
from tasks.errors import UserError
from tests.bench.opening import FLAGS, LONGEST, opening
from tests.bench.rows import Row

CHECKPOINTS, LAYERS, HEADS, TOKENS, MOVES = 200, 4, 8, 41, 20
PAUSE = 3000  # milliseconds: CircuitsVis follows a slider that stands still
PLACES = {"top": "scores", "heads": "head-map", "attention": "attention"}


def made_up(checkpoints: int = CHECKPOINTS, tokens: int = TOKENS, seed: int = 0) -> RunReport:
    """A run in which every head turns slowly, with noise from checkpoint to checkpoint, to a pattern of its own."""
    rng = np.random.default_rng(seed)
    steps = tuple(range(0, 50 * checkpoints, 50))
    shape = (LAYERS, HEADS, tokens, tokens)
    goal, grown = 4 * rng.standard_normal(shape), np.linspace(0, 1, checkpoints)
    logits = np.stack([g * goal + 0.05 * rng.standard_normal(shape) for g in grown]).astype(np.float32)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    attention = DrawnAttention("one prompt", tuple(f"t{i}" for i in range(tokens)), steps,
                          weights / weights.sum(-1, keepdims=True), causal=False)  # fmt: skip
    shared = {"step": np.repeat(steps, LAYERS * HEADS), "control": "none", "metric": "query -> link 1"}
    heads = pd.DataFrame({
        **shared,
        "layer": np.tile(np.repeat(range(LAYERS), HEADS), checkpoints),
        "head": np.tile(range(HEADS), LAYERS * checkpoints),
        "value": (grown[:, None] * rng.random(LAYERS * HEADS)).ravel(),
    })  # fmt: skip
    scores = pd.DataFrame({"step": steps, "position": "hop 1", "metric": "accuracy", "value": grown})
    return RunReport(
        title="made up",
        verdict="Nothing was trained.",
        steps=steps,
        metrics=pd.DataFrame({"step": steps, "loss": 3 - 2 * grown}),
        scores=scores,
        heads=heads,
        attention=(attention,),
    )


def measured(page: Path, moves: int = MOVES, pause: float = PAUSE, longest: int = LONGEST) -> dict[str, Any]:
    """Opening and moving one page. Raises UserError without the page, a Chromium or playwright.

    `pause`: milliseconds that the page is let rest before and after it is moved; `longest`: seconds that it is given
    to open.
    """
    if not page.is_file():
        raise UserError(f"there is no page {page}; write one with interp report RUN")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UserError("a page is measured through playwright; pip install playwright") from None
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise UserError("a page is measured in Chromium, and none is on this machine")
    found: dict[str, Any] = {"mb": page.stat().st_size / 1e6, **opening(page, chromium, longest)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport={"width": 1366, "height": 768})
        context.set_offline(True)
        tab = context.new_page()
        tab.set_default_timeout(300_000)
        inside = context.new_cdp_session(tab)
        inside.send("Performance.enable", {"timeDomain": "threadTicks"})
        tab.goto(page.as_uri())
        tab.wait_for_function("() => document.querySelector('#run-0 .plot.drawn .figure-plot')")
        tab.wait_for_timeout(pause)
        found["scroll first, cpu ms"], _ = _scroll(tab, inside)
        tab.wait_for_timeout(pause / 3)
        busy, frames = _scroll(tab, inside)
        found["scroll, cpu ms a frame"] = busy / frames
        for name, view in PLACES.items():
            place = tab.locator(f'#run-0 [data-view="{view}"]')
            if place.count():
                place.scroll_into_view_if_needed()
                tab.wait_for_timeout(pause / 2)
                found[f"move, {name}, cpu ms"] = _move(tab, inside, moves)
                found[f"rest, {name}, cpu ms"] = _rest(tab, inside, pause)
        browser.close()
    return found


def _busy(inside: Any) -> float:
    """Processor seconds that the page's main thread has used so far."""
    metrics = {m["name"]: m["value"] for m in inside.send("Performance.getMetrics")["metrics"]}
    return metrics["TaskDuration"]


def _move(tab: Any, inside: Any, moves: int) -> float:
    """Processor milliseconds of one move, over moves that are let finish one by one."""
    before = _busy(inside)
    tab.evaluate(
        """async (moves) => {
            const slider = document.getElementById('slider');
            for (let i = 1; i <= moves; i += 1) {
                slider.value = Math.max(0, slider.max - i);
                slider.dispatchEvent(new Event('input', { bubbles: true }));
                await new Promise(requestAnimationFrame);
                await new Promise((done) => requestIdleCallback(done, { timeout: 2000 }));
            }
        }""",
        moves,
    )
    return 1000 * (_busy(inside) - before) / moves


def _scroll(tab: Any, inside: Any) -> tuple[float, int]:
    """Processor milliseconds and frames of a way through the page, from its top to its end."""
    before = _busy(inside)
    frames = tab.evaluate(
        """async () => {
            const end = document.documentElement.scrollHeight - innerHeight;
            for (let y = 0; y < end; y += 80) {
                scrollTo(0, y);
                await new Promise(requestAnimationFrame);
            }
            return Math.max(1, Math.ceil(end / 80));
        }"""
    )
    return 1000 * (_busy(inside) - before), frames


def _rest(tab: Any, inside: Any, pause: float) -> float:
    """Processor milliseconds of what follows once the slider stands still."""
    before = _busy(inside)
    tab.wait_for_timeout(pause)
    return 1000 * (_busy(inside) - before)


def opening_rows(quick: bool) -> list[Row]:
    """The made-up page opened: processor seconds of its main thread until it is open. No peer, no limit."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise UserError("a page is measured in Chromium, and none is on this machine")
    count = 20 if quick else CHECKPOINTS
    with tempfile.TemporaryDirectory() as folder:
        page = write(render([made_up(count)]), Path(folder) / "page.html")
        found = [opening(page, chromium) for _ in range(1 if quick else 3)]
        size = page.stat().st_size / 1e6
    busy = statistics.median(turn["open cpu s"] for turn in found)
    wall = statistics.median(turn["open s"] for turn in found)
    note = f"{count} checkpoints, {size:.2g} MB; open after {wall:.2g} s of the clock"
    return [Row("page, main thread's work until it is open", busy, pairs=len(found), note=note)]


def main(arguments: list[str]) -> None:
    """Print what was measured as one JSON document."""
    if arguments:
        print(json.dumps(measured(Path(arguments[0]).resolve()), indent=1))
        return
    run = made_up()
    with tempfile.TemporaryDirectory() as folder:
        page = write(render([run]), Path(folder) / "page.html")
        found = measured(page)
    print(json.dumps({**found, "error x 255": 255 * pack(run.attention[0]).error}, indent=1))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
