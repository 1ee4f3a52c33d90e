"""Rules of the house that no contract states: no circle of modules, no long file, no class name for two things."""

from __future__ import annotations

import ast
import graphlib
from collections import defaultdict
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = sorted(path for package in ("interp", "probes", "tasks") for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST = 300


def classes(source: str) -> list[str]:
    """Public classes at the top of a module."""
    found = [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    return [name for name in found if not name.startswith("_")]


def too_long(files: list[Path]) -> dict[str, int]:
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    return {name: lines for name, lines in lengths.items() if lines > LONGEST}


def twice(files: list[Path]) -> dict[str, list[str]]:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in files:
        for name in classes(path.read_text(encoding="utf-8")):
            homes[name].append(str(path))
    return {name: places for name, places in homes.items() if len(places) > 1}


def circle(imports: dict[str, set[str]]) -> list[str]:
    """A circle of imports, empty where there is none. A package counts as the module that its __init__ is."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_no_circle_of_modules_nor_of_a_package_and_its_own_module() -> None:
    graph = grimp.build_graph("interp", "probes", "tasks", cache_dir=None)  # every import, function-level too
    assert len(graph.modules) > 400
    assert circle({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []


@pytest.mark.parametrize(
    "own", ["from room.wall import BRICK", "def late():\n    from room.wall import BRICK"]
)
def test_a_package_that_imports_its_module_that_imports_it_is_a_circle(tmp_path, monkeypatch, own) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "__init__.py").write_text(own + "\nNAME = 1\n")
    (tmp_path / "room" / "wall.py").write_text("from room import NAME\nBRICK = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    graph = grimp.build_graph("room", cache_dir=None)
    found = circle({module: graph.find_modules_directly_imported_by(module) for module in graph.modules})
    assert set(found) == {"room", "room.wall"}


def test_no_file_is_long() -> None:
    assert len(SHIPPED) > 200
    assert len(TESTS) > 200
    assert too_long([*SHIPPED, *TESTS]) == {}


def test_no_two_public_classes_have_one_name() -> None:
    assert twice(SHIPPED) == {}


def test_the_rules_find_what_breaks_them(tmp_path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("class Row: ...\nclass _Own: ...\n" + "\n" * LONGEST)
    two.write_text("class Row: ...\nclass _Own: ...\n")
    assert list(too_long([one, two])) == [str(one)]
    assert list(twice([one, two])) == ["Row"]
