"""Readouts of layers: what can be decoded, which algorithm it is nearest to, and whether the model uses it.

What is listed in `__all__` is public, each name loaded when it is first used; the modules of this package are private.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.readouts.algorithms import AlgorithmMatch
    from interp.readouts.filter_curves import FilterCurves
    from interp.readouts.preconditioners import Preconditioners, task_covariance
    from interp.readouts.probe_interventions import ProbeInterventions
    from interp.readouts.reach import first_readable
    from interp.readouts.readouts import Readouts
    from interp.readouts.shift import shifted
    from interp.readouts.target_readouts import TargetReadouts

_HOMES = {
    "algorithms": ("AlgorithmMatch",),
    "filter_curves": ("FilterCurves",),
    "preconditioners": ("Preconditioners", "task_covariance"),
    "probe_interventions": ("ProbeInterventions",),
    "reach": ("first_readable",),
    "readouts": ("Readouts",),
    "shift": ("shifted",),
    "target_readouts": ("TargetReadouts",),
}
_HOME_OF = {name: f"interp.readouts.{home}" for home, names in _HOMES.items() for name in names}
__all__ = [
    "AlgorithmMatch",
    "FilterCurves",
    "Preconditioners",
    "ProbeInterventions",
    "Readouts",
    "TargetReadouts",
    "first_readable",
    "shifted",
    "task_covariance",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'interp.readouts' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
