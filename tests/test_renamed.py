"""Old names: each kind is refused in one line that names the new one, and the changelog's table is the registry."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pandas as pd
import pytest
import torch

import tasks
from interp.analysis.base import Analysis, Direct, validated
from interp.analysis.registry import build, entry
from interp.analysis.result import Result
from interp.causal.circuit import Circuit
from interp.causal.metrics import metric_of
from interp.cli import run as cli
from interp.io import former
from interp.run import Run
from interp.runs.checkpoints import Checkpoints
from tasks.base import Interface, Task
from tasks.errors import UserError
from tasks.renamed import RENAMED, SINCE, line

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"
FACE = {"inputs": "token", "n_ctx": 3, "d_out": 5, "d_vocab": 5}


def test_the_table_of_the_changelog_is_the_registry() -> None:
    rows = re.findall(
        r"^\| (\w+) \| `([^`]+)` \| `([^`]+)` \|$", CHANGELOG.read_text(encoding="utf-8"), flags=re.M
    )
    assert rows == [(kind, old, new) for kind, names in RENAMED.items() for old, new in names.items()]


@pytest.mark.parametrize(("old", "new"), RENAMED["module"].items())
def test_modules(old, new) -> None:
    with pytest.raises(ModuleNotFoundError, match=re.escape(line(old, new))):
        importlib.import_module(old)
    importlib.import_module(new)


@pytest.mark.parametrize(("old", "new"), RENAMED["name"].items())
def test_names_of_modules(old, new) -> None:
    module, _, name = old.rpartition(".")
    with pytest.raises(AttributeError, match=f"{re.escape(old)} is .* since {SINCE}"):
        getattr(importlib.import_module(module), name)
    assert getattr(importlib.import_module(module), new.rpartition(".")[2]) is not None
    with pytest.raises(AttributeError, match="has no attribute 'never'"):
        _ = importlib.import_module(module).never


KINDS = {"Run": Run, "Task": tasks.MultiHopRetrieval, "Interface": Interface, "Analysis": Direct}


@pytest.mark.parametrize(("old", "new"), RENAMED["member"].items())
def test_members(old, new) -> None:
    owner, name = old.split(".")
    if owner == "Accumulator":
        return  # a protocol: see below
    kind = KINDS[owner]
    given = {**FACE, "output_positions": (2,)} if kind is Interface else {}
    one = object.__new__(Run) if kind is Run else kind(**given)
    with pytest.raises(AttributeError, match=re.escape(line(old, new))):
        getattr(one, name)
    assert hasattr(kind, new) or new in kind.model_fields
    with pytest.raises(AttributeError, match="never"):
        _ = one.never


def test_a_property_that_fails_is_reported_as_what_failed() -> None:
    class Broken(Checkpoints):
        @property
        def config(self):
            return self.nowhere

    with pytest.raises(AttributeError, match="nowhere"):
        _ = object.__new__(Broken).config


def test_subclasses_that_define_an_old_member_are_refused() -> None:
    with pytest.raises(UserError, match=r"Task\.reads is output_names since 0\.2"):

        class Older(Task):
            @property
            def reads(self):
                return ("a",)

    with pytest.raises(UserError, match=r"Analysis\.reader is accumulator since 0\.2"):

        class Other(Analysis):
            def reader(self, model, task, twin):
                return None

    class Mine(Task):
        floor: float = 0.1  # a setting of one's own

    assert Mine().floor == 0.1


def test_settings_and_keywords() -> None:
    with pytest.raises(UserError, match=r"Interface\.read_positions is output_positions since 0\.2"):
        Interface(read_positions=(2,), **FACE)
    with pytest.raises(UserError, match="choose_chunks is validation_chunks"):
        validated(entry("probe").load(), choose_chunks=1)
    with pytest.raises(UserError, match=r"read is output since 0\.2"):
        Run.patch(None, read="hop 2")  # pyright: ignore
    with pytest.raises(UserError, match="released is without_interventions"):
        importlib.import_module("interp").load("nowhere", released=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["patch", "run", "--read", "hop 2"],
        ["scores", "run", "--released"],
        ["circuit", "run", "--metric", "prediction_change"],
        ["circuit", "run", "--metric=prediction_change"],
    ],
)
def test_options_and_their_values(arguments, capsys) -> None:
    assert cli(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"since {SINCE}" in said


def test_columns_and_values_of_a_result() -> None:
    table = Result("scores", pd.DataFrame({"control": ["bayes_risk"], "value": [0.5]}), "Caption.").table
    with pytest.raises(KeyError, match="fell is first_loss"):
        table["fell"]
    with pytest.raises(KeyError, match="never"):
        table["never"]
    with pytest.raises(UserError, match="'floor' is 'bayes_risk'"):
        table.query("control == 'floor'")
    assert len(table.query("control == 'bayes_risk'")) == 1
    assert type(table[table["value"] > 0]) is pd.DataFrame


def test_the_metric() -> None:
    task = tasks.MultiHopRetrieval(symbols="discrete")
    pair = task.pair(task.pair_kinds[0], 0, "test", 0, 2)
    with pytest.raises(UserError, match="prediction_change is squared_output_distance"):
        metric_of(task, pair, "prediction_change", clean_outputs=torch.zeros(2, 1, 1))


def test_tables_of_older_formats_are_read_in_the_words_of_today() -> None:
    scores = pd.DataFrame({"control": ["none", "floor"], "value": [1.0, 0.5]})
    assert former.in_words(scores, "scores", 1)["control"].tolist() == ["none", "bayes_risk"]
    assert former.in_words(scores, "scores", former.FORMAT) is scores
    assert former.in_words(scores, "somebody's own", 1)["control"].tolist() == ["none", "floor"]
    roles = former.in_words(pd.DataFrame({"without_peers": [0.1]}), "roles", 2)
    assert list(roles.columns) == ["with_peers_ablated"]


def test_a_key_hashes_settings_under_their_former_names() -> None:
    """Keys typed from version 0.1: its tables are found under them."""
    assert build("patch", pair="swap-hop-1").key == "6d94ab78fafedd42"
    # a circuit's is another: it has had tests since 0.2
    assert build("probe").key == "698ad0abcc6b8a0d"


def test_a_circuit_of_schema_1_is_read() -> None:
    text = '{"edges": [["embed", "L0H1.v", 0.5]], "schema": 1, "settings": {"metric": "prediction_change"}}'
    circuit = Circuit.from_json(text)
    assert circuit.settings == {"metric": "squared_output_distance"}
    assert Circuit.from_json(circuit.to_json()) == circuit
