"""The modules of other people's making that the tests adopt, and the task they are adopted on."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).parent
TASK = {"kind": "previous-token", "n": 8, "vocabulary": 13}


def _module(name: str):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


theirs = _module("modules")
odd = _module("odd_modules")
