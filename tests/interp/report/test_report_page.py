"""The page as text: one file, nothing from elsewhere, nothing unescaped, whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from interp.pictures.inline import library
from interp.report.model import Fact, RunReport
from interp.report.page import as_json, render, write
from tasks.errors import UserError

HOSTILE = "</script><img src=x onerror=window.__hit=1>"


class Elements(HTMLParser):
    """Every element with its attributes, and the text of every script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._open: dict[str, str | None] | None = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open = dict(attrs) if tag == "script" else None
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open is not None:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)


@pytest.fixture(scope="module")
def html(retrieval) -> str:
    return render([retrieval()])


def inflated(html: str, name: str) -> str:
    """What lies compressed in the element of this id."""
    (text,) = (t for a, t in Elements(html).scripts if a.get("id") == name)
    return zlib.decompress(base64.b64decode(text)).decode()


def test_forty_checkpoints_fit_into_two_megabytes(html):
    assert len(html.encode()) < 2_000_000


def test_the_one_library_is_there_once_and_compressed(html):
    assert html.count('id="library-') == 1
    text = inflated(html, "library-circuitsvis")
    assert text.count("var CircuitsVis=") == 1
    assert text not in html
    (packed,) = (t for a, t in Elements(html).scripts if a.get("id") == "library-circuitsvis")
    assert len(packed) < len(text) / 2
    assert "plotly" not in html


def test_no_element_loads_anything(html):
    for tag, attributes in Elements(html).elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert not {"src", "href", "srcset", "action"} & set(attributes), tag


def test_no_element_carries_an_event_handler(html):
    assert not [a for _, attributes in Elements(html).elements for a in attributes if a.startswith("on")]


def test_the_policy_names_the_hash_of_every_script_that_runs(html):
    policy = next(
        a["content"] for t, a in Elements(html).elements if a.get("http-equiv") == "Content-Security-Policy"
    )
    script_rule = re.search(r"script-src ([^;]*)", policy).group(1)
    running = [text for a, text in Elements(html).scripts if "type" not in a]
    running.append(inflated(html, "library-circuitsvis"))
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(t.encode()).digest()).decode()}'" for t in running}
    assert len(running) == 2
    assert 'id="library-' not in render([RunReport(title="no attention", verdict="", steps=(0,))])
    assert set(script_rule.split()) == {*hashes, "'wasm-unsafe-eval'"}
    assert policy.startswith("default-src 'none'")


def test_json_in_a_script_survives_and_cannot_close_it():
    value = {"a": [HOSTILE, "\u2028", "<!--", "ü"]}
    assert "<" not in as_json(value)
    assert json.loads(as_json(value)) == value


def test_a_number_that_is_not_one_never_reaches_the_page():
    with pytest.raises(ValueError, match="JSON"):
        as_json([float("nan")])


def test_hostile_labels_become_text_everywhere(retrieval):
    run = retrieval(count=6, tokens=8, label=HOSTILE)
    tables = {
        "scores": run.scores.assign(position=HOSTILE + run.scores["position"]),
        "heads": run.heads.assign(metric=HOSTILE + run.heads["metric"]),
        "probes": run.probes.assign(site=HOSTILE + run.probes["site"]),
        "emergence": run.emergence.assign(subject=HOSTILE),
        "circuit": replace(run.circuit, unit=HOSTILE),
    }
    run = replace(
        run,
        **tables,
        title=HOSTILE,
        verdict=HOSTILE,
        facts=(Fact(HOSTILE, HOSTILE, HOSTILE),),
        sources={"heads": HOSTILE},
    )
    other = RunReport(title=HOSTILE, verdict="", steps=(0,), missing={"heads": HOSTILE})
    found = Elements(render([run, other]))
    assert not [t for t, _ in found.elements if t == "img"]
    assert len(found.scripts) == 2 + 2 + 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [("heads", "interp heads RUN"), ("probes", "interp probe RUN"), ("emergence", "interp emergence RUN")],
)
def test_a_missing_table_is_left_out_with_a_reason(retrieval, name, reason):
    html = render([replace(retrieval(count=6, tokens=8), **{name: None})])
    assert html.count('class="absent"') == 2, "no algorithms are matched on retrieval"
    assert reason in html


def test_a_model_trained_elsewhere_has_no_training_loss_on_its_page(retrieval):
    run = replace(retrieval(count=6, tokens=8), sources={"metrics": "RUN/metrics.jsonl"})
    words = ("the line is\n    the training loss", "RUN/metrics.jsonl")
    assert all(said in render([run]) for said in words)
    assert not any(said in render([replace(run, metrics=None)]) for said in words)


def test_a_given_reason_takes_the_place_of_the_usual_one(regression):
    html = render([regression()])
    assert "no relation between positions is known for this task" in html
    assert "no head scores" not in html


def test_a_run_with_nothing_says_so_for_every_section():
    assert render([RunReport(title="empty", verdict="", steps=(0,))]).count('class="absent"') == 9


def test_without_scripts_the_last_checkpoint_is_still_there(retrieval):
    run = retrieval(count=6, tokens=8)
    html = render([run])
    last = run.scores[(run.scores["position"] == "hop 3") & (run.scores["step"] == run.steps[-1])]
    before_scripts = html[: html.index('<script type="application/octet-stream"')]
    assert "<noscript>" in before_scripts
    assert f"<td>{last['value'].item():.4g}</td>" in before_scripts


def test_no_run_is_no_page():
    with pytest.raises(UserError, match="at least one run"):
        render([])


def test_the_same_data_makes_the_same_page(retrieval):
    assert render([retrieval(count=6, tokens=8)]) == render([retrieval(count=6, tokens=8)])


def test_no_script_closes_itself(html):
    for attributes, text in Elements(html).scripts:
        assert "</script" not in text.lower(), attributes
        assert "<!--" not in text, attributes
    text = library("circuitsvis", "dist/cdn/iife.js")
    assert "</script" not in text.lower(), "a notebook has it as it is"


def test_write_makes_the_folder_and_replaces_the_file(tmp_path):
    path = write("one", tmp_path / "deep" / "report.html")
    write("two\r\nü", path)
    assert path.read_bytes() == "two\r\nü".encode()
    assert os.listdir(path.parent) == ["report.html"]


def test_a_write_that_fails_leaves_the_old_page(tmp_path, monkeypatch):
    path = write("old", tmp_path / "report.html")

    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(UserError, match="cannot be written"):
        write("new", path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write("page", tmp_path / "file" / "report.html")
