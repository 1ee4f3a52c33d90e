"""The licences of the pinned packages, as they state them themselves, as a Markdown table.

python -m tests.bench.licences > LICENCES.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

CONSTRAINTS = Path("constraints.txt")
LONGEST = 60


def main() -> None:
    """Print the table of `constraints.txt`."""
    sys.stdout.write("# Licences of the pinned packages\n\n")
    sys.stdout.write(
        "As each states it in its metadata; written by `python -m tests.bench.licences > LICENCES.md`.\n\n"
    )
    sys.stdout.write("| package | licence |\n| --- | --- |\n")
    for name in pinned(CONSTRAINTS):
        sys.stdout.write(f"| {name} | {licence(name)} |\n")


def pinned(path: Path) -> Iterator[str]:
    """Names in a constraints file, in its order."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line.split("==")[0].strip()


def licence(name: str) -> str:
    """What a package says of its licence: the SPDX expression, else classifiers, else the first words of the field."""
    try:
        facts = metadata(name)
    except PackageNotFoundError:
        return "not installed on this platform"
    if expression := facts.get_all("License-Expression"):
        return expression[0]
    kinds = [c.rpartition(" :: ")[2] for c in facts.get_all("Classifier") or [] if c.startswith("License ::")]
    named = [kind for kind in kinds if kind != "OSI Approved"]
    said = ", ".join(named) or (facts.get_all("License") or ["not stated"])[0].strip().split("\n")[0]
    return said.replace("|", "/")[:LONGEST]


if __name__ == "__main__":
    main()
