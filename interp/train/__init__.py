"""Training and the run folder. Names load on first use, so that importing the package stays cheap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.runs.folder import RunFolder
    from interp.runs.recorder import Recorder
    from interp.train.loop import Diverged, Interrupted, resume, train

_HOMES = {
    "Diverged": "interp.train.loop",
    "Interrupted": "interp.train.loop",
    "Recorder": "interp.runs.recorder",
    "RunFolder": "interp.runs.folder",
    "resume": "interp.train.loop",
    "train": "interp.train.loop",
}
__all__ = ["Diverged", "Interrupted", "Recorder", "RunFolder", "resume", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
