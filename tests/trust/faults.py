"""A process in which trials run, and what is left of a run after one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.forked import Forked

NAMESPACE = ("unshare", "-Urm")


class Trials:
    """Speaks with one `trial.py`; `private`: it may mount, in a namespace of its own."""

    def __init__(self, forked: Forked, private: bool):
        self.private = private
        code = Path(__file__).with_name("trial.py").read_text()
        self.process = forked.start(code, *(["private"] if private else []), piped=True)

    def __call__(self, do: str, **job: Any) -> dict:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **job}, default=str) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def private_mounts() -> bool:
    """Whether a private user namespace with mounts of its own can be had here."""
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    return (
        subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode
        == 0
    )


def contents(path: Path, made_at: Path | None = None) -> dict[str, bytes]:
    """Every file that a run promises to write the same way twice; a page names the folder it was made in."""
    skipped = {"timing.jsonl", ".lock"}
    files = (f for f in path.rglob("*") if f.is_file() and f.name not in skipped)
    place = str(made_at or path).encode()
    return {str(f.relative_to(path)): f.read_bytes().replace(place, b"RUN") for f in files}


def assert_sound(trials: Trials, run: Path) -> str | None:
    found = trials("verify", out=run)
    assert found["code"] == 0, found
    assert found["value"]["problem"] is None
    return found["value"]["state"]


def row(record_property, what: str, tried: int, result: str, remark: str = "") -> None:
    found = {"section": "faults", "what": what, "tried": tried, "result": result, "remark": remark}
    record_property("trust", found)
