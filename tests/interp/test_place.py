"""Where the package cannot run it says so in one line: other `tasks` and `probes`, Windows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from interp import _place

ROOT = Path(_place.__file__).parents[1]


def run(code: str, cwd: Path, first: Path, name: str = "-c") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(first), str(ROOT)])}
    if name != "-c":
        (cwd / name).write_text(code)
        words = [sys.executable, str(cwd / name), "--version"]
    else:
        words = [sys.executable, "-c", code]
    return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("package", ["tasks", "probes"])
@pytest.mark.parametrize("form", ["{}.py", "{}/__init__.py"])
def test_a_module_of_our_name_is_named_in_one_line(tmp_path, package: str, form: str) -> None:
    other = tmp_path / "other" / form.format(package)
    other.parent.mkdir(parents=True)
    other.write_text("")
    here = tmp_path / "here"
    here.mkdir()
    said = run("import interp", here, tmp_path / "other")
    last = said.stderr.strip().splitlines()[-1]
    assert said.returncode == 1
    assert last.startswith("ImportError: ")
    assert str(other) in last
    assert f"Algoscope's own package {package!r}" in last
    command = run("from interp.cli import main\nmain()\n", here, tmp_path / "other", name="interp")
    assert command.returncode == 2
    assert command.stderr.startswith(f"interp: {other} stands in the place of")
    assert len(command.stderr.splitlines()) == 1


def test_what_is_already_imported_counts(tmp_path) -> None:
    (tmp_path / "tasks.py").write_text("")
    said = run("import tasks, sys; sys.path.pop(0); import interp", tmp_path, tmp_path)
    assert str(tmp_path / "tasks.py") in said.stderr.splitlines()[-1]


def test_another_distribution_in_the_place_of_ours_is_told(tmp_path, monkeypatch) -> None:
    for name, files in {"tasks": ("__init__.py", "errors.py"), "probes": ("__init__.py",)}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text("")
    monkeypatch.setattr(_place, "HOME", tmp_path)
    monkeypatch.setitem(sys.modules, "tasks", None)
    monkeypatch.delitem(sys.modules, "tasks")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "is another distribution's 'tasks' (it has no base.py)" in _place.why_not()


def test_windows_is_refused_by_name(monkeypatch) -> None:
    assert _place.why_not() == ""
    monkeypatch.setattr(_place, "WINDOWS", True)
    with pytest.raises(ImportError, match=r"Windows is not supported .* use WSL"):
        _place.require()
    monkeypatch.setattr(sys, "argv", ["/usr/bin/interp", "runs"])
    with pytest.raises(SystemExit) as ended:
        _place.require()
    assert ended.value.code == 2
