"""Study: how long SGD waits before it finds the direction of a sequence single-index model (Arnaboldi et al.).

Times are counted in steps of batch 1, thresholds are on overlaps; rows without sampling error carry equal bounds. What
the rows do not show: theorems are about d to infinity, and finite dimensions bend every exponent, so asymptotic
exponents stand in notes and are never judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interp.studies.context import Report, StudyContext
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.single_index import rows_emergence, rows_landscape, rows_waits
from interp.studies.single_index.claims import CLAIMS
from interp.studies.single_index.figures import write_figures
from interp.studies.single_index.runs import BUDGETS, NAME

PARTS = (
    rows_landscape.closed_forms,
    rows_landscape.odd_targets,
    rows_landscape.inside,
    rows_landscape.transition,
    rows_waits.waits,
    rows_waits.gains,
    rows_waits.rules,
    rows_waits.staircase,
    rows_emergence.emergence,
    rows_emergence.ordinary_runs,
    rows_emergence.attention,
)


def run(scale: Scale, out: Path, report: Report, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale. The first of `seeds` (0) is that of the chains; ordinary runs, which stay in `out`, have
    seeds from 0 on, as many as the scale says."""
    chosen = tuple(range(BUDGETS[scale].layers)) if seeds is None else tuple(seeds)
    study = StudyContext(NAME, scale, Path(out), chosen, report, BUDGETS[scale], CLAIMS)
    found: list[Row] = []
    for part in PARTS:
        study.progress(part.__name__.replace("_", " "))
        found += part(study)
    study.progress("figures")
    write_figures(study.points, study.out / f"figures-{scale}.html")
    return study.ledger(found)
