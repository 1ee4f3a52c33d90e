"""Whether the package can run here: a system that it supports, and `tasks` and `probes` that are its own.

Asked once, when `interp` is imported; imports nothing heavy. A module or another distribution of the name `tasks` (PyPI
has one) would otherwise show as a missing `tasks.base` somewhere deep.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

WINDOWS = os.name == "nt"
HOME = Path(__file__).resolve().parent.parent
NEIGHBOURS = {"tasks": ("base.py", "errors.py"), "probes": ("stats.py", "tables.py")}  # what is in ours


def why_not() -> str:
    """Why the package cannot run here, in one line; empty where it can."""
    if WINDOWS:
        return "Windows is not supported (folders are locked and files replaced as on Unix); use WSL, Linux or macOS"
    return next((line for name in NEIGHBOURS if (line := _shadowed(name))), "")


def _shadowed(name: str) -> str:
    """What stands in the place of one of our packages; empty where nothing does."""
    module = sys.modules.get(name)
    try:
        spec = module.__spec__ if module is not None else importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    found = getattr(module, "__file__", None) or (spec.origin if spec is not None else None)
    if found is None and spec is not None and spec.submodule_search_locations:
        found = next(iter(spec.submodule_search_locations), None)  # a folder without __init__.py
    if found is None:
        return f"the package {name!r}, which comes with Algoscope, is not there; install it again"
    own = HOME / name / "__init__.py"
    if Path(found).resolve() != own.resolve():
        how = "rename it, or take its folder off the path"
        return f"{found} stands in the place of Algoscope's own package {name!r} ({own}): {how}"
    if lacking := [file for file in NEIGHBOURS[name] if not (HOME / name / file).exists()]:
        how = "uninstall that and install Algoscope again, in an environment of its own"
        return f"{own} is another distribution's {name!r} (it has no {lacking[0]}): {how}"
    return ""


def require() -> None:
    """Raises ImportError where the package cannot run; the command `interp` says so in one line and exits with 2."""
    why = why_not()
    if not why:
        return
    if Path(sys.argv[0]).name in ("interp", "interp.exe"):
        print(f"interp: {why}", file=sys.stderr)
        raise SystemExit(2)
    raise ImportError(why)
