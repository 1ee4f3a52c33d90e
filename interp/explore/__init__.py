"""The live view of a run in a notebook: a slider over checkpoints, heads and edges to ablate or patch, own prompts.

The package can be called: `interp.explore(run, other)` is `run.explore(other)`. Everything that the view shows is
computed in `interp.explore.session` and the modules it stands on, which know no notebook; `interp.explore.view` gives
it to anywidget, and `assets/` draws it. Nothing here is loaded before it is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Opened(ModuleType):
    """This package as a module that can be called with a run."""

    def __call__(self, run: Any, other: Any = None, **settings: Any) -> Any:
        """The live view of one run, or of two side by side: see `interp.Run.explore`."""
        return import_module("interp.explore.opening").explore(run, other, **settings)


sys.modules[__name__].__class__ = _Opened
