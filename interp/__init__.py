"""Algoscope: which algorithm does a small transformer run, which heads carry it, and in what order did they emerge?

Importing this package loads neither torch nor TransformerLens; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from interp._place import require
from interp._version import __version__ as __version__

require()

if TYPE_CHECKING:
    import probes
    import tasks
    from interp.adoption import adopt
    from interp.run import Run, load
    from interp.sweep.arrays import to_xarray
    from interp.sweep.compare import compare
    from interp.sweep.results import load_sweep
    from interp.train import Recorder
    from tasks.errors import UserError

_HOMES = {
    "Recorder": "interp.train",
    "Run": "interp.run",
    "UserError": "tasks.errors",
    "adopt": "interp.adoption",
    "compare": "interp.sweep.compare",
    "load": "interp.run",
    "load_sweep": "interp.sweep.results",
    "to_xarray": "interp.sweep.arrays",
}
__all__ = [
    "Recorder", "Run", "UserError", "adopt", "compare", "load", "load_sweep", "probes", "tasks", "to_xarray",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("tasks", "probes"):
        return import_module(name)
    if name in ("emergence", "explore"):  # packages that can be called: onsets of several runs, the live view
        return import_module(f"interp.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'interp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
