"""A script that sweeps without a main guard gets one line, before any worker is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from interp.sweep import engine, guard
from interp.sweep.plan import SweepPlan

ROOT = Path(guard.__file__).parents[2]
CALL = "from interp.sweep.guard import require\ndef go():\n    require()\n    print('went on')\n"
SCRIPTS = {
    "bare": (CALL + "go()\n", False),
    "in a loop": (CALL + "for seed in range(2):\n    go()\n", False),
    "under another condition": (CALL + "if True:\n    go()\n", False),
    "guarded": (CALL + "if __name__ == '__main__':\n    go()\n", True),
    "guarded the other way": (CALL + "if '__main__' == __name__:\n    x = 1\n    go()\n", True),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(tmp_path, name: str) -> None:
    text, fine = SCRIPTS[name]
    script = tmp_path / "mine.py"
    script.write_text(text)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True)
    if fine:
        assert (said.returncode, said.stdout, said.stderr) == (0, "went on\n", "")
        return
    assert said.returncode == 2
    assert len(said.stderr.splitlines()) == 1
    assert said.stderr.startswith(f"interp: {script}, line ")
    assert '`if __name__ == "__main__":`' in said.stderr


def test_a_sweep_asks_before_it_starts_workers(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(guard, "unguarded", lambda: "mine.py, line 3: no guard")
    monkeypatch.setattr(engine, "client_of", lambda *_: pytest.fail("workers were started"))
    plan = SweepPlan.model_validate({"config": "retrieval", "seeds": [0], "analyses": ["scores"]})
    with pytest.raises(SystemExit):
        engine.run_sweep(plan, tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()
