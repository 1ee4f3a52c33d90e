"""The tools of the reference site that need no Sphinx: dead links are found, outputs are taken and shortened."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parent.parent / "docs" / "_ext"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{name}", TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_dead_links_and_dead_anchors_are_found(tmp_path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="top"></h1><a href="b.html#here">1</a><a href="#top">2</a><a href="https://example.org">3</a>'
        '<img src="no.png"><a href="b.html#gone">4</a><link href="style.css?v=1">'
    )
    (tmp_path / "b.html").write_text('<p id="here"></p>')
    (tmp_path / "style.css").write_text("")
    assert tool("links").dead(tmp_path) == ["a.html: b.html#gone", "a.html: no.png"]


PAGE = """Text.

<!-- run lines=2 -->
```console
$ printf 'a\\nb\\nc\\n'
old
```

<!-- run -->
```python
>>> x = 2
>>> x + 1
old
```
"""


def test_outputs_are_taken_again_and_shortened(tmp_path) -> None:
    found = tool("outputs").taken(PAGE, tmp_path)
    assert "$ printf 'a\\nb\\nc\\n'\na\nb\n... 1 more lines\n```" in found
    assert ">>> x = 2\n>>> x + 1\n3\n```" in found
    assert "old" not in found
    assert tool("outputs").taken(found, tmp_path) == found, "a second time changes nothing"


@pytest.mark.parametrize(
    ("page", "error"),
    [
        (PAGE.replace("printf", "exit 3;"), subprocess.CalledProcessError),
        (PAGE.replace("x + 1", "y"), NameError),
    ],
)
def test_a_command_or_statement_that_fails_is_an_error(tmp_path, page, error) -> None:
    with pytest.raises(error):
        tool("outputs").taken(page, tmp_path)
