"""Notebooks, executed: the copies of notebooks/*.ipynb that the site shows, with their outputs.

    python docs/_ext/execute.py [--workers 2]

Copies lie in docs/generated/notebooks, each with a key over the notebook and all code of the packages; what has not
changed is not run again. Executing all nine takes minutes, so `make docs` alone does it.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "generated" / "notebooks"
# plotly's figures ask for MathJax on the web, which none of them uses
FROM_THE_WEB = re.compile(r"<script[^>]*src=[\"']https?://[^>]*></script>")
CODE = ("*.py", "*.toml", "*.js", "*.css", "*.j2")


def fingerprint() -> str:
    """A hash over the code of the three packages."""
    found = hashlib.sha256()
    for package in ("interp", "probes", "tasks"):
        for path in sorted(path for kind in CODE for path in (ROOT / package).rglob(kind)):
            found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def execute(path: Path, code: str) -> str:
    """Run one notebook and keep its copy; gives what was done, in a line."""
    key = hashlib.sha256(path.read_bytes() + code.encode()).hexdigest()
    copy, note = OUT / path.name, OUT / f"{path.stem}.key"
    if copy.exists() and note.exists() and note.read_text() == key:
        return f"{path.stem}: up to date"
    begun = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": folder}}).execute()
    nbformat.write(without_blanks(notebook), copy)
    note.write_text(key)
    return f"{path.stem}: {time.monotonic() - begun:.0f} s"


def without_blanks(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without outputs that show nothing (a progress bar leaves them) and without scripts from the web."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [found for found in cell.outputs if not blank(found)]
            for found in cell.outputs:
                page = found.get("data", {}).get("text/html")
                if page:
                    found.data["text/html"] = FROM_THE_WEB.sub("", page)
    return notebook


def blank(output: nbformat.NotebookNode) -> bool:
    data = output.get("data", {})
    return (
        output.output_type == "display_data"
        and set(data) == {"text/plain"}
        and not data["text/plain"].strip()
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--workers", type=int, default=2)
    OUT.mkdir(parents=True, exist_ok=True)
    code = fingerprint()
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    for old in OUT.glob("*.ipynb"):
        if old.name not in {path.name for path in notebooks}:
            old.unlink()
    with ThreadPoolExecutor(asked.parse_args().workers) as pool:
        for line in pool.map(lambda path: execute(path, code), notebooks):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
