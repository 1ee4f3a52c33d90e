"""Outputs shown in the README and the tutorial, taken from a run: commands are run, and what they print is put in.

    python docs/_ext/outputs.py [--folder DIR] [FILE ...]

A block that follows the line `<!-- run -->` is run: of a `console` block each line that begins with `$ `, of a
`python` block each line that begins with `>>> ` or `... `; all other lines are replaced by what came out. With
`<!-- run lines=12 -->` the first twelve lines of each output are shown. Blocks of a file share one folder and one
Python session; `--folder` keeps the folder, so that a second time finished runs are not trained again. A command
that fails stops it and nothing is written.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from code import InteractiveInterpreter
from doctest import DocTestParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = ("README.md", "docs/tutorial.md")
BLOCK = re.compile(r"(<!-- run(?: lines=(\d+))? -->\n```(console|python)\n)(.*?)(```\n)", flags=re.S)
ENVIRONMENT = {"NO_COLOR": "1", "COLUMNS": "100", "TERM": "dumb", "OMP_NUM_THREADS": "1"}


def shortened(text: str, most: int | None) -> str:
    """The first lines of an output, without trailing spaces."""
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    if most and len(lines) > most:
        lines = [*lines[:most], f"... {len(lines) - most} more lines"]
    return "\n".join(lines)


def console(block: str, most: int | None, folder: Path) -> str:
    """The block with the outputs of its commands. Raises CalledProcessError for one that fails."""
    out = []
    environment = (
        os.environ | ENVIRONMENT | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    )
    for command in re.findall(r"^\$ (.*(?:\\\n.*)*)$", block, flags=re.M):
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment, text=True, check=True, stdout=subprocess.PIPE
        )
        out += [f"$ {command}", shortened(done.stdout, most)]
    return "\n".join(part for part in out if part) + "\n"


class Strict(InteractiveInterpreter):
    """A Python session in which an error is raised, not printed."""

    def showtraceback(self) -> None:
        raise

    def showsyntaxerror(self, *names: object, **more: object) -> None:
        raise


def session(block: str, most: int | None, python: Strict) -> str:
    """The block with what each of its statements prints. Raises what a statement raises."""
    out = []
    for example in DocTestParser().get_examples(block):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            python.runsource(example.source, symbol="single")
        lines = example.source.rstrip("\n").splitlines()
        out += [
            f">>> {lines[0]}",
            *(f"... {line}" for line in lines[1:]),
            shortened(printed.getvalue(), most),
        ]
    return "\n".join(part for part in out if part) + "\n"


def taken(text: str, folder: Path) -> str:
    """A page with its outputs taken again."""
    python = Strict()

    def block(found: re.Match[str]) -> str:
        head, lines, language, body, tail = found.groups()
        most = int(lines) if lines else None
        new = console(body, most, folder) if language == "console" else session(body, most, python)
        return head + new + tail

    return BLOCK.sub(block, text)


def main() -> None:
    asked = argparse.ArgumentParser(description=textwrap.dedent(__doc__).splitlines()[0])
    asked.add_argument("files", nargs="*", default=FILES)
    asked.add_argument("--folder", type=Path)
    given = asked.parse_args()
    os.environ.update(ENVIRONMENT)
    for path in (ROOT / name for name in given.files):
        with tempfile.TemporaryDirectory() as temporary:
            folder = (given.folder or Path(temporary)).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            os.chdir(folder)
            path.write_text(taken(path.read_text(encoding="utf-8"), folder), encoding="utf-8")
            os.chdir(ROOT)


if __name__ == "__main__":
    main()
