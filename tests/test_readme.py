"""What the README shows works as it stands there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_your_own_task_in_under_ten_lines(tmp_path, monkeypatch) -> None:
    from interp import Run

    (code,) = [block for block in _blocks("python") if "tasks.register" in block]
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith("import")]
    assert len(lines) < 10
    path = tmp_path / "own_task.py"
    path.write_text("from __future__ import annotations\n" + code)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("own_task")
    model = {"kind": "transformer", "n_layers": 1, "n_heads": 2, "d_model": 8}
    run = Run.train(
        {"task": {"kind": "running-mean"}, "model": model, "train": {"steps": 4, "batch": 8, "lr": 1e-3}},
        tmp_path / "run",
    )
    assert len(run.scores("last").table) == 8


def test_the_file_tree_names_what_is_there() -> None:
    root = Path(__file__).parent.parent
    (tree,) = re.findall(r"## File tree\n\n(.*?)\n## ", README, flags=re.S)
    rooms = {path.name for path in (root / "interp").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= set(re.findall(r"(\w+)/", tree)), "a room is missing from the README's tree"
    for name in re.findall(r"^    ([\w.]+)/", tree, flags=re.M):
        assert (root / name).is_dir(), name


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^    interp (\w+)", README, flags=re.M))))
def test_the_commands_exist(command) -> None:
    from interp.cli import COMMANDS

    assert any(command in group for group in COMMANDS.values()), command


def test_the_sweep_plan_is_a_plan(tmp_path) -> None:
    from interp.sweep.plan import cells, read_plan

    (plan,) = _blocks("toml")
    (tmp_path / "sweep.toml").write_text(plan)
    assert len(cells(read_plan(str(tmp_path / "sweep.toml"), {}))) == 32
