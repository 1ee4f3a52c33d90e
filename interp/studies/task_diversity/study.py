"""Study: below a threshold of task diversity nets remember their tasks, above it they infer in general (Raventós et
al.); the general solution may be a stage on the way (Carroll et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interp.studies.context import Report
from interp.studies.figure_page import write_page
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.task_diversity import rows
from interp.studies.task_diversity.figures import show
from interp.studies.task_diversity.runs import Study, study_of

PARTS = (rows.one_pool, rows.over_pools, rows.lasting)


def run(scale: Scale, out: Path, report: Report, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale; its runs stay in `out` and are reused. `seeds` replaces the scale's own."""
    return measure(study_of(scale, out, report, seeds))


def measure(study: Study) -> Ledger:
    """Rows and pictures of a study that has been set up."""
    found: list[Row] = []
    for part in PARTS:
        study.progress(part.__name__.replace("_", " "))
        found += part(study)
    show(study)
    write_page(study.out / f"figures-{study.scale}.html", "Task diversity", study.parts)
    return study.ledger(found)
