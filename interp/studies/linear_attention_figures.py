"""Pictures of the two linear-attention studies, by plotly from numbers: preconditioners, gaps, the paper's figures.

Preconditioners are heat maps with one colour scale for all of them, so that sizes compare. Nothing here trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots
from torch import Tensor

from interp.run import Run
from interp.studies import linear_attention_paths as curves
from interp.studies import linear_attention_runs as runs

PAPER = {
    "final loss": "about 5 after 10000 steps (S1)",
    "R at step 750": "1.76 (sd .40) S1, 3.14 (.97) S2, 9.57 (13.3) S3",
    "R at step 1250": "1.58 (sd .41) S1, 5.98 (2.86) S2, 6.53 (3.55) S3",
    "median directional smoothness": "above 1 (plot)",
}


def preconditioner_figure(matrices: Mapping[str, Float[Tensor, "row column"]]) -> go.Figure:
    """Matrices side by side, as heat maps on one symmetric scale: what was recovered beside what theory says."""
    span = max(float(matrix.abs().max()) for matrix in matrices.values())
    figure = make_subplots(1, len(matrices), subplot_titles=list(matrices))
    for column, matrix in enumerate(matrices.values(), start=1):
        picture = go.Heatmap(
            z=matrix.detach().numpy()[::-1], zmin=-span, zmax=span, colorscale="RdBu",
            showscale=column == len(matrices),
        )  # fmt: skip
        figure.add_trace(picture, 1, column)
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False)
    return figure.update_layout(height=320, width=60 + 290 * len(matrices), template="plotly_white")


def loss_figure(arms: Mapping[str, Run]) -> go.Figure:
    """Training loss of each run against the step, in label units squared."""
    figure = go.Figure()
    for name, run in arms.items():
        logged = run.metrics().query("metric == 'loss' and split == 'train'")
        figure.add_scatter(x=logged["step"], y=logged["value"] * runs.label_variance(run), name=name)
    return figure.update_layout(
        yaxis_type="log", xaxis_title="step", yaxis_title="squared error", height=330, width=680,
        template="plotly_white",
    )  # fmt: skip


def smoothness_figure(arms: Mapping[str, Run]) -> go.Figure:
    """Directional smoothness of every true step against the gradient's norm, both on log axes; dips are left out."""
    figure = go.Figure()
    for name, run in arms.items():
        path = curves.path(run)
        up = path[path["directional smoothness"] > 0]
        figure.add_scatter(x=up["gradient norm"], y=up["directional smoothness"], mode="markers", name=name)
    return figure.update_layout(
        xaxis_type="log", yaxis_type="log", xaxis_title="|g|", yaxis_title="u'Hu", height=360, width=680,
        template="plotly_white",
    )  # fmt: skip


def beside_the_paper(sgd: Sequence[Run], adam: Sequence[Run], steps: Sequence[int]) -> pd.DataFrame:
    """SGD over Adam for each figure of the paper, one column a seed, beside the paper's own number.

    `steps`: where the robust condition number is taken; they must be checkpoints.
    """
    pairs = list(zip(sgd, adam, strict=True))
    rows = {"final loss": [runs.final_loss(a) / runs.final_loss(b) for a, b in pairs]}
    for step in steps:
        rows[f"R at step {step}"] = [
            curves.robust_condition(a, step) / curves.robust_condition(b, step) for a, b in pairs
        ]
    medians = [[curves.path(run)["directional smoothness"].median() for run in pair] for pair in pairs]
    rows["median directional smoothness"] = [a / b for a, b in medians]
    table = pd.DataFrame(rows, index=[f"seed {a.config.seed}" for a, _ in pairs]).T
    table["paper"] = [PAPER.get(name, "none stated") for name in table.index]
    return table.rename_axis("SGD / Adam")
