"""What the README and the recipes show works as it stands there, and leaves out nothing that is in the registry."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

from interp.analysis.registry import SHIPPED

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {"README.md": README} | {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if "_build" not in path.parts and "generated" not in path.parts
}
COMMANDS = {
    command
    for text in PAGES.values()
    for command in re.findall(r"^(?:    |\$ )interp (\w+)", text, flags=re.M)
}


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], flags=re.S)


def test_your_own_task_in_under_ten_lines(tmp_path, monkeypatch) -> None:
    from interp import Run

    (code,) = [block for block in _blocks("docs/recipes/own-task.md", "python") if "running-mean" in block][
        :1
    ]
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


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 160


def test_the_file_tree_names_what_is_there() -> None:
    (tree,) = re.findall(r"## File tree\n\n(.*?)\n## ", README, flags=re.S)
    rooms = {path.name for path in (ROOT / "interp").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= set(re.findall(r"(\w+)/", tree)), "a room is missing from the README's tree"
    for name in re.findall(r"^    ([\w.]+)/", tree, flags=re.M):
        assert (ROOT / name).is_dir(), name


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_commands_exist(command) -> None:
    from interp.cli import COMMANDS as KNOWN

    assert any(command in group for group in KNOWN.values()), command


def test_the_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page, text in PAGES.items():
        for target in re.findall(r"(?:^    |`)make ([a-z]+)\b", text, flags=re.M):
            assert re.search(rf"^{target}:", makefile, flags=re.M), f"{page}: make {target}"


def test_the_sweep_plan_is_a_plan(tmp_path) -> None:
    from interp.sweep.plan import cells, read_plan

    (plan,) = _blocks("docs/recipes/sweep.md", "toml")
    (tmp_path / "sweep.toml").write_text(plan)
    assert len(cells(read_plan(str(tmp_path / "sweep.toml"), {}))) == 32


def test_every_analysis_is_in_the_table_and_on_a_page() -> None:
    (table,) = re.findall(r"\n## Analyses\n(.*?)\n## ", README, flags=re.S)
    estimators = "\n".join(text for page, text in PAGES.items() if page.startswith("docs/estimators/"))
    for entry in SHIPPED:
        assert f"`{entry.name}`" in table, f"README: no row for {entry.name}"
        assert f"`{entry.name}`" in estimators, f"docs/estimators: no page for {entry.name}"


def test_every_notebook_is_listed() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        assert f"`{path.stem}`" in README
        opening = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
        assert opening.startswith("# "), f"{path.name} begins with its title"


def test_links_work_outside_the_repository() -> None:
    """A README is read on package indexes, too: besides its picture it links to nothing that lies in the repository."""
    links = re.findall(r"\]\(([^)\s]+)\)", README)
    assert [link for link in links if not link.startswith("https://")] == ["notebooks/report.png"]
    assert (ROOT / "notebooks" / "report.png").is_file()


@pytest.mark.parametrize("page", sorted(page for page in PAGES if page != "README.md"))
def test_links_between_pages_lead_somewhere(page) -> None:
    for link in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", PAGES[page], flags=re.S)):
        if link.startswith("http") or "generated/" in link:
            continue
        assert (ROOT / page).parent.joinpath(link).exists(), f"{page}: {link}"


def test_outputs_are_shown() -> None:
    """Blocks whose outputs are taken from a run hold some (docs/_ext/outputs.py)."""
    for page in ("README.md", "docs/tutorial.md"):
        for block in re.findall(r"<!-- run.*? -->\n```\w+\n(.*?)```", PAGES[page], flags=re.S):
            lines = [line for line in block.splitlines() if not line.startswith(("$ ", ">>> ", "... "))]
            assert lines, f"{page}: nothing is shown after {block.splitlines()[0]!r}"
