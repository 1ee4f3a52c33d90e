"""Rules of the house that no tool checks: no long file, no name of a public class for two things."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

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
