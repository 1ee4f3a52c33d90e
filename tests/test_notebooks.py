"""Notebooks: none keeps outputs in the repository, and each runs from its first cell to its last.

`make test` runs the first; `make docs` executes all of them for the site and fails where one does, `-m notebook` here
does so at small settings.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def _code(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_notebook_keeps_outputs(path) -> None:
    assert _code(path)
    assert not any(cell.outputs or cell.execution_count for cell in _code(path)), "strip outputs: nbstripout"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "path",
    [NOTEBOOKS[0], *(pytest.param(path, marks=pytest.mark.notebook) for path in NOTEBOOKS[1:])],
    ids=lambda path: path.stem,
)
def test_notebook_runs(path, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ALGOSCOPE_SMALL", "1")
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert all(cell.execution_count for cell in code if cell.source.strip())


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
