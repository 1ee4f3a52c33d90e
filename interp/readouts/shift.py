"""Prompts of another distribution than a run was trained on: scaled x, scaled w, another spectrum, noise, longer
prompts.

Owns: which settings of a regression task may change (those that leave the tokens' form alone) and the task that
results. Readouts are fitted on the run's own distribution and scored on the other, so a score says what holds of the
same readout, not what another readout could find.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks import Task, UserError
from tasks.base import build, settings_of
from tasks.complaints import nearest
from tasks.regression import InContextRegression

MOVABLE = (
    *("n", "x_scale", "weight_scale", "kappa", "eigenvalues", "basis", "basis_seed", "noise", "prior", "law"),
    *("gamma", "target", "hidden"),
)


def shifted(task: Task, changes: Mapping[str, Any]) -> InContextRegression:
    """The task with `changes` to its settings. A new `kappa` without a basis turns each prompt's spectrum its own way.

    Raises UserError for another kind of task, a setting that is unknown or may not change, or a value out of range.
    """
    if not isinstance(task, InContextRegression):
        raise UserError(f"prompts are shifted on regression runs only, not on task {task.kind!r}")
    for name in changes:
        if name not in MOVABLE:
            raise UserError(f"shift: {name!r} cannot change{nearest(name, MOVABLE)}")
    changes = dict(changes)
    if "kappa" in changes and "eigenvalues" not in changes:
        changes = {"eigenvalues": (), "basis": "prompt", **changes}
    if task.layout == "merged" and changes.get("n", task.n) != task.n:
        raise UserError(f"shift: prompts of merged tokens are read at their end only, so n stays {task.n}")
    found = build({**settings_of(task), **changes})
    assert isinstance(found, InContextRegression)
    return found
