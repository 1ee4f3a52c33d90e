"""What a sweep says on the way and in the end."""

from __future__ import annotations

from typing import Any

from interp.cli import show
from interp.sweep.engine import SweepProgress
from interp.sweep.results import Sweep


def report_all(advance: Any, total: int) -> SweepProgress:
    """One bar for the whole, one for each run in progress; a run's bar disappears when the run is finished."""
    shown: dict[str, int] = {}

    def report(done: int, steps: dict[str, tuple[int, int]], failures: dict[str, str]) -> None:
        advance("runs", done, total)
        for name in [name for name in shown if name not in steps]:
            advance(name, shown[name], shown.pop(name))
        for name, (step, last) in steps.items():
            shown[name] = last
            advance(name, step, last)

    return report


def summary(found: Sweep, json: bool) -> int:
    """The summary, and exit code 1 when a run failed."""
    if json:
        document = {
            "sweep": str(found.path),
            "runs": [cell.name for cell in found.cells],
            "failures": dict(found.failures),
        }
        show.document(document)
    else:
        for name, reason in found.failures.items():
            show.note(f"failed: {name}: {reason}")
        done = found.plan.size - len(found.failures)
        show.note(
            f"{found.path}: {done} of {found.plan.size} runs done; tables: {', '.join(found.plan.analyses)}"
        )
    return 1 if found.failures else 0
