"""A real Chromium with the network off, and a page that remembers what it complained about or asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from interp.report.page import render, write

WATCH = """addEventListener('securitypolicyviolation',
    e => (window.__csp ??= []).push(e.violatedDirective + ' ' + e.blockedURI))"""


class Opened:
    """A page that was opened, and everything it complained about or asked for."""

    def __init__(self, browser, path: Path, **settings) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(viewport={"width": 1366, "height": 768}, **settings)
        self.context.set_offline(True)
        self.context.route("**/*", lambda route: self._route(route, path.as_uri()))
        self.context.add_init_script(WATCH)
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)  # a loaded machine draws slowly
        self.page.on("console", lambda m: m.type in {"error", "warning"} and self.complaints.append(m.text))
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.goto(path.as_uri())

    def _route(self, route, allowed: str) -> None:
        if route.request.url == allowed:
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()

    def see(self, view: str, run: int = 0, within: str = ""):
        """Scroll to a view and wait until it is drawn."""
        found = self.page.locator(f'{within or f"#run-{run}"} [data-view="{view}"]')
        found.scroll_into_view_if_needed()
        drawn = (
            "e => e.classList.contains('drawn') || e.dataset.step !== undefined || e.querySelector('table')"
        )
        here = "e => e.dataset.at === document.documentElement.dataset.at"
        self.until(f"e => ({drawn})(e) && ({here})(e)", found)
        return found

    def until(self, condition: str, element=None) -> None:
        """Wait for a condition on an element, never for a time: a loaded machine takes long."""
        self.page.wait_for_function(condition, arg=element and element.element_handle())

    def cursor(self, view: str) -> list[float]:
        """Where the cursor stands on the screen, read back through the figure's axis: its left and right edge."""
        edges = """e => {
            const { cursor, over, x } = e.figure;
            const at = cursor.getBoundingClientRect();
            if (!cursor.clientLeft) throw new Error('the cursor has no line to see');
            const left = over.getBoundingClientRect().left;
            const half = cursor.clientLeft / 2;
            return [at.left + half, at.right - half].map((p) => x.value(p - left));
        }"""
        return self.see(view).evaluate(edges)

    def shown(self, view: str, what: str, within: str = "") -> list[str]:
        """The texts that a view shows in elements of a class: ticks, legend entries, numbers in cells, a title."""
        return self.see(view, within=within).locator(f".{what}").all_text_contents()

    def attention(self, step: int, unlike: str = "") -> str:
        """The pixels of the large pattern, once the page shows this step and has painted something new."""
        stage = self.see("attention")
        self.until(f"e => e.dataset.step === '{step}'", stage)
        pixels = "e.querySelectorAll('canvas')[e.querySelectorAll('canvas').length - 1]"
        blank = (
            "Object.assign(document.createElement('canvas'), {width: c.width, height: c.height}).toDataURL()"
        )
        painted = f"const c = {pixels}; if (!c) return false; const now = c.toDataURL();"
        self.until(f"e => {{ {painted} return now !== {blank} && now !== '{unlike}'; }}", stage)
        return stage.evaluate(f"e => {pixels}.toDataURL()")

    def large(self, name: str) -> None:
        """Wait until the large pattern is this head's."""
        heading = f"e => e.querySelectorAll('h3')[1]?.textContent.includes('{name}')"
        self.until(heading, self.see("attention"))

    def quiet(self) -> None:
        assert self.complaints == []
        assert self.asked == []
        assert self.page.evaluate("window.__csp ?? []") == []

    def close(self) -> None:
        self.context.close()


@pytest.fixture
def opened(browser, tmp_path) -> Iterator[Callable[..., Opened]]:
    made: list[Opened] = []

    def build(*runs, ledgers=(), **settings) -> Opened:
        page = write(render(runs, ledgers), tmp_path / "report.html")
        made.append(Opened(browser, page, **settings))
        return made[-1]

    yield build
    for one in made:
        one.close()
