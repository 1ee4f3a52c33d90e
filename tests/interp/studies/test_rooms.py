"""The rooms of the studies: the same few file names in each, files that can be read at once, no name for two things."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import interp
from interp import studies
from interp.studies import STUDIES

ROOM = Path(studies.__file__).parent
KINDS = ("claims", "runs", "measure", "rows", "theory", "figures", "study")
LONGEST = 300


def files() -> list[Path]:
    return sorted(ROOM.rglob("*.py"))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_the_same_few_file_names(name):
    room = ROOM / STUDIES[name].split(".")[2]
    names = {path.stem for path in room.glob("*.py")} - {"__init__"}
    assert {"claims", "runs", "rows", "study"} <= {stem.partition("_")[0] for stem in names}
    assert {stem.partition("_")[0] for stem in names} <= set(KINDS)


def test_files_are_short():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in files()}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


def test_a_class_of_a_study_has_a_name_of_its_own():
    """Across the whole package: a Budget or Net of one study is not to be taken for that of another."""
    found: Counter[str] = Counter()
    own: set[str] = set()
    for path in Path(interp.__file__).parent.rglob("*.py"):
        names = {
            n.name for n in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(n, ast.ClassDef)
        }
        found.update(names)
        own |= names if ROOM in path.parents else set()
    assert {name for name in own if found[name] > 1} == set()
