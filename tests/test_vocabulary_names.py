"""Public names keep to the field's terms: classes, functions, parameters, fields, columns of tables and options.

A name is split into its words; `AVOID` lists those of this project's own making with what to write instead, `ALLOWED`
the names that stay, each with its reason. What texts say is in `test_vocabulary`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from interp.analysis.registry import entries
from interp.cli import COMMANDS
from interp.cli import run as cli

ROOT = Path(__file__).parent.parent
AVOID = {
    "twin": "untrained", "law": "distribution", "floor": "bayes_risk, minimum", "decoy": "distractor",
    "wired": "constructed", "wiring": "construction", "graft": "transplant", "donor": "source_model",
    "worth": "ablation_effect", "said": "sentence, description", "told": "reported", "arm": "condition",
    "released": "without_interventions", "reader": "accumulator", "reads": "outputs, output_positions",
    "beside": "compared, against", "alarm": "false_positive", "looks": "attended", "pays": "attends",
    "anew": "again", "maimed": "dropped", "screened": "estimated", "ours": "project", "peer": "baseline",
    "choose": "validation", "fell": "first_loss",
}  # fmt: skip
ALLOWED = {
    ("clamp.py", "donor"): "a key of `train.clamps`, which enters the settings' hash",
    ("clamp.py", "donor_site"): "the same",
    ("clamp.py", "donor_step"): "the same",
    ("clamp.py", "donor_weights"): "the same",
    ("covariates.py", "law"): "values of a setting of the task, which enters the settings' hash",
    ("covariates.py", "Law"): "the same",
    ("regression.py", "law"): "the setting",
    ("results.py", "besides"): "in addition to",
    ("roles", "with_peers_ablated"): "peers are heads of the same role",
}


def _words(name: str) -> set[str]:
    found = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return {word.lower() for word in found} | {word.lower().removesuffix("s") for word in found}


def _public(node: ast.AST) -> Iterator[str]:
    """Names of classes, functions, their parameters, fields and constants that do not begin with an underscore."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            if child.name.startswith("_") and not child.name.startswith("__"):
                continue
            yield child.name
            if isinstance(child, ast.ClassDef):
                yield from _public(child)
            else:
                given = child.args
                yield from (arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs))
        elif isinstance(child, ast.AnnAssign) and isinstance(child.target, ast.Name):
            yield child.target.id
        elif isinstance(child, ast.Assign):
            yield from (target.id for target in child.targets if isinstance(target, ast.Name))


def _python() -> Iterator[tuple[str, str]]:
    for path in sorted(
        path for room in ("interp", "probes", "tasks") for path in (ROOT / room).rglob("*.py")
    ):
        for name in _public(ast.parse(path.read_text(encoding="utf-8"))):
            if not name.startswith("_"):
                yield path.name, name


def _columns() -> Iterator[tuple[str, str]]:
    for entry in entries():
        yield from ((entry.name, column) for column in entry.columns)


def _options(capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, str]]:
    for name in (name for group in COMMANDS.values() for name in group):
        assert cli([name, "--help"]) == 0
        yield from ((name, option) for option in re.findall(r"--([a-z][a-z-]+)", capsys.readouterr().out))


def _offences(names: Iterator[tuple[str, str]]) -> list[str]:
    return [
        f"{where}: {name} (write: {AVOID[word]})"
        for where, name in names
        if (where, name) not in ALLOWED
        for word in sorted(_words(name) & AVOID.keys())
    ]


@pytest.mark.parametrize("names", [_python, _columns], ids=["python", "columns"])
def test_names_keep_to_the_vocabulary(names) -> None:
    found = list(names())
    assert len(found) > 100, "the names were not found"
    assert not _offences(iter(found)), "\n".join(_offences(iter(found)))


def test_options_keep_to_the_vocabulary(capsys) -> None:
    found = list(_options(capsys))
    assert len(found) > 50
    assert not _offences(iter(found)), "\n".join(_offences(iter(found)))


@pytest.mark.parametrize(
    "name",
    ["untrained_twin", "HeadReader", "by_reads", "--released", "ours_ms", "armOf"],
)
def test_old_names_are_found(name) -> None:
    assert _offences(iter([("here", name)]))


@pytest.mark.parametrize("name", ["read_table", "outlaw", "readout", "alarming", "hours", "with_head"])
def test_other_names_are_left_alone(name) -> None:
    assert not _offences(iter([("here", name)]))
