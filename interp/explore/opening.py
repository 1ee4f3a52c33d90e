"""Opening a view: `run.explore()`, `interp.explore(run, other)`; one clear line where the extra is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from interp.runs.checkpoints import Checkpoints
from tasks import UserError

if TYPE_CHECKING:
    from interp.explore.view import View

LACKING = "the live view needs anywidget, which is not installed: pip install 'algoscope[widget]'"


def explore(
    run: Checkpoints,
    other: Checkpoints | None = None,
    *,
    step: Any = "last",
    prompts: int = 64,
    seed: int = 0,
) -> View:
    """The live view of a run, or of two with the same task: see `interp.Run.explore`."""
    for asked in (run, *([] if other is None else [other])):
        if not isinstance(asked, Checkpoints):
            raise UserError(f"explore takes runs (interp.load), not {type(asked).__name__}")
    if find_spec("anywidget") is None:
        raise UserError(LACKING)
    from interp.explore.session import Session
    from interp.explore.view import View

    return View(Session(run, other, step=step, prompts=prompts, seed=seed))
