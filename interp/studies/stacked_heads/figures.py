"""Pictures of the study of stacked heads, from tables: accuracy and heads over training with intervals over
seeds, survival curves, onsets of every seed.

Drawn by plotly from numbers; text that is drawn comes from names of hops, roles and conditions, escaped by plotly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.emergence import curriculum
from interp.pictures.bands import banded
from interp.run import Run
from probes.stats import median

COLOURS: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def ribbons(curves: pd.DataFrame, title: str, y: str) -> go.Figure:
    """Median over seeds of every curve, in a ribbon: its 95% interval by order statistics (below 6 seeds the
    range). `curves`: columns name, seed, step, value; steps that not every seed has are left out.
    """
    figure = go.Figure()
    for colour, (name, rows) in zip(_colours(), curves.groupby("name", sort=False), strict=False):
        wide = rows.pivot(index="step", columns="seed", values="value").dropna()
        found = [median(values) for values in wide.to_numpy(dtype=float)]
        x = wide.index.tolist()
        limits = [f.low for f in found], [f.high for f in found]
        banded(figure, str(name), x, [f.value for f in found], limits, colour)
    return laid_out(figure, f"{title} ({_seeds(curves)} seeds)", "step", y)


def accuracy_curves(runs: Sequence[Run]) -> pd.DataFrame:
    """Accuracy of every output at every checkpoint, one curve an output and seed."""
    tables = [run.scores().table for run in runs]
    table = pd.concat([t[(t["metric"] == "accuracy") & (t["control"] == "none")] for t in tables])
    return table.rename(columns={"position": "name"})[["name", "seed", "step", "value"]]


def head_curves(runs: Sequence[Run]) -> pd.DataFrame:
    """The best head on every relation at every checkpoint: heads permute between seeds, roles do not."""
    table = pd.concat([run.heads().table for run in runs])
    table = table[(table["control"] == "none") & ~table["metric"].str.startswith("rival")]
    best = table.groupby(["metric", "seed", "step"], sort=False)["value"].max().reset_index()
    return best.rename(columns={"metric": "name"})


def survival_figure(conditions: Mapping[str, pd.DataFrame], event: str | Mapping[str, str]) -> go.Figure:
    """Share of seeds that had learned an event by each step, with Clopper-Pearson ribbons; a panel a condition, for
    the ribbons of few seeds are wide.

    `conditions`: event tables (`curriculum.events`) by name; `event`: one for all, or one by condition. Every curve
    ends where its condition was no longer watched.
    """
    columns = min(3, len(conditions))
    titles = [f"{name} ({table['run'].nunique()} seeds)" for name, table in conditions.items()]
    figure = make_subplots(
        rows=-(-len(conditions) // columns), cols=columns, shared_yaxes=True, subplot_titles=titles
    )
    for i, (colour, (name, table)) in enumerate(zip(_colours(), conditions.items(), strict=False)):
        steps = curriculum.survival(table, event if isinstance(event, str) else event[name])
        x, value, low, high = (steps[column].tolist() for column in ("step", "value", "ci_low", "ci_high"))
        place = {"row": i // columns + 1, "col": i % columns + 1}
        banded(figure, name, x, value, (low, high), colour, steps=True, legend=False, **place)
    figure = laid_out(figure, "Share of seeds that learned it, by step", "step", "share of seeds")
    return figure.update_yaxes(range=[-0.02, 1.02])


def onset_figure(table: pd.DataFrame) -> go.Figure:
    """Onset of every event in every seed as a dot, medians with their intervals beside; censored ones are
    counted in the event's name.
    """
    figure = go.Figure()
    summary = curriculum.over_seeds(table).set_index("event")
    finite = summary[np.isfinite(summary["value"])].sort_values("value")
    for name in finite.index:
        steps = table.loc[table["event"] == name, "step"].dropna().tolist()
        row = finite.loc[name]
        late = f" ({int(row['censored'])} not)" if row["censored"] else ""
        figure.add_scatter(x=steps, y=[name + late] * len(steps), mode="markers", opacity=0.5, showlegend=False,
                           marker={"color": COLOURS[0]})  # fmt: skip
        reach = row["ci_high"] - row["value"]
        error = {"array": [reach if np.isfinite(reach) else 0], "arrayminus": [row["value"] - row["ci_low"]]}
        figure.add_scatter(x=[row["value"]], y=[name + late], mode="markers", showlegend=False,
                           marker={"color": COLOURS[1], "size": 11, "symbol": "line-ns-open"},
                           error_x={"type": "data", "symmetric": False, **error})  # fmt: skip
    return laid_out(figure, f"When each event came ({table['run'].nunique()} seeds)", "step", "")


def _colours() -> tuple[str, ...]:
    return COLOURS * 20


def _seeds(curves: pd.DataFrame) -> int:
    return int(curves["seed"].nunique())


def laid_out(figure: go.Figure, title: str, x: str, y: str) -> go.Figure:
    """The one look of these pictures."""
    return figure.update_layout(
        title=title, xaxis={"title": x}, yaxis={"title": y}, template="plotly_white", height=430
    )
