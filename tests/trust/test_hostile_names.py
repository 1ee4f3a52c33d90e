"""Names and labels that hold markup, control characters or paths: text in a page, on a terminal, and in a folder."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest
from hypothesis import strategies as st

from interp.cli import run as cli
from interp.report.model import Fact, RunReport
from interp.report.page import as_json, render
from interp.sweep.plan import _folder
from tests.trust.inputs import FULL, LEAVES, TEXTS, Tried


class Tags(HTMLParser):
    """Counts elements and attributes that act."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.acting: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.acting += [
            name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")
        ]


def page_of(text: str) -> str:
    scores = pd.DataFrame({"step": [0, 5], "position": [text, text], "metric": "loss", "value": [1.0, 0.5]})
    facts = (Fact(text, text, text),)
    report = RunReport(
        title=text, verdict=text, steps=(0, 5), scores=scores, facts=facts, labels={"loss": text}
    )
    return render([report])


def test_labels_in_a_page(record_property):
    """A name adds no element, no acting attribute and no end to a script."""
    tried, usual = Tried("names and labels in a page", record_property), Tags(page_of("plain"))

    def check(text: str) -> None:
        with contextlib.suppress(UnicodeEncodeError):
            text.encode()
            found = Tags(tried(lambda: page_of(text)))
            assert (found.names, found.acting) == (usual.names, usual.acting)
            assert json.loads(as_json({text: text})) == {text: text}

    pieces = st.sampled_from(
        [
            "<",
            ">",
            "&",
            "'",
            '"',
            "</script",
            "<!--",
            "-->",
            "]]>",
            "<svg onload=x>",
            "{{",
            "%}",
            "\u2028",
            "\0",
            "a",
        ]
    )
    tried.over(st.lists(pieces, max_size=6).map("".join), TEXTS, check, 0.2 if FULL else 0.3)


def test_names_of_a_sweep_s_runs_stay_in_its_folder(tmp_path, record_property):
    """Folders are named after settings: none leaves the sweep's, two never share one."""
    tried = Tried("settings that name a sweep's folders", record_property)

    def check(values: list) -> None:
        names = [tried(lambda value=value: _folder({"task.name": value, "seed": 0})) for value in values]
        assert len(set(names)) == len({json.dumps(v, sort_keys=True) for v in values})
        for name in names:
            assert (tmp_path / name).resolve().parent == tmp_path.resolve()
            assert len(name) <= 255
            assert re.fullmatch(r"[A-Za-z0-9_.,=+~-]+", name)

    finite = LEAVES.filter(lambda v: v == v and v not in (float("inf"), -float("inf")) and not _lone(v))
    corpus = [[text] for text in TEXTS if not _lone(text)] + [
        ["a/b", "a-b"],
        ["../x", "..-x"],
        ["x" * 300, "x" * 301],
    ]
    tried.over(st.lists(finite, min_size=1, max_size=4, unique_by=repr), corpus, check, 0.5)


def _lone(value: Any) -> bool:
    """Whether a text holds half of a surrogate pair, which no file system and no UTF-8 knows."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return True
    return False


@pytest.mark.parametrize(
    "name", ["a\x1b[31mred", "[bold]x[/]", "new\nline", "-rf", "<img src=x onerror=alert(1)>", "\u202eabc"]
)
def test_a_folder_s_name_is_text_on_the_terminal(sound, name, tmp_path, capsys, monkeypatch, record_property):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sound, tmp_path / name)
    for command in (["runs", "."], ["verify", f"./{name}"], ["scores", f"./{name}", "--json"]):
        assert cli(command) == 0
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
    record_property(
        "trust",
        {
            "section": "hostile input",
            "what": f"a run named {name!r}",
            "tried": 3,
            "result": "text on the terminal",
        },
    )
