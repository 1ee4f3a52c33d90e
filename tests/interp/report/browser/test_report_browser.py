"""The page in a real Chromium with the network off: it draws, it moves, it asks for nothing, and labels stay text."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror=window.__hit=1>"


def test_every_figure_draws_and_nothing_leaves_the_page(opened, retrieval, regression):
    page = opened(retrieval(), regression())
    for view in (
        "loss",
        "scores",
        "live",
        "head-map",
        "head-lines",
        "head-best",
        "emergence",
        "probe-map",
        "probe-controls",
        "attention",
        "circuit",
    ):
        page.see(view)
    assert page.page.locator("#run-1").is_hidden()
    page.page.select_option("#run-select", "1")
    for view in ("loss", "scores", "probe-map", "probe-controls", "attention"):
        page.see(view, run=1)
    assert page.page.locator("#run-0").is_hidden()
    assert page.page.locator("#run-1 .absent").count() == 4
    page.quiet()


def test_the_slider_moves_every_view(opened, retrieval):
    run = retrieval(count=12)
    page = opened(run)
    slider = page.page.locator("#slider")
    assert slider.input_value() == "11"
    before = {
        view: page.cursor(view)
        for view in ("loss", "scores", "head-map", "head-lines", "emergence", "probe-map")
    }
    numbers = page.shown("probe-controls", "cell-text")
    assert len(numbers) == 4 * 3, "a site a row; trained, untrained, shuffled"
    pixels = page.attention(run.steps[-1])
    slider.fill("2")
    after = {view: page.cursor(view) for view in before}
    for view in ("loss", "scores", "head-lines", "emergence"):
        assert before[view] == pytest.approx([run.steps[-1]] * 2, abs=run.steps[-1] / 1000)
        assert after[view] == pytest.approx([run.steps[2]] * 2, abs=run.steps[-1] / 1000)
    for view in ("head-map", "probe-map"):
        assert before[view] == pytest.approx([10.5, 11.5], abs=0.01)
        assert after[view] == pytest.approx([1.5, 2.5], abs=0.01)
    assert page.shown("probe-controls", "cell-text") != numbers
    assert page.attention(run.steps[2], unlike=pixels) != pixels
    assert f"At step {run.steps[2]:,}" in page.see("live").inner_text()
    page.quiet()


def test_the_keyboard_moves_the_slider_from_anywhere(opened, retrieval):
    page = opened(retrieval(count=12, tokens=8))
    value = page.page.locator("#slider").input_value
    seen = [value()]
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight", "Home", "ArrowLeft", "End", "ArrowRight"):
        page.page.keyboard.press(key)
        seen.append(value())
    assert seen == ["11", "10", "9", "10", "0", "0", "11", "11"]
    page.page.locator("#slider").focus()
    page.page.keyboard.press("ArrowLeft")
    assert value() == "10"
    assert "checkpoint 11 of 12" in page.page.locator("#now").inner_text()


def test_the_chosen_head_stays_chosen_when_the_checkpoint_moves(opened, retrieval):
    run = retrieval(count=12, tokens=8)
    page = opened(run)
    stage = page.see("attention")
    stage.locator("h4", has_text="L2H2").click()
    page.page.mouse.move(5, 400)
    page.page.locator("#slider").fill("3")
    page.until(f"e => e.dataset.step === '{run.steps[3]}'", stage)
    page.large("L2H2")
    assert stage.locator("canvas").count() == 5
    page.page.locator('#run-0 [data-controls="attention"] select').select_option(label="layer 0")
    page.until("e => e.dataset.layer === '0'", stage)
    page.large("L0H2")
    page.quiet()


def test_the_first_screen_waits_for_no_library_that_it_does_not_need(opened, retrieval):
    page = opened(retrieval(count=6, tokens=8))
    plots = "[...document.querySelectorAll('#run-0 .plot:not([hidden])')]"
    page.until(f"() => {plots}.every((e) => e.classList.contains('drawn'))")  # at rest, without scrolling
    assert page.page.evaluate("scrollY") == 0
    assert page.page.evaluate("typeof CircuitsVis") == "undefined"
    assert page.page.locator("#library-circuitsvis").count() == 1, "still compressed"
    order = """() => {
        const [mark] = performance.getEntriesByName('in sight');
        const words = performance.getEntriesByName('first-contentful-paint')[0];
        return words.startTime < mark.startTime;
    }"""
    assert page.page.evaluate(order)
    page.see("attention")
    page.until("() => typeof CircuitsVis === 'object'")
    page.quiet()


def test_hostile_labels_stay_text(opened, retrieval):
    run = retrieval(count=6, tokens=8, label=HOSTILE, title=HOSTILE)
    run = replace(
        run,
        scores=run.scores.assign(position=run.scores["position"] + HOSTILE),
        heads=run.heads.assign(metric=HOSTILE + run.heads["metric"]),
        probes=run.probes.assign(site=run.probes["site"] + HOSTILE, target=run.probes["target"] + HOSTILE),
        emergence=run.emergence.assign(subject=HOSTILE),
        levels=None,
    )
    page = opened(run)
    for view in (
        "loss",
        "scores",
        "live",
        "head-map",
        "head-lines",
        "emergence",
        "probe-map",
        "probe-controls",
    ):
        page.see(view).hover()
    page.attention(run.steps[-1])
    assert page.page.locator("img").count() == 0
    assert page.page.evaluate("window.__hit") is None
    assert page.page.locator("h1").inner_text() == HOSTILE
    assert HOSTILE in page.see("live").inner_text()
    assert any(HOSTILE in tick for tick in page.shown("emergence", "y-tick"))
    assert any(HOSTILE in entry for entry in page.shown("scores", "key"))
    page.see("scores").locator(".figure-area").focus()
    page.page.keyboard.press("ArrowRight")
    assert HOSTILE in page.see("scores").locator(".readout").inner_text()
    page.quiet()


def test_the_policy_stops_a_script_that_got_in(opened, retrieval):
    page = opened(retrieval(count=6, tokens=8))
    page.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.__hit=1\">')"
    )
    page.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.__hit=2'}))"
    )
    page.until("() => window.__csp?.length >= 2")
    assert page.page.evaluate("window.__hit") is None


def test_the_circuit_moves_with_the_slider_and_opens_a_head(opened, retrieval):
    run = retrieval(count=12, tokens=12)
    page = opened(run)
    circuit = page.see("circuit")
    widths = "e => [...e.querySelectorAll('path')].map(p => Number(p.getAttribute('stroke-width')))"
    late = circuit.evaluate(widths)
    page.page.locator("#slider").fill("0")
    page.page.wait_for_function("e => e.dataset.step === '0'", arg=circuit.element_handle())
    early = circuit.evaluate(widths)
    assert late[5] == 12
    assert early[5] == 1
    head = circuit.locator('[data-node="L1H3"]')
    head.focus()
    told = page.page.locator("#run-0 [data-part='circuit-told']")
    assert "L1H3 at step 0" in told.inner_text()
    page.page.keyboard.press("Enter")
    assert len(page.shown("circuit-lines", "key")) == 3
    assert page.see("circuit-lines").locator(".figure-plot .line").count() == 3
    page.page.get_by_role("button", name="Show the attention of L1H3").click()
    page.until("e => e.dataset.layer === '1'", page.see("attention"))
    page.large("L1H3")
    page.quiet()


def test_the_circuit_is_saved_as_svg(opened, retrieval, tmp_path):
    page = opened(retrieval(count=4, tokens=12, label="<b>&"))
    page.see("circuit")
    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Save as SVG").click()
    download.value.save_as(tmp_path / "circuit.svg")
    root = ElementTree.parse(tmp_path / "circuit.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<b>&" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    page.quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_button(opened, retrieval, scheme):
    page = opened(retrieval(count=6, tokens=8), color_scheme=scheme)
    ink = "e => getComputedStyle(e.querySelector('.x-tick')).fill"
    before = page.see("loss").evaluate(ink)
    page.page.locator("#theme").click()
    after = page.see("loss").evaluate(ink)
    dark, light = "rgb(230, 228, 223)", "rgb(29, 35, 41)"
    assert (before, after) == ((light, dark) if scheme == "light" else (dark, light))
    page.quiet()


def test_the_step_axis_can_be_logarithmic_and_keeps_step_zero(opened, retrieval):
    run = retrieval(count=12, tokens=8)
    page = opened(run)
    page.page.select_option("#axis", "log")
    page.page.keyboard.press("Home")
    assert page.cursor("loss") == pytest.approx([run.steps[1] / 2] * 2, rel=0.01)
    assert page.shown("loss", "x-tick")[:2] == ["0", "10"]
    page.quiet()


def test_play_runs_to_the_last_checkpoint_and_stops(opened, retrieval):
    page = opened(retrieval(count=4, tokens=8))
    page.page.locator("#play").click()
    page.page.wait_for_function("() => document.getElementById('play').ariaPressed === 'false'")
    assert page.page.locator("#slider").input_value() == "3"
    page.quiet()


def test_without_scripts_the_words_and_tables_are_there(opened, retrieval):
    run = retrieval(count=6, tokens=8)
    page = opened(run, java_script_enabled=False)
    assert "disabled here" in page.page.locator(".notice").inner_text()
    assert page.page.locator("#bar").is_hidden()
    page.page.get_by_text("Scores at the last checkpoint", exact=True).click()
    last = run.scores[(run.scores["position"] == "hop 3") & (run.scores["step"] == run.steps[-1])]
    assert f"{last['value'].item():.4g}" in page.page.locator(".numbers table").first.inner_text()
