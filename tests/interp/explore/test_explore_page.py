"""The view's own script in a real Chromium, in place of a notebook a model that keeps what it is sent: hostile names
are text, keys work as clicks do, a kernel that does not answer is reported, words keep their contrast in both themes.
"""

from __future__ import annotations

import copy
import json

import pytest

from interp.explore import view
from interp.explore.session import Session

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror='window.hit=1'><b>bold</b>"
NOTEBOOK = """
window.sent = [];
window.state = { shown: STATE, request: {}, heard: 0, answered: 0, complaint: "" };
const handlers = {};
const model = {
  get: (name) => state[name],
  set: (name, value) => { state[name] = value; },
  save_changes: () => sent.push(state.request),
  on: (name, handler) => { handlers[name] = handler; },
  off: (name) => { delete handlers[name]; },
};
window.put = (name, value) => { state[name] = value; handlers[`change:${name}`]?.(); };
const code = new Blob([SCRIPT], { type: "text/javascript" });
window.opened = import(URL.createObjectURL(code)).then(
  (module) => module.default.render({ model, el: document.querySelector("#here") }));
"""
CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255).map(
      (s) => (s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (at) => {
    const own = getComputedStyle(at).backgroundColor;
    return own === "rgba(0, 0, 0, 0)" ? ground(at.parentElement) : own;
  };
  const words = [...document.querySelectorAll(".algoscope *")].filter(
    (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) && e.checkVisibility()
      && !e.closest("svg") && !e.disabled && e.tagName !== "OPTION");
  return words.map((e) => {
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), e.className || e.tagName];
  }).sort((x, y) => x[0] - y[0])[0];
}"""


@pytest.fixture(scope="module")
def state(run) -> dict:
    session = Session(run, step=1, prompts=8)
    shown = copy.deepcopy(session.ask(selected=["L0H0"]))
    edge = {
        "label": "L0H0 -> L1H0.q",
        "sender": "L0H0",
        "receiver": "L1H0.q",
        "value": 1.0,
        "ci_low": 0.9,
        "ci_high": 1.1,
    }
    pane = shown["panes"][0]
    pane["circuit"] = [edge]
    pane["labels"] = [HOSTILE] * len(pane["labels"])
    pane["title"] = pane["scores"][0]["relation"] = pane["answers"][0]["symbol"] = HOSTILE
    return shown


@pytest.fixture(scope="module")
def page(state, browser):
    found = browser.new_page()
    found.set_default_timeout(120_000)
    found.clock.install()
    found.set_content(f"<style>{view.sheet()}</style><div id='here' style='background: #ffffff'></div>")
    filled = NOTEBOOK.replace("STATE", json.dumps(state)).replace("SCRIPT", json.dumps(view.script()))
    found.evaluate(f"async () => {{ {filled}; await opened; }}")
    yield found
    found.close()


def test_hostile_names_are_shown_as_text(page) -> None:
    assert page.evaluate("window.hit") is None
    assert page.locator(".algoscope img, .algoscope .pane b:has-text('bold')").count() == 0
    assert page.locator(".algoscope h3").inner_text() == HOSTILE
    assert page.locator(".algoscope .tokens li").first.inner_text() == HOSTILE


def test_clicks_and_keys_send_what_is_meant(page) -> None:
    page.evaluate("sent.length = 0")
    page.locator(".algoscope button.head", has_text="L1H0").click()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    page.locator(".algoscope g.edge").focus()
    page.keyboard.press("Enter")
    asked = [{name: value for name, value in each.items() if name != "id"} for each in page.evaluate("sent")]
    assert asked == [{"toggle": "L1H0"}, {"toggle": "L0H0"}, {"toggle": "L0H0 -> L1H0.q"}]
    ids = page.evaluate("sent.map((each) => each.id)")
    assert ids == sorted(set(ids))


def test_a_kernel_that_does_not_answer_is_reported_until_it_does(page) -> None:
    status = page.locator(".algoscope .status")
    page.locator(".algoscope button.head", has_text="L1H0").click()
    page.clock.fast_forward(6000)
    assert "no answer from the kernel" in status.inner_text()
    number = page.evaluate("sent.at(-1).id")
    page.evaluate("(n) => { put('heard', n); put('shown', state.shown); put('answered', n); }", number)
    assert status.inner_text() == ""
    page.locator(".algoscope button.head", has_text="L1H0").click()
    page.evaluate("(n) => put('heard', n)", number + 1)
    page.clock.fast_forward(6000)
    assert "computing" in status.inner_text()
    page.evaluate("(n) => put('answered', n)", number + 1)
    assert status.inner_text() == ""


def test_a_complaint_is_shown_and_what_was_typed_stays(page) -> None:
    page.locator(".algoscope summary").click()
    page.locator(".algoscope textarea").fill("1>2 nonsense")
    page.evaluate("(words) => put('complaint', words)", f"token 2: {HOSTILE}")
    assert page.locator(".algoscope [role=alert]").inner_text() == f"token 2: {HOSTILE}"
    page.evaluate("put('shown', state.shown)")
    assert page.locator(".algoscope textarea").input_value() == "1>2 nonsense"
    page.evaluate("put('complaint', '')")
    assert not page.locator(".algoscope [role=alert]").is_visible()


@pytest.mark.parametrize(("ground", "theme"), [("#ffffff", "light"), ("#111111", "dark")])
def test_words_have_the_contrast_of_wcag_aa(page, ground, theme) -> None:
    page.evaluate("(ground) => { document.querySelector('#here').style.background = ground; }", ground)
    page.evaluate("put('complaint', 'a complaint'); put('shown', state.shown)")
    assert page.locator(".algoscope").get_attribute("data-theme") == theme
    ratio, where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, where


def test_a_lost_connection_is_reported_at_once(page) -> None:
    page.evaluate("document.querySelector('#here').classList.add('jupyter-widgets-disconnected')")
    page.locator(".algoscope .status.alarm", has_text="connection to it is lost").wait_for()
