"""Start-up of the package and the command line: help loads nothing heavy, and the packages beside it are its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from interp.cli import COMMANDS


def _modules(code: str) -> set[str]:
    program = f"{code}\nimport sys; print(*sorted(m for m in sys.modules if '.' not in m))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return set(out.splitlines()[-1].split())


def test_import_and_help_load_nothing_heavy() -> None:
    heavy = {"torch", "transformer_lens", "pandas", "plotly", "transformers", "pydantic", "scipy"}
    assert not heavy & _modules("import interp")
    assert not heavy & _modules("from interp.cli import run; run(['--help'])")


def test_help_of_every_command_loads_nothing_heavy() -> None:
    heavy = {"torch", "transformer_lens", "pandas", "pyarrow", "plotly", "transformers", "pydantic", "scipy"}
    commands = [name for group in COMMANDS.values() for name in group] + [
        "import garg",
        "import plain",
        "import hf",
    ]
    asked = f"from interp.cli import run; [run([*words.split(), '--help']) for words in {commands}]"
    assert not heavy & _modules(asked)


def test_siblings_are_ours() -> None:
    from pathlib import Path

    import interp
    from interp import probes, tasks

    home = Path(interp.__file__).parent.parent
    assert Path(tasks.__file__).parent == home / "tasks"
    assert Path(probes.__file__).parent == home / "probes"
    with pytest.raises(AttributeError, match="nonsense"):
        _ = interp.nonsense
