"""Study: in-context Markov chains are learned in stages, symbol counts before transitions (Edelman et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interp.studies.context import Report
from interp.studies.figure_page import write_page
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.markov_chains import rows
from interp.studies.markov_chains.figures import distances_figure, weights_figure
from interp.studies.markov_chains.runs import Study, study_of

PARTS = (rows.order, rows.heads, rows.without_counts, rows.second_order)
WORDS = "Median over seeds with its 95% interval by order statistics."


def run(scale: Scale, out: Path, report: Report, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale; its runs stay in `out` and are reused. `seeds` replaces the scale's own."""
    return measure(study_of(scale, out, report, seeds))


def measure(study: Study) -> Ledger:
    """Rows and pictures of a study that has been set up."""
    found: list[Row] = []
    for part in PARTS:
        study.progress(part.__name__.replace("_", " "))
        found += part(study)
    for condition, runs in rows.shown(study).items():
        study.show(weights_figure(runs, condition), f"Weights of the predictors, {condition} chains", WORDS)
        study.show(
            distances_figure(runs, condition), f"Distance to each predictor, {condition} chains", WORDS
        )
    write_page(study.out / f"figures-{study.scale}.html", "In-context Markov chains", study.parts)
    return study.ledger(found)
