"""The recipes under docs/ work as they stand there: a task, a model kind, an analysis, a sink and a study's folder."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import interp
from interp import studies
from interp.analysis import registry
from interp.runs import sinks
from interp.studies import STUDIES, run_study
from tests.interp.studies import test_rooms as rooms

RECIPES = sorted((Path(__file__).parent.parent / "docs" / "recipes").glob("own-*.md"))
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in RECIPES)
FILES = dict(re.findall(r"```(?:python|toml)\n# ([\w./]+)\n(.*?)```", TEXT, flags=re.S))
TYPED = """
import json, sys
import interp
from interp.cli import run
for words in json.loads(sys.argv[1]):
    assert run(words) == 0, words
print("TABLE" + interp.load("runs/echo").measure("spread").table.to_json(orient="records"))
"""


def written(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_task_a_model_and_an_analysis_of_modules_that_variables_name(forked, tmp_path) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.S)
    first, *commands = (shlex.split(line) for line in block.splitlines())
    told = dict(word.split("=") for word in first[1:])
    asked = json.dumps([words[1:] for words in commands])
    done = forked(TYPED, asked, cwd=written(tmp_path), env=told, path=[told["PYTHONPATH"]])
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {(r["step"], r["control"]): r["value"] for r in json.loads(done.stdout.partition("TABLE")[2])}
    target = rows[60, "targets"]
    assert rows[0, "none"] == 0, "the gain starts at 0"
    assert rows[60, "none"] == pytest.approx(target, rel=0.1), "and the echo is learnt"
    assert target > 0.5


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Modules of a recipe, imported here, are unknown to other tests."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.split(".")[-1] == "spread" or "my_paper" in name:
            del sys.modules[name]


@pytest.mark.usefixtures("forgotten")
def test_an_analysis_of_an_installed_package(tmp_path, monkeypatch) -> None:
    groups = tomllib.loads(FILES["pyproject.toml"])["project"]["entry-points"]
    assert set(groups) == {"algoscope.tasks", "algoscope.models", registry.GROUP}
    info = written(tmp_path) / "recipes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: recipes\nVersion: 1.0\n")
    lines = [f"{name} = {module}" for name, module in groups[registry.GROUP].items()]
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n" + "\n".join(lines) + "\n")
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    monkeypatch.syspath_prepend(str(tmp_path))
    found = registry.entry("spread")
    assert found.words() == "interp measure RUN spread"
    assert "{prompts}" in found.caption
    assert "over 8 prompts" in found.caption_of(registry.build("spread", prompts=8), _Scored())


def test_a_sink_of_a_module_that_a_variable_names(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sinks, "_SINKS", dict(sinks._SINKS))
    monkeypatch.syspath_prepend(str(written(tmp_path)))
    monkeypatch.setenv(sinks.MODULES, "lines")
    monkeypatch.delitem(sys.modules, "lines", raising=False)
    changes = {
        "train.steps": 4,
        "train.batch": 4,
        "train.eval_batch": 4,
        "model.n_layers": 1,
        "model.d_model": 8,
    }
    run = interp.Run.train("retrieval", tmp_path / "run", changes=changes, sinks=["lines"])
    lines = [json.loads(line) for line in (run.path / "lines.txt").read_text().splitlines()]
    losses = run.metrics().query("split == 'train' and metric == 'loss'")["value"].tolist()
    assert [line["train/loss"] for line in lines] == losses
    assert "eval/accuracy/hop 1" in lines[0]


class _Scored:
    score_name = "loss"


@pytest.mark.usefixtures("forgotten")
def test_a_study_of_four_files_keeps_the_rules_of_rooms_and_gives_a_ledger(tmp_path, monkeypatch) -> None:
    written(tmp_path)
    monkeypatch.setattr(studies, "__path__", [*studies.__path__, str(tmp_path)])
    monkeypatch.setitem(STUDIES, "my-paper", "interp.studies.my_paper.study")
    monkeypatch.setattr(rooms, "ROOM", tmp_path)
    rooms.test_every_study_has_the_same_few_file_names("my-paper")
    rooms.test_files_are_short()
    ledger = run_study("my-paper", "quick", tmp_path / "out", lambda line: None)
    (row,) = ledger.claims
    assert row.n == 4
    assert row.verdict == "reproduced"
    again = run_study("my-paper", "quick", tmp_path / "out", lambda line: None)
    assert again.cpu_seconds >= ledger.cpu_seconds
    same = dataclasses.replace(again, cpu_seconds=ledger.cpu_seconds)
    assert same.to_json() == ledger.to_json(), "finished runs are reused"
