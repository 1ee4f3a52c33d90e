"""The packages are typed for those who use them: a type checker knows the settings of every question to a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ASKED = """\
import interp

run = interp.load("runs/demo/retrieval")
run.patch(prompst=8)
run.patch(prompts="eight")
run.emergence(of="skils")
run.circuit(search="prun")
run.patch("head_out", by=("layer", "head"), prompts=8, steps="last")
run.emergence(of="edges").table.head()
run.roles(prompts=64, kind="zero")
run.measure("overlaps")
"""
WRONG = {4: "prompst", 5: "eight", 6: "skils", 7: "prun"}


def test_a_checker_refuses_wrong_settings_and_takes_right_ones(tmp_path: Path) -> None:
    (tmp_path / "asked.py").write_text(ASKED)
    house = {"extraPaths": [str(ROOT)], "useLibraryCodeForTypes": False, "reportMissingTypeStubs": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(house))
    call = [
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "-p",
        str(tmp_path),
    ]
    done = subprocess.run(call, capture_output=True, text=True, timeout=500, check=False)
    told = json.loads(done.stdout)["generalDiagnostics"]
    found = {each["range"]["start"]["line"] + 1: each["message"] for each in told}
    assert sorted(found) == sorted(WRONG), found
    assert all(word in found[line] for line, word in WRONG.items())


def test_the_packages_say_that_they_are_typed() -> None:
    assert all((ROOT / package / "py.typed").exists() for package in ("interp", "probes", "tasks"))
