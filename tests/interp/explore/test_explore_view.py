"""The widget: messages in, state out; what cannot be served is one line; nothing that is drawn is markup."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

import interp
from interp.explore import opening, view
from tasks import UserError


@pytest.fixture(scope="module")
def shown(run):
    return run.explore(step=1)


def send(shown, **changes) -> None:
    """What the page does: a request with the next id."""
    shown.request = {**changes, "id": shown.answered + 1}


def test_a_click_is_answered_with_what_the_session_gives(shown) -> None:
    shown.selected = ()
    before = shown.answered
    send(shown, toggle="L1H0")
    assert (shown.heard, shown.answered, shown.complaint) == (before + 1, before + 1, "")
    assert shown.selected == ("L1H0",)
    assert shown.shown["selected"] == ["L1H0"]
    rows = {row["output"]: row["value"] for row in shown.shown["panes"][0]["effects"]}
    assert rows == pytest.approx(shown.effects.set_index("output")["value"].to_dict(), abs=1e-4)
    send(shown, toggle="L1H0")
    assert shown.selected == ()
    assert shown.effects.empty


def test_state_is_read_and_set_from_python(shown, run) -> None:
    shown.step = 0
    assert (shown.step, shown.shown["step"]) == (0, 0)
    assert shown.table.equals(run.heads(steps=0).table)
    shown.step, shown.pinned, shown.prompt, shown.replacement = "last", 0, 3, "zero"
    assert (shown.step, shown.pinned, shown.prompt, shown.replacement) == (1, 0, 3, "zero")
    assert len(shown.shown["panes"]) == 2
    shown.head, shown.pair = "L0H0", "swap-query"
    assert (shown.head, shown.pair) == ("L0H0", "swap-query")
    shown.pinned = None
    with pytest.raises(UserError, match="checkpoint"):
        shown.step = 5
    assert shown.step == 1
    assert "step 1" in repr(shown)


def test_what_cannot_be_served_comes_back_as_one_line(shown) -> None:
    shown.selected = ["L0H0"]
    before = json.dumps(shown.shown)
    for changes in (
        {"own": "1>2 <script>"},
        {"toggle": "L7H7"},
        {"step": 99},
        {"nonsense": 1},
        {"prompt": "x"},
    ):
        send(shown, **changes)
        assert shown.complaint
        assert "\n" not in shown.complaint
        assert json.dumps(shown.shown) == before
    send(shown, selected=[])
    assert shown.complaint == ""


def test_a_failure_in_the_kernel_is_reported_and_raised(shown, monkeypatch) -> None:
    monkeypatch.setattr(shown._session, "ask", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        send(shown, selected=[])
    assert shown.complaint.startswith("the kernel failed with ZeroDivisionError")
    assert shown.answered == shown.request["id"]


def test_what_is_shown_is_json_without_nan(run) -> None:
    found = interp.explore(run, step=0, prompts=4)
    found.selected = ["L0H0"]
    json.dumps(found.shown, allow_nan=False)


def test_without_the_extra_one_line_names_it(run, monkeypatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'algoscope\[widget\]'"):
        run.explore()


def test_only_runs_are_explored(run) -> None:
    with pytest.raises(UserError, match="takes runs"):
        interp.explore("runs/first")
    with pytest.raises(UserError, match="takes runs"):
        run.explore("runs/first")


def test_the_scripts_make_text_and_never_markup() -> None:
    code, markup = (
        view.script(),
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function",
    )
    assert not re.search(rf"{markup}|fetch\(|https?://(?!www\.w3\.org/2000/svg)", code)
    assert all(len((view.ASSETS / f"{name}.js").read_text().splitlines()) <= 300 for name in view.SCRIPTS)
    assert {path.stem for path in view.ASSETS.glob("*.js")} == set(view.SCRIPTS)


def test_importing_the_package_loads_neither_torch_nor_anywidget() -> None:
    code = "import sys, interp.explore; sys.exit(bool({'torch', 'anywidget'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
