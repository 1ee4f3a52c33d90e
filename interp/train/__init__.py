"""Training and the run folder. Names load on first use, so that importing the package stays cheap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.train.loop import Diverged, Interrupted, resume, train
    from interp.train.recorder import Recorder
    from interp.train.runs import RunFolder

_HOMES = {
    "Diverged": "loop",
    "Interrupted": "loop",
    "Recorder": "recorder",
    "RunFolder": "runs",
    "resume": "loop",
    "train": "loop",
}
__all__ = ["Diverged", "Interrupted", "Recorder", "RunFolder", "resume", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
