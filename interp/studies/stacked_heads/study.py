"""Study: stacked attention heads and their implicit curriculum (Musat, arXiv 2411.12118)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from interp.heads.ablation import Ablations
from interp.run import Run
from interp.studies.context import Report
from interp.studies.figure_page import Part, write_page
from interp.studies.ledger import Ledger, Scale
from interp.studies.stacked_heads import (
    figures,
    figures_circuits,
    rows,
    rows_circuits,
    rows_depth,
    rows_interventions,
)
from interp.studies.stacked_heads.measure import HOPS, events, onsets
from interp.studies.stacked_heads.measure_landscape import measured_landscape
from interp.studies.stacked_heads.runs import Study, condition, study_of

OTHERS = ("gaussian-ic", "no-hop-1", "mix", "final", "gaussian-final")


def run(scale: Scale, out: Path, report: Report, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale. `seeds` (consecutive numbers) replaces the scale's own choice in every condition."""
    return measure(study_of(scale, out, report, seeds))


def measure(study: Study) -> Ledger:
    """The ledger of a study; its pictures are written beside the runs."""
    ic = condition(study, "ic")
    cells = rows_depth.measured_cells(study)
    found = [*rows.order(study, ic), *rows_circuits.rows(study, ic), *rows_depth.rows(study, ic, cells)]
    others = {name: condition(study, name) for name in OTHERS if study.budget.steps[name]}
    found += rows.curricula(study, ic, others)
    found += rows_interventions.rows(study, ic)
    page = study.out / f"figures-{study.scale}.html"
    pictures = _pictures(study, {"ic": ic, **others}, cells)
    write_page(page, "Stacked heads", [Part(picture) for picture in pictures])
    need = study.claims["paper-size"].not_testable(
        would_need="preset stacked-heads-paper, 24,000 steps of 0.8 s, six hours on one core",
        command="interp train stacked-heads-paper",
    )
    return study.ledger([*found, need])


def _pictures(study: Study, conditions: Mapping[str, Sequence[Run]], cells: pd.DataFrame) -> list[go.Figure]:
    """Every picture of the study, in the order of the page."""
    ic, tables = conditions["ic"], {name: events(runs) for name, runs in conditions.items()}
    last = {name: "asked hop" if name == "mix" else HOPS[2] for name in conditions}
    few = ic[: study.budget.seeds]
    first, bends = ic[0], measured_landscape(study, ic[0])
    return [
        figures.ribbons(figures.accuracy_curves(ic), "Accuracy of every hop", "accuracy"),
        figures.ribbons(figures.head_curves(ic), "Best head on every relation", "attention"),
        figures.onset_figure(tables["ic"]),
        figures.survival_figure(tables, last),
        figures_circuits.depth_figure(cells),
        figures_circuits.reach_figure(rows_depth.reached([*ic, *cells["opened"]])),
        figures_circuits.circuit_figure(ic),
        figures_circuits.edges_figure(
            {run.name: rows_circuits.dated_edges(run) for run in few},
            {run.name: {hop: float(onsets([run], hop)[0]) for hop in HOPS} for run in few},
        ),
        figures_circuits.landscape_figure(
            first, bends, first.tables([Ablations()], first.steps[::2])["ablation"]
        ),
    ]
