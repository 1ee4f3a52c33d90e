"""Study: stacked attention heads and their implicit curriculum (Musat, arXiv 2411.12118).

Owns the ledger, and the rows on the order of learning and on targets without, with another, and with a maimed
curriculum; rows on circuits stand in `stacked_heads_circuits`, those on depth in `stacked_heads_depth`. "Not
learned" always means within the budget of the row. Intervals are over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from interp.emergence import curriculum
from interp.heads.roles import Ablations
from interp.run import Run
from interp.studies.figure_page import Part, write_page
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.stacked_heads import circuit_figures as drawn
from interp.studies.stacked_heads import circuits as circuits
from interp.studies.stacked_heads import clamps as clamps
from interp.studies.stacked_heads import depth as depth
from interp.studies.stacked_heads import landscape as landscape
from interp.studies.stacked_heads.claims import CLAIMS
from interp.studies.stacked_heads.figures import (
    accuracy_curves,
    head_curves,
    onset_figure,
    ribbons,
    survival_figure,
)
from interp.studies.stacked_heads.readings import (
    HOPS,
    accuracy,
    came,
    delay,
    events,
    nothing,
    onsets,
    survival_words,
)
from interp.studies.stacked_heads.runs import NAME, Bench, Say, bench_of
from probes.stats import Interval, share, student

READS_LINK = circuits.READS_LINK


def run(scale: Scale, out: Path, say: Say, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale. `seeds` (consecutive numbers) replaces the scale's own choice in every arm."""
    return measure(bench_of(scale, out, say, seeds))


def measure(bench: Bench) -> Ledger:
    """The ledger of a bench; its pictures are written beside the runs."""
    ic = bench.arm("ic")
    cells = depth.measured_cells(bench)
    rows = [*_order(bench, ic), *circuits.rows(bench, ic), *depth.rows(bench, ic, cells)]
    other = {name: bench.arm(name) for name in ("gaussian-ic", "no-hop-1", "mix", "final", "gaussian-final")}
    rows += _curricula(bench, ic, other)
    rows += clamps.rows(bench, ic)
    pictures = _pictures(bench, {"ic": ic, **other}, cells)
    page = bench.out / f"figures-{bench.scale}.html"
    write_page(page, "Stacked heads", [Part(picture) for picture in pictures])
    need = CLAIMS["paper-size"].not_testable(
        would_need="preset stacked-heads-paper, 24,000 steps of 0.8 s, six hours on one core",
        command="interp train stacked-heads-paper",
    )
    seeds = tuple(range(bench.shift, bench.shift + bench.budget.order_seeds))
    return Ledger(NAME, bench.scale, seeds, (*rows, need))


def _pictures(bench: Bench, arms: Mapping[str, Sequence[Run]], cells: pd.DataFrame) -> list[go.Figure]:
    """Every picture of the study, in the order of the page."""
    ic, tables = arms["ic"], {name: events(runs) for name, runs in arms.items()}
    last = {name: "asked hop" if name == "mix" else HOPS[2] for name in arms}
    few = ic[: bench.budget.seeds]
    first, bends = ic[0], landscape.measured_landscape(bench, ic[0])
    return [
        ribbons(accuracy_curves(ic), "Accuracy of every hop", "accuracy"),
        ribbons(head_curves(ic), "Best head on every relation", "attention"),
        onset_figure(tables["ic"]),
        survival_figure(tables, last),
        drawn.depth_figure(cells),
        drawn.reach_figure(depth.reached([*ic, *cells["opened"]])),
        drawn.circuit_figure(ic),
        drawn.edges_figure(
            {run.name: circuits.dated_edges(run) for run in few},
            {run.name: {hop: float(onsets([run], hop)[0]) for hop in HOPS} for run in few},
        ),
        drawn.landscape_figure(first, bends, first.tables([Ablations()], first.steps[::2])["ablation"]),
    ]


def _order(bench: Bench, runs: Sequence[Run]) -> list[Row]:
    """Order of hops and of heads, and the loss's drops."""
    found = events(runs)
    table = curriculum.order(found, HOPS).set_index("metric")
    medians = curriculum.over_seeds(found).set_index("event")
    said = ", ".join(f"{hop} {medians.loc[hop, 'value']:.0f}" for hop in HOPS)
    counts = [len(curriculum.drops(*_total_loss(run))) for run in runs]
    last = student([accuracy(run)[-1] for run in runs])
    return [
        bench.row("curriculum-solves", _interval(table.loc["every event emerged"]), "ic"),
        bench.row("last-hop", last, "ic"),
        bench.row("fixed-order", _interval(table.loc["strictly in order"]), "ic", f"median onsets: {said}"),
        bench.row("fixed-order-tau", _interval(table.loc["kendall tau"]), "ic"),
        bench.row("head-order", _first_before(found), "ic"),
        bench.row("head-leads", _lead(found), "ic", "median over seeds, exact order statistics"),
        bench.row("stages", share(counts.count(len(HOPS)), len(counts)), "ic", f"drops a run: {counts}"),
    ]


def _interval(row: Any) -> Interval:
    return Interval(row["value"], row["ci_low"], row["ci_high"], int(row["n"]), "")


def _first_before(found: pd.DataFrame) -> Interval:
    """Share of runs in which link 1 has a head before link 2 has one (neither: not counted as before)."""
    if not set(READS_LINK) <= set(found["event"]):
        return share(0, found["run"].nunique())
    pair = curriculum.precedence(found, READS_LINK).iloc[0]
    return share(int(pair["before"]), int(pair["n"]))


def _lead(found: pd.DataFrame) -> Interval:
    """Lead of the first head on link 2 before hop 2."""
    if not {READS_LINK[1], HOPS[1]} <= set(found["event"]):
        return nothing(0, "no head and no hop")
    steps = found[found["event"].isin([READS_LINK[1], HOPS[1]])]["step"]
    return (
        nothing(0, "neither came")
        if steps.isna().all()
        else curriculum.lead_time(found, READS_LINK[1], HOPS[1])
    )


def _total_loss(run: Run) -> tuple[list[int], list[float]]:
    """Held-out loss summed over hops, by checkpoint."""
    table = run.scores().table
    loss = table[(table["metric"] == "loss") & (table["control"] == "none")].groupby("step")["value"].sum()
    return [int(step) for step in loss.index], loss.tolist()


def _curricula(bench: Bench, ic: Sequence[Run], arms: dict[str, list[Run]]) -> list[Row]:
    """Targets without, with another, and with a maimed curriculum."""
    last, blind = HOPS[2], arms["gaussian-final"]
    plain = f"with every hop in the target: {survival_words(arms['gaussian-ic'], last)}"
    final = student([accuracy(run)[-1] for run in arms["final"]])
    return [
        bench.row("final-discrete", final, "final", survival_words(arms["final"], last)),
        bench.row(
            "final-gaussian", came(blind, last), "gaussian-final", f"{survival_words(blind, last)}; {plain}"
        ),
        bench.row("mix", came(arms["mix"], "asked hop"), "mix", survival_words(arms["mix"], "asked hop")),
        bench.row(
            "dropped-hop",
            delay(arms["no-hop-1"], ic, HOPS[1]),
            "no-hop-1",
            survival_words(arms["no-hop-1"], HOPS[1]),
        ),
    ]
