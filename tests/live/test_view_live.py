"""The view in a real JupyterLab and a real marimo: a head is clicked, the change read; a killed kernel is reported."""

from __future__ import annotations

import importlib.util
import os
import re
import signal

import pytest

from interp.explore.session import Session
from interp.run import load
from tests.live.servers import serving

pytestmark = pytest.mark.live
MARIMO = """\
import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import interp

    view = interp.load({net!r}).explore()
    view
    return
"""


def needs(name: str) -> pytest.MarkDecorator:
    """Skipped by name, before a browser is started for it."""
    return pytest.mark.skipif(
        importlib.util.find_spec(name) is None, reason=f"{name} is not installed: make live"
    )


def expected(net) -> str:
    """What the page has to show of patching the first head: the difference in accuracy of the first hop."""
    session = Session(load(net))
    session.ask(selected=["L0H0"])
    row = session.tables["effects"].iloc[0]
    return f"{row['value']:.3f} [{row['ci_low']:.3f}, {row['ci_high']:.3f}]".replace("-", "−")


def click_and_read(page, net) -> None:
    """Click the first head, by mouse, and the second from the keyboard; read what the view shows."""
    page.locator(".algoscope button.head", has_text="L0H0").click()
    effect = page.locator(".algoscope tr", has_text="accuracy: hop 1").locator("td").last
    effect.wait_for()
    assert effect.inner_text() == expected(net)
    assert page.locator(".algoscope button.head[aria-pressed=true]").all_inner_texts() == ["L0H0"]
    assert "its attention changed most" in page.locator(".algoscope").inner_text()
    assert page.locator(".algoscope .status").inner_text() == ""
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.locator(".algoscope .chip", has_text="L1H0").wait_for()
    page.keyboard.press("Enter")  # the keyboard still stands on the second head
    page.locator(".algoscope .chip", has_text="L1H0").wait_for(state="detached")


def type_a_bad_prompt(page) -> None:
    page.locator(".algoscope summary").click()
    page.locator(".algoscope textarea").fill("1>2 <img src=x onerror=alert(1)>")
    page.locator(".algoscope button", has_text="use this prompt").click()
    line = page.locator(".algoscope .complaint")
    line.wait_for()
    assert "write 4 links" in line.inner_text()
    assert "<img" in page.locator(".algoscope textarea").input_value()  # nothing that was typed is lost
    assert page.locator(".algoscope img").count() == 0


@needs("jupyterlab")
def test_in_jupyterlab_a_head_is_clicked_and_a_killed_kernel_reported(page, net, tmp_path, shot) -> None:
    nbformat = pytest.importorskip("nbformat")
    lines = [
        f"import interp, os\nview = interp.load({str(net)!r}).explore()\nview",
        "print('read back:', view.step, view.selected, os.getpid())",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(line) for line in lines])
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(book, tmp_path / "view.ipynb")
    quiet = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.token=",
        "--ServerApp.root_dir=.",
        "--LabApp.news_url=",
    ]
    with serving(tmp_path, "jupyterlab", *quiet) as address:
        page.goto(f"{address}/lab/tree/view.ipynb")
        page.get_by_text("| Idle").wait_for()  # the kernel has started
        page.locator(".jp-Notebook .jp-CodeCell").first.click()
        page.keyboard.press("Shift+Enter")
        page.locator(".algoscope button.head").first.wait_for()
        click_and_read(page, net)
        shot("jupyterlab-clicked")
        type_a_bad_prompt(page)
        page.locator(".jp-Notebook .jp-CodeCell").nth(1).click()
        page.keyboard.press("Shift+Enter")
        told = page.locator(".jp-OutputArea-output", has_text=re.compile(r"^\s*read back:"))
        told.wait_for()
        step, selected, pid = re.search(r"read back: (\d+) (\(.*\)) (\d+)", told.inner_text()).groups()
        assert (step, selected) == ("0", "('L0H0',)")
        os.kill(int(pid), signal.SIGKILL)
        page.locator(".algoscope button.head", has_text="L1H0").evaluate("e => e.click()")
        page.locator(".algoscope .status.alarm", has_text="no answer from the kernel").wait_for()
        assert page.locator(".algoscope .heat").count() == 1  # the last answer still stands
        shot("jupyterlab-killed")


@needs("marimo")
def test_in_marimo_a_head_is_clicked(page, net, tmp_path, shot) -> None:
    (tmp_path / "app.py").write_text(MARIMO.format(net=str(net)))
    with serving(
        tmp_path, "marimo", "-y", "run", "app.py", "--headless", "--no-token", "--host", "127.0.0.1"
    ) as address:
        page.goto(address)
        page.locator(".algoscope button.head").first.wait_for()
        click_and_read(page, net)
        shot("marimo-clicked")
        type_a_bad_prompt(page)
