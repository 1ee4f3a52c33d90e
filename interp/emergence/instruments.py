"""Onsets of what other instruments than scores measure of a run: readouts of the stream, the loss landscape, and
the edges of its final circuit; one table in the columns of `interp emergence` for each.

Values have no replicates here, so intervals are gaps between checkpoints (`interp.emergence.dating`), and the
readouts, or the measures of the landscape, of one run are tested together. Errors and the loss are turned
round: their onset is that of a fall.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pandas as pd

from interp.analysis.base import Progress
from interp.analysis.schema import conformed
from interp.analysis.stream import analyse
from interp.causal.over_training import CircuitSearch, EdgeEffects, circuit_at
from interp.emergence.choices import Of
from interp.emergence.dating import EDGE_MATTERS, FIGURES, date_curves, date_edges
from interp.emergence.rises import FEWEST
from interp.landscape.landscape import Curvature
from interp.landscape.llc import LearningCoefficient
from interp.pictures.labels import short_site
from interp.readouts.label_targets import label_target
from interp.readouts.own_targets import OwnTargets
from interp.readouts.readouts import Readouts
from interp.runs.checkpoints import Checkpoints
from tasks import UserError

FALLING = ("mse", "loss")
PROMPTS = 128  # of the landscape's batch
PROBES = 4
CAPTIONS = {
    "readouts": "Onset: half of the readout's own rise; rises are tested jointly at 5%; intervals: checkpoint gaps.",
    "landscape": "Onset: half of the measure's own rise (fall of the loss); rises are tested jointly at 5%.",
    "edges": f"First checkpoint from which ablating the edge alone costs {EDGE_MATTERS:.0%}, sustained.",
}


def instrument_onsets(
    run: Checkpoints,
    of: Of,
    steps: Sequence[int] | str = "all",
    progress: Progress | None = None,
    llc: LearningCoefficient | None = None,
) -> pd.DataFrame:
    """Onsets in the columns of `emergence_table`, earliest first: "readouts" by site and output position, "landscape"
    (loss, gradient norm, sharpness, condition number, learning coefficient), or "edges" of the circuit at the
    last of `steps`. `llc`: other settings of the coefficient than the usual ones.

    A measure with values at fewer than `FEWEST` checkpoints (refused chains have none) is left out. Raises
    UserError for another `of`, too few checkpoints, or no circuit.
    """
    asked = run.resolve(steps)
    if of not in get_args(Of)[1:]:
        raise UserError(f"onsets of {of!r}: there are {', '.join(get_args(Of)[1:])}")
    if of != "edges" and len(asked) < FEWEST:
        raise UserError(f"{run.path}: {len(asked)} checkpoints cannot tell a rise from noise: give {FEWEST}")
    if of == "landscape":
        table = _landscape(run, asked, progress, llc or LearningCoefficient())
    else:
        table = (_readouts if of == "readouts" else _edges)(run, asked, progress)
    table = conformed("emergence", table[["subject", "metric", *FIGURES]])
    return table.sort_values(["step", "first_rise", "subject"], kind="stable", ignore_index=True)


def _readouts(run: Checkpoints, steps: tuple[int, ...], progress: Progress | None) -> pd.DataFrame:
    labels = label_target(run.task)
    asked = Readouts() if labels is None else OwnTargets(target=labels)
    table = analyse(run, [asked], steps, progress)[asked.name]
    table = table[(table["control"] == "none") & table["metric"].isin(["accuracy", "mse"])]
    if table["readout"].notna().any():  # one readout for all output positions together where there are many
        table = table[(table["readout"] == "all") & (table["position"] == "all")]
    elif labels is not None:
        table = table[table["position"] == "all"]
    table = table.assign(subject=table["position"].astype(str) + " at " + table["site"].map(short_site))
    return _either_way(table)


def _landscape(
    run: Checkpoints, steps: tuple[int, ...], progress: Progress | None, llc: LearningCoefficient
) -> pd.DataFrame:
    bends = Curvature(prompts=PROMPTS, probes=PROBES)
    table = pd.concat(analyse(run, [bends, llc], steps, progress).values(), ignore_index=True)
    table = table[table["metric"] != "directional smoothness"].dropna(subset=["value"])
    often = table.groupby("metric")["step"].transform("nunique") >= FEWEST
    return _either_way(table[often].assign(subject=table["metric"])).assign(metric="landscape")


def _either_way(table: pd.DataFrame) -> pd.DataFrame:
    """Curves that rise and curves that fall, dated together."""
    falls = table["metric"].isin(FALLING)
    curves = table[["subject", "metric"]].drop_duplicates().shape[0]
    parts = [
        date_curves(rows, ["subject", "metric"], falls=down, among=curves)
        for down, rows in ((False, table[~falls]), (True, table[falls]))
        if len(rows)
    ]
    return pd.concat(parts, ignore_index=True)


def _edges(run: Checkpoints, steps: tuple[int, ...], progress: Progress | None) -> pd.DataFrame:
    last = steps[-1]
    kept = circuit_at(analyse(run, [CircuitSearch()], [last], progress)["circuit"], last).edges
    if not kept:
        raise UserError(f"{run.path}: no circuit at checkpoint {last}: there is no behaviour to explain")
    dated = date_edges(analyse(run, [EdgeEffects()], steps, progress)["edges"], kept)
    return dated.assign(subject=dated["sender"] + " -> " + dated["receiver"], metric="edge")
