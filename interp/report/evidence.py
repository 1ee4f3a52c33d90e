"""Causal and algorithmic evidence for a page: patching grids, weight summaries, which algorithm a readout resembles.

These run the model many times over, so they are measured at a few checkpoints spread over training (`FEW`), not at
all of them; the slider shows the nearest. What cannot be measured on a run is returned as the reason why.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import pandas as pd

from interp.analysis.base import Analysis, Progress
from interp.analysis.conclusion import paragraph
from interp.analysis.kept import opened
from interp.analysis.registry import conclusion_of
from interp.causal.over_training import PatchGrid
from interp.heads.weights import HeadWeights
from interp.readouts.algorithms import AlgorithmMatch
from interp.readouts.filter_curves import FilterCurves
from interp.run import Run
from tasks.errors import UserError

FEW = 5
MOST_PAIRS = 3
MOST_SITES = 400
HEADS, STREAM = "head outputs", "residual stream"
GRIDS: dict[str, dict[str, Any]] = {
    HEADS: {"component": "z", "by": ("layer", "head")},
    STREAM: {"component": "resid_pre"},
}
Found = tuple[pd.DataFrame | None, str]


def spread(steps: Sequence[int], count: int = FEW) -> tuple[int, ...]:
    """At most `count` checkpoints, evenly spaced among them, the first and the last included."""
    last = len(steps) - 1
    picked = {round(i * last / (count - 1)) for i in range(count)} if last >= count else range(last + 1)
    return tuple(steps[i] for i in sorted(picked))


def patching(run: Run, progress: Progress | None) -> tuple[pd.DataFrame | None, str, str]:
    """Effect of patching every head and every residual-stream site, for every kind of pair; columns `grid`, `column`.

    Where a site has no head, `column` is its position. The second value gives the reason where there is no table, the
    third what the first grid shows, in words.
    """
    model: Any = run.config.model
    if model.kind != "transformer":
        return None, f"patching grids are drawn for transformers, and this is a {model.kind}", ""
    if not run.task.pair_kinds:
        return None, f"task {run.task.kind} has no clean and corrupt pairs with these settings", ""
    grids = [HEADS, STREAM] if model.n_layers * run.task.interface.n_ctx <= MOST_SITES else [HEADS]
    wanted = [(grid, PatchGrid(pair=pair, **GRIDS[grid])) for grid in grids for pair in _pairs(run)]
    try:
        tables = [(grid, _measured(run, analysis, progress)) for grid, analysis in wanted]
    except UserError as error:
        return None, str(error), ""
    shown = pd.concat([_grid(run, grid, table) for grid, table in tables], ignore_index=True)
    return shown, "", paragraph(conclusion_of("patch", tables[0][1]))


def _pairs(run: Run) -> tuple[str, ...]:
    return run.task.pair_kinds[:MOST_PAIRS]


def _measured(run: Run, analysis: PatchGrid, progress: Progress | None) -> pd.DataFrame:
    return run.tables([analysis], spread(run.steps), progress)[analysis.name]


def _grid(run: Run, grid: str, table: pd.DataFrame) -> pd.DataFrame:
    column = table["head"] if grid == HEADS else table["position"]
    labels = run.task.labels(run.task.sample(run.config.data_seed, "report", 0, 1))[0]
    named = [f"H{c}" if grid == HEADS else f"{c} · {labels[int(c)]}" for c in column]
    kept = table[["step", "pair", "layer", "value", "ci_low", "ci_high", "n"]]
    return kept.assign(grid=grid, column=named)


def weights(run: Run, progress: Progress | None) -> Found:
    """Eigenvalues of OV and QK of every head, and the head of an earlier layer that it composes with most."""
    model: Any = run.config.model
    if model.kind != "transformer":
        return None, f"a {model.kind} has no OV and QK matrices of this form"
    try:
        return run.tables([HeadWeights()], spread(run.steps), progress)["weights"], ""
    except UserError as error:
        return None, str(error)


def algorithms(run: Run, progress: Progress | None) -> tuple[pd.DataFrame | None, pd.DataFrame | None, str]:
    """Matches and verdicts, and measured filters with those of the fitted families, at the last checkpoint.

    Checkpoints that were matched before are included. The third value gives the reason where there is no table.
    """
    if run.task.kind != "regression":
        return None, None, "rival algorithms are known for regression only"
    matching = AlgorithmMatch().for_checkpoints(len(run.steps))
    steps = sorted({run.steps[-1], *_known(run, matching)})
    try:
        found = run.tables([matching], steps, progress)[matching.name]
        curves = run.tables([FilterCurves()], "last", progress)["filters"]
    except UserError as error:
        return None, None, str(error)
    return found, curves, ""


def _known(run: Run, analysis: Analysis) -> set[int]:
    return set(opened(run, analysis).hashes) & set(run.steps)


def grids_made(run: Run) -> list[tuple[str, str, str]]:
    """For every cached patching grid: its section, the command that reproduces it, and its table."""
    steps = ",".join(map(str, spread(run.steps)))
    rows = []
    for settings in GRIDS.values():
        for pair in _pairs(run):
            by = f" --by {' '.join(settings['by'])}" if "by" in settings else ""
            what = f"--component {settings['component']} --pair {pair}{by} --steps {steps}"
            command = f"interp patch {shlex.quote(str(run.path))} {what}"
            table = PatchGrid(pair=pair, **settings).table_name
            if any(path.exists() for path in run.tables_at(table)):
                rows.append(("patching", command, f"analysis/{table}.parquet"))
    return rows
