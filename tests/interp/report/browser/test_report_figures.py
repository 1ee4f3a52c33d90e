"""Figures in a real Chromium: read by pointer and keys, zoomed and reset, thinned by the legend, saved; they speak.

One page for all of it: opening is what costs.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.browser


def place(view, series: int, point: int) -> dict[str, float]:
    """Where a point of a figure lies within it, in pixels."""
    return view.locator(".figure-area").evaluate(
        "(e, [s, i]) => { const f = e.parentElement.figure;"
        " return {x: f.box.left + f.drawn[s].px[i], y: f.box.top + f.drawn[s].py[i]}; }",
        [series, point],
    )


def drag(page, view, start: dict, end: dict) -> None:
    edge = view.locator(".figure-area").bounding_box()
    page.page.mouse.move(edge["x"] + start["x"], edge["y"] + start["y"])
    page.page.mouse.down()
    page.page.mouse.move(edge["x"] + end["x"], edge["y"] + end["y"], steps=3)
    page.page.mouse.up()


def test_a_curve_is_read_zoomed_thinned_and_saved(opened, retrieval, tmp_path):
    run = retrieval(count=12, tokens=8)
    page = opened(run)
    view = page.see("scores")
    area, readout = view.locator(".figure-area"), view.locator(".readout")
    last = run.scores[(run.scores["position"] == "hop 1") & (run.scores["step"] == run.steps[-1])]
    said = f"hop 1\nstep {run.steps[-1]:,}\n{last['value'].item():.3g} ["

    area.hover(position=place(view, 0, 11))
    assert said in readout.inner_text(), "the point under the pointer"
    page.page.mouse.move(2, 2)
    assert readout.is_hidden()

    area.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
        page.page.keyboard.press(key)
    assert f"hop 1\nstep {run.steps[-1]:,}\n" in readout.inner_text(), "from the cursor on, one back, one on"
    page.page.keyboard.press("ArrowDown")
    assert readout.inner_text().startswith("hop 2\n")
    assert readout.get_attribute("role") == "status"
    assert page.page.locator("#slider").input_value() == "11", "arrow keys read here"
    page.page.keyboard.press("Escape")
    assert readout.is_hidden()

    whole = page.shown("scores", "x-tick")
    drag(page, view, {**place(view, 0, 4), "y": 100}, {**place(view, 0, 8), "y": 104})
    zoomed = view.evaluate("e => [e.figure.x.low, e.figure.x.high, e.figure.zoom.y ?? null]")
    assert zoomed[:2] == pytest.approx([run.steps[4], run.steps[8]], rel=0.02)
    assert zoomed[2] is None, "a drag sideways leaves y as it is"
    assert page.shown("scores", "x-tick") != whole
    view.get_by_role("button", name="Show all").click()
    assert page.shown("scores", "x-tick") == whole
    assert view.get_by_role("button", name="Show all").is_hidden()
    page.page.keyboard.press("+")
    assert page.shown("scores", "x-tick") != whole
    page.page.keyboard.press("0")
    assert page.shown("scores", "x-tick") == whole

    key = view.get_by_role("button", name="hop 2")
    key.click()
    assert key.get_attribute("aria-pressed") == "false"
    assert view.locator('[data-series="1"] path').count() == 0
    key.click()
    assert view.locator('[data-series="1"] .line').count() == 1
    assert view.locator('[data-series="1"] .band').count() == 1

    for kind in ("SVG", "PNG"):
        view.locator("summary", has_text="Save").click()
        with page.page.expect_download() as download:
            view.get_by_role("button", name=kind).click()
        download.value.save_as(tmp_path / f"figure.{kind.lower()}")
    root = ElementTree.parse(tmp_path / "figure.svg").getroot()
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"hop 1", "hop 2", "hop 3", "training step"} <= set(texts)
    assert "var(--" not in (tmp_path / "figure.svg").read_text("utf-8"), "it has the colours of the theme"
    assert (tmp_path / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "figure.png").stat().st_size > 5_000
    page.quiet()


def test_a_heat_map_is_read_by_keys_and_its_words_follow_the_slider(opened, retrieval, tmp_path):
    run = retrieval(count=12, tokens=8)
    page = opened(run)
    view = page.see("head-map")
    readout = view.locator(".readout")
    view.locator(".figure-area").focus()
    for key in ("ArrowUp", "ArrowLeft", "ArrowDown"):
        page.page.keyboard.press(key)
    assert readout.inner_text().startswith(f"L2H2 at step {run.steps[-2]:,}\n"), (
        "from the top row at the cursor"
    )
    page.page.keyboard.press("End")
    assert f"at step {run.steps[-1]:,}\n" in readout.inner_text()
    view.locator("summary", has_text="Save").click()
    with page.page.expect_download() as download:
        view.get_by_role("button", name="SVG").click()
    download.value.save_as(tmp_path / "map.svg")
    saved = ElementTree.parse(tmp_path / "map.svg").getroot()
    (image,) = saved.iter("{http://www.w3.org/2000/svg}image")
    assert image.get("href").startswith("data:image/png;base64,")

    grid = page.see("patching")
    grid.locator(".figure-area").focus()
    page.page.keyboard.press("ArrowUp")
    late = grid.locator(".readout").inner_text()
    assert "not significant: blank" in late
    node = page.see("circuit").locator('[data-node="L1H3"]')
    node.focus()
    told = page.page.locator("#run-0 [data-part='circuit-told']")
    assert f"L1H3 at step {run.steps[-1]:,}" in told.inner_text()
    page.page.locator("#slider").fill("0")
    page.until("e => e.textContent.includes('L1H3 at step 0.')", told)
    page.quiet()


def test_figures_and_controls_speak_and_show_the_focus(opened, retrieval):
    page = opened(retrieval(count=6, tokens=8, title="r"))
    for name in ("loss", "head-map", "faithfulness"):
        page.see(name)
    label = page.see("scores").locator(".figure-area").get_attribute("aria-label")
    assert "hop 1, hop 2, hop 3" in label
    assert "Arrow keys read values" in label
    outline = "e => { e.focus(); return getComputedStyle(e).outlineStyle + ' ' + getComputedStyle(e).outlineWidth; }"
    page.page.keyboard.press("Tab")
    controls = (
        "#slider",
        "#play",
        "#axis",
        "#theme",
        '[data-view="scores"] .figure-area',
        '[data-node="L1H3"]',
    )
    for control in (*controls, '[data-view="scores"] .key', '[data-view="scores"] summary'):
        seen = page.page.locator(control).first.evaluate(outline)
        assert re.fullmatch("solid [1-9].*", seen), control
    words = page.page.locator("#run-0 figure details.words dl").all_inner_texts()
    page.quiet()
    assert words is not None


def test_internal_names_are_nowhere_to_be_read(opened, retrieval):
    page = opened(retrieval(count=6, tokens=8))
    for name in ("head-map", "head-lines", "head-best", "emergence"):
        page.see(name)
    page.see("circuit").locator('[data-node="L1H3"]').click()
    page.see("circuit-lines")
    page.page.locator('[data-controls="heads"] select').select_option(label="link 1->link 2")
    where = ".plot text, .circuit text, option, .key, [data-view=head-best] th, .card th, figcaption dt"
    assert page.shown("head-lines", "y-title") == ["link 1->link 2"]
    read = " ".join(page.page.locator("#run-0").locator(where).all_text_contents())
    assert "link 1->link 2" in read
    assert "link_1" not in read
