"""Study: one layer of linear self-attention learns one step of gradient descent (Mahankali, Hashimoto & Ma)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interp.studies.context import Report, StudyContext
from interp.studies.figure_page import write_page
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.one_step_gd import rows
from interp.studies.one_step_gd.claims import CLAIMS
from interp.studies.one_step_gd.rows_saddle import saddle
from interp.studies.one_step_gd.runs import BUDGETS, NAME, SEEDS

PARTS = (
    rows.monte_carlo,
    rows.descent,
    rows.full_family,
    rows.anisotropic,
    rows.gradient_flow,
    rows.sweep,
    rows.targets,
    saddle,
)


def run(scale: Scale, out: Path, report: Report, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale; its runs stay in `out` and are reused. `seeds` default to 8 (quick) or 12."""
    chosen = tuple(range(SEEDS[scale])) if seeds is None else tuple(seeds)
    study = StudyContext(NAME, scale, Path(out), chosen, report, BUDGETS[scale], CLAIMS)
    found: list[Row] = []
    for part in PARTS:
        study.progress(part.__name__.replace("_", " "))
        found += part(study)
    page = study.out / f"figures-{scale}.html"
    write_page(page, "One layer of linear attention, one step of descent", study.parts)
    return study.ledger(found)
