"""Pictures of the two linear-attention studies, by plotly from numbers: preconditioners, gaps, the paper's figures.

Preconditioners are heat maps on a colour scale that what is compared shares. Nothing here trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from interp.run import Run
from interp.studies.linear_attention import measure_paths as curves
from interp.studies.linear_attention import runs as runs
from interp.studies.stacked_heads.figures import COLOURS, ribbons

PAPER = {
    "S1": {
        "final loss": "about 5 after 10000 steps", "R at step 750": "1.76 (.40)", "R at step 1250": "1.58 (.41)",
        "median directional smoothness": "above 1 (plot)",
    },
    "S2": {"final loss": "above 1 (plot)", "R at step 750": "3.14 (.97)", "R at step 1250": "5.98 (2.86)"},
    "S3": {"final loss": "above 1 (plot)", "R at step 750": "9.57 (13.3)", "R at step 1250": "6.53 (3.55)"},
}  # fmt: skip


def preconditioner_figure(*rows: Mapping[str, Float[Tensor, "row column"]]) -> go.Figure:
    """Matrices as heat maps: what was recovered beside what theory says (one row, one symmetric scale for all), or
    above it (two rows, each column with a scale of its own).
    """
    wide = max(map(len, rows))
    columns = [[list(row.values())[k] for row in rows if k < len(row)] for k in range(wide)]
    spans = [max(float(matrix.abs().max()) for matrix in column) for column in columns]
    if len(rows) == 1:
        spans = [max(spans)] * wide
    titles = [title for row in rows for title in (*row, *[""] * (wide - len(row)))]
    figure = make_subplots(
        len(rows), wide, subplot_titles=titles, horizontal_spacing=0.02, vertical_spacing=0.12
    )
    for k, row in enumerate(rows, start=1):
        for column, (matrix, span) in enumerate(zip(row.values(), spans, strict=False), start=1):
            picture = go.Heatmap(
                z=matrix.detach().numpy()[::-1], zmin=-span, zmax=span, colorscale="RdBu", texttemplate="%{z:.2f}",
                showscale=False, hovertemplate="%{z:.4g}<extra></extra>",
            )  # fmt: skip
            figure.add_trace(picture, k, column)
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False)
    size = min(290, 1000 // wide)
    return figure.update_layout(
        height=60 + (size + 20) * len(rows), width=90 + size * wide, template="plotly_white"
    )


def loss_curves(name: str, runs_: Sequence[Run]) -> pd.DataFrame:
    """Training loss of every run at every logged step, in label units squared: name, seed, step, value."""
    found = []
    for run in runs_:
        logged = run.metrics().query("metric == 'loss' and split == 'train'")
        found.append(
            pd.DataFrame(
                {
                    "name": name, "seed": run.config.seed, "step": logged["step"],
                    "value": logged["value"] * runs.label_variance(run),
                }
            )
        )  # fmt: skip
    return pd.concat(found, ignore_index=True)


def loss_figure(conditions: Mapping[str, Sequence[Run]], title: str = "Training loss") -> go.Figure:
    """Median training loss of each condition in the range of its seeds, on a log axis."""
    figure = ribbons(pd.concat([loss_curves(*one) for one in conditions.items()]), title, "squared error")
    return figure.update_layout(yaxis_type="log", height=330, width=760)


def smoothness_figure(conditions: Mapping[str, Run]) -> go.Figure:
    """Directional smoothness of every true step against the gradient's norm, both on log axes; dips are left out."""
    figure = go.Figure()
    for name, run in conditions.items():
        path = curves.path(run)
        up = path[path["directional smoothness"] > 0]
        figure.add_scatter(x=up["gradient norm"], y=up["directional smoothness"], mode="markers", name=name)
    return figure.update_layout(
        xaxis_type="log", yaxis_type="log", xaxis_title="|g|", yaxis_title="u'Hu", height=360, width=760,
        template="plotly_white",
    )  # fmt: skip


def noise_figure(lengths: Mapping[str, Float[Tensor, " draw"]]) -> go.Figure:
    """Share of draws whose gradient noise is longer than so many medians, log-log: a heavy tail falls slowly."""
    figure = go.Figure()
    for (name, found), colour in zip(lengths.items(), COLOURS, strict=False):
        x = np.sort((found / found.median()).numpy())
        share = 1 - np.arange(len(x)) / len(x)
        figure.add_scatter(x=x, y=share, mode="lines", name=name, line={"color": colour})
    return figure.update_layout(
        xaxis_type="log", yaxis_type="log", xaxis_title="length of the noise / median",
        yaxis_title="share of draws beyond", height=360, width=760, template="plotly_white",
    )  # fmt: skip


def depth_figure(layers: Sequence[int], ratios: Mapping[int, Sequence[float]]) -> go.Figure:
    """Loss ratio SGD/Adam against depth, one line a seed."""
    figure = go.Figure()
    for seed in range(len(ratios[layers[0]])):
        figure.add_scatter(
            x=list(layers),
            y=[ratios[n][seed] for n in layers],
            mode="lines+markers",
            name=f"seed number {seed}",
        )
    return figure.update_layout(
        yaxis_type="log", xaxis_title="layers", yaxis_title="loss SGD / loss Adam", height=330, width=760,
        template="plotly_white",
    )  # fmt: skip


def compared_with_paper(
    sgd: Sequence[Run], adam: Sequence[Run], steps: Sequence[int], setting: str = "S1"
) -> pd.DataFrame:
    """SGD over Adam for each figure of the paper, one column a seed, mean and standard deviation over seeds (as the
    paper has them), and the paper's own number.

    `steps`: where the robust condition number is taken (by the diagonal); runs without that checkpoint leave a NaN.
    """
    pairs = list(zip(sgd, adam, strict=True))
    rows = {"final loss": [runs.final_loss(a) / runs.final_loss(b) for a, b in pairs]}
    for step in steps:
        rows[f"R at step {step}"] = condition_ratios(sgd, adam, step)
    medians = [[curves.path(run)["directional smoothness"].median() for run in pair] for pair in pairs]
    rows["median directional smoothness"] = [a / b for a, b in medians]
    table = pd.DataFrame(rows, index=[f"seed {a.config.seed}" for a, _ in pairs]).T
    spread = table.std(axis=1, ddof=1)
    table["mean (sd)"] = [f"{m:.3g} ({s:.2g})" for m, s in zip(table.mean(axis=1), spread, strict=True)]
    table["paper, mean (sd)"] = [PAPER.get(setting, {}).get(name, "none stated") for name in table.index]
    return table.rename_axis(f"{setting}, SGD / Adam")


def condition_ratios(
    sgd: Sequence[Run], adam: Sequence[Run], step: int, how: str = "diagonal"
) -> list[float]:
    """Robust condition number along SGD over that along Adam, seed by seed; NaN where a run has no such checkpoint.

    `how` names a field of `Conditioning`.
    """

    def at(run: Run) -> float:
        return getattr(curves.robust_condition(run, step), how) if step in run.steps else float("nan")

    return [at(a) / at(b) for a, b in zip(sgd, adam, strict=True)]
