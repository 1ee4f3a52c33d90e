"""Emergence: curves over checkpoints, their onsets with intervals, and the order of events over seeds.

What is listed in `__all__` is public, each name loaded when it is first used; the modules of this package are private.
The package itself can be called: `interp.emergence(runs)` gives the onsets of several runs with limits over seeds.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tasks.lazy import lazy

if TYPE_CHECKING:
    from interp.emergence.curriculum import (
        censored_median,
        drops,
        events,
        lead_time,
        order,
        precedence,
        survival,
    )
    from interp.emergence.curves import crossing, fit_logistic, unimodal
    from interp.emergence.dating import date_curves, date_edges
    from interp.emergence.draws import CurveDraws
    from interp.emergence.emergence import emergence_table
    from interp.emergence.onset import Onset
    from interp.emergence.overlaps import Overlaps
    from interp.emergence.phase_diagram import phase_table
    from interp.emergence.rises import rise_p_value
    from interp.emergence.scores import Scores
    from interp.emergence.strategies import stages
    from interp.emergence.trajectories import joint_components

_HOMES = {
    "curriculum": ("censored_median", "drops", "events", "lead_time", "order", "precedence", "survival"),
    "curves": ("crossing", "fit_logistic", "unimodal"),
    "dating": ("date_curves", "date_edges"),
    "draws": ("CurveDraws",),
    "emergence": ("emergence_table",),
    "onset": ("Onset",),
    "overlaps": ("Overlaps",),
    "phase_diagram": ("phase_table",),
    "rises": ("rise_p_value",),
    "scores": ("Scores",),
    "strategies": ("stages",),
    "trajectories": ("joint_components",),
}
__all__ = [
    "CurveDraws",
    "Onset",
    "Overlaps",
    "Scores",
    "censored_median",
    "crossing",
    "date_curves",
    "date_edges",
    "drops",
    "emergence_table",
    "events",
    "fit_logistic",
    "joint_components",
    "lead_time",
    "order",
    "phase_table",
    "precedence",
    "rise_p_value",
    "stages",
    "survival",
    "unimodal",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)


class _Several(ModuleType):
    """This package as a module that can be called with runs, as `interp.compare` is."""

    def __call__(self, runs: Any, steps: Any = "all", **settings: Any) -> Any:
        """Median onsets over several runs: see `interp.sweep.compare.emergence`."""
        return import_module("interp.sweep.compare").emergence(runs, steps, **settings)


sys.modules[__name__].__class__ = _Several
