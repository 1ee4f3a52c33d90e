"""Readouts of layers: what can be decoded, which algorithm it is nearest to, and whether the model uses it.

What is listed in `__all__` is public, each name loaded when it is first used; the modules of this package are private.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.lazy import lazy

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

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
