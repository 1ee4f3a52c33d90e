"""The built wheel works by itself: installed into an empty place, it trains, reports and runs a study."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.test_recipes import FILES

ROOT = Path(__file__).parent.parent
SMALL = ["model.n_layers=1", "model.n_heads=2", "model.d_model=8", "train.batch=8", "train.eval_batch=32"]
COMMANDS = [
    ["train", "retrieval", "--out", "runs/first", "--steps", "2", "--set", *SMALL],
    ["report", "runs/first", "-o", "page.html"],
    ["study", "my-paper", "--out", "studies"],
]
TYPED = """
import json, sys
for name in [each for each in sys.modules if each.split(".")[0] in ("interp", "probes", "tasks")]:
    del sys.modules[name]  # those of the checkout
import interp
from interp.cli import run
from interp.studies import STUDIES
STUDIES["my-paper"] = "interp.studies.my_paper.study"
if __name__ == "__main__":  # workers of the study read it, too
    for words in json.loads(sys.argv[1]):
        assert run(words) == 0, words
    print("AT", interp.__file__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The wheel, built without a network and unpacked as pip does it for a pure package."""
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place / "dist")],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = (place / "dist").glob("*.whl")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        "--no-compile",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "--target", str(place / "site"), str(wheel)], check=True, timeout=120)
    return place / "site"


def test_the_wheel_trains_reports_and_runs_a_study_in_an_empty_folder(forked, installed, tmp_path) -> None:
    for name, text in FILES.items():
        if name.startswith("my_paper/"):  # the study of the recipe: one that takes seconds
            path = installed / "interp" / "studies" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    told = {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    done = forked(TYPED, json.dumps(COMMANDS), cwd=tmp_path, env=told, path=[installed])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"AT {installed}" in done.stdout, "the checkout was run, not the wheel"
    assert "<html" in (tmp_path / "page.html").read_text(encoding="utf-8")[:500]
    assert json.loads((tmp_path / "studies" / "my-paper" / "ledger-quick.json").read_text())["claims"]


def test_the_wheel_holds_what_is_not_python(installed) -> None:
    shipped = [
        path.relative_to(ROOT)
        for kind in ("*.toml", "*.js", "*.css", "*.j2", "*.json", "*.tsv", "py.typed")
        for package in ("interp", "probes", "tasks")
        for path in (ROOT / package).rglob(kind)
    ]
    assert len(shipped) > 20
    assert [str(path) for path in shipped if not (installed / path).exists()] == []


def test_the_wheel_is_small(installed) -> None:
    (wheel,) = (installed.parent / "dist").glob("*.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(("tests/", "docs/"))]
    assert wheel.stat().st_size < 3_000_000
