"""Study: do a transformer's layers run Newton's method in context? (Fu, Chen, Jia & Sharan, arXiv 2310.17086.)"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interp.studies.context import Report, StudyContext
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.newton import rows, rows_conditions, rows_growth
from interp.studies.newton.claims import CLAIMS
from interp.studies.newton.rows_common import Study, forget
from interp.studies.newton.runs import BUDGETS, NAME

PARTS = (
    rows.falling,
    rows.newton_match,
    rows.gd_match,
    rows.induced,
    rows.rivals,
    rows_conditions.conditioning,
    rows_conditions.widths,
    rows_conditions.lstm,
    rows_conditions.depth_and_heads,
    rows.span,
    rows_conditions.noise,
    rows_conditions.nonlinear,
    rows.closed_forms,
    rows.table_one,
    rows_growth.filters,
    rows.causes,
    rows.elsewhere,
    rows_growth.deep,
)


def run(scale: Scale, out: Path, report: Report, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale; its runs stay in `out` and are reused. `seeds` default to those of the scale."""
    budget = BUDGETS[scale]
    chosen = tuple(range(budget.seeds)) if seeds is None else tuple(seeds)
    return measure(StudyContext(NAME, scale, Path(out), chosen, report, budget, CLAIMS))


def measure(study: Study) -> Ledger:
    """The ledger of a study."""
    found: list[Row] = []
    for part in PARTS:
        study.progress(part.__name__.replace("_", " "))
        found += part(study)
        forget(study)
    return study.ledger(found)
