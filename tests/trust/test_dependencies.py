"""The tested environment is pinned to the last package, and the licence of each is written down."""

from __future__ import annotations

import re
from importlib.metadata import distribution, distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+]+)")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            pin = PIN.fullmatch(line.split(";")[0].strip())
            assert pin, f"constraints.txt: {line!r} pins no one version"
            found[normal(pin[1])] = pin[2]
    return found


def test_nothing_is_unpinned():
    """Every package that the project asks for, and all that those ask for here, stands in the constraints."""
    pinned, seen, todo = pins(), set(), ["algoscope"]
    extras = {"algoscope": {"dev", "docs", "widget"}}
    installed = {normal(found.name) for found in distributions()}
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        for text in distribution(name).requires or []:
            need, _, marker = text.partition(";")
            wanted = re.findall(r"extra\s*==\s*['\"]([^'\"]+)", marker)
            if wanted and not extras.get(name, set()) & set(wanted):
                continue
            child = normal(re.match(r"[A-Za-z0-9._-]+", need.strip())[0])  # type: ignore[index]
            if child in installed:
                todo.append(child)
    assert sorted(seen - {"algoscope"} - set(pinned)) == []


def test_the_licence_list_names_every_pinned_package():
    """LICENCES.md is what its command writes: a package added to the constraints must be added there."""
    listed = {
        line.split("|")[1].strip() for line in (ROOT / "LICENCES.md").read_text().splitlines() if "|" in line
    }
    assert {normal(name) for name in listed} >= set(pins())
