"""What made a ledger: a change of settings, analyses, training or source is seen, a change of words is not."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest

from interp.config.run import configure
from interp.emergence.overlaps import Overlaps
from interp.runs.folder import RunFolder
from interp.studies import STUDIES, fingerprint, run_study, summary
from interp.studies.ledger import Ledger
from tasks.errors import UserError

STUDY = "single-index"


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger(STUDY, "quick", (0,), (), fingerprint.fingerprint(STUDY, "quick"))


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_says_what_it_plans(study):
    """Runs by name, with settings that differ between scales; and analyses that exist."""
    runs = importlib.import_module(f"{STUDIES[study].rpartition('.')[0]}.runs")
    quick, cpu = runs.planned("quick"), runs.planned("cpu")
    assert quick
    assert quick != cpu
    assert set(fingerprint.versions(runs.ANALYSES)) == set(runs.ANALYSES)
    assert set(fingerprint.fingerprint(study, "quick")) == set(fingerprint.PARTS)


def test_a_ledger_of_today_is_fresh_and_one_of_yesterday_is_not(ledger, monkeypatch):
    assert fingerprint.changes(ledger) == []
    monkeypatch.setattr(Overlaps, "version", Overlaps.version + 1)
    assert fingerprint.changes(ledger) == ["a version of its analyses changed"]
    monkeypatch.setattr(fingerprint, "BITS", fingerprint.BITS + 1)
    assert "the version of training changed" in fingerprint.changes(ledger)


def test_other_settings_are_seen(ledger, monkeypatch):
    runs = importlib.import_module("interp.studies.single_index.runs")
    monkeypatch.setitem(runs.LAYER["train"], "lr", 0.06)
    assert fingerprint.changes(ledger) == ["the settings of its runs changed"]


def test_runs_of_an_older_version_of_training_are_not_reused(tmp_path):
    config = configure("retrieval")
    RunFolder.create(tmp_path / "now", config)
    fingerprint.refuse_older(tmp_path)
    RunFolder.create(tmp_path / "cells/then", config, bits=1)
    with pytest.raises(UserError, match=r"cells/then: was begun under version 1 of training"):
        run_study(STUDY, "quick", tmp_path, print)


def test_a_ledger_without_a_fingerprint_is_stale():
    assert fingerprint.changes(Ledger(STUDY, "quick", (0,))) == ["made before ledgers had fingerprints"]


def test_the_source_is_what_is_computed_not_how_it_is_said(tmp_path):
    texts = (
        '"""Words."""\n\ndef f(x):\n    """More words."""\n    return x + 1  # why\n',
        '"""Other words."""\ndef f(x):\n    return (x +\n            1)\n',
        '"""Words."""\n\ndef f(x):\n    """More words."""\n    return x + 2\n',
    )
    found = []
    for text in texts:
        (tmp_path / "a.py").write_text(text)
        found.append(fingerprint.normalised(tmp_path / "a.py"))
    assert found[0] == found[1] != found[2]
    names = {path.stem for path in fingerprint.sources("interp.studies.newton")}
    assert {"rows", "measure", "runs", "study", "context"} <= names
    assert not any(name.startswith(("claims", "figures")) for name in names)


def test_a_study_stamps_its_ledger(monkeypatch, tmp_path):
    module = importlib.import_module(STUDIES[STUDY])
    monkeypatch.setattr(module, "run", lambda scale, out, report: Ledger(STUDY, scale, (0,)))
    found = run_study(STUDY, "quick", tmp_path, print)
    assert found.fingerprint == fingerprint.fingerprint(STUDY, "quick")
    assert Ledger.from_json((tmp_path / "ledger-quick.json").read_text()) == replace(found, seeds=(0,))


@pytest.mark.parametrize("study", STUDIES)
def test_a_kept_ledger_is_what_todays_code_gives_or_is_marked(study):
    """Fails when a ledger goes stale: run its study again, or let `summary` mark it until that is done."""
    found = summary.measured(study)
    (line,) = [line for line in summary.README.read_text().splitlines() if line.startswith(f"| `{study}`")]
    assert ("**stale**" in line) == bool(found and found.stale), "run python -m interp.studies.summary"
