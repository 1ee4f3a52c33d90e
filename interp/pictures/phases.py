"""Pictures of strategies over several runs: the phase diagram of a sweep, and paths through joint components.

Plotly figures from the tables of `interp.emergence.phase_diagram` and `interp.emergence.trajectories`; plotly escapes
what it draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

COLOURS: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def phase_diagram(table: pd.DataFrame, setting: str, strategies: Sequence[str] = ()) -> go.Figure:
    """A map a strategy: its mean weight at every value of the setting (rows) and step (columns), and in each cell in
    how many of the seeds it leads. `strategies`: those to draw, all unless given."""
    names = list(strategies) or list(dict.fromkeys(table["strategy"]))
    figure = make_subplots(1, len(names), subplot_titles=names, shared_yaxes=True, horizontal_spacing=0.03)
    for place, name in enumerate(names, 1):
        rows = table[table["strategy"] == name]
        wide = rows.pivot(index=setting, columns="step", values="value")
        seeds = rows.pivot(index=setting, columns="step", values="leads in").reindex_like(wide)
        figure.add_heatmap(
            z=wide.to_numpy(), x=[str(x) for x in wide.columns], y=[str(y) for y in wide.index], zmin=0, zmax=1,
            colorscale="Blues", showscale=place == len(names), colorbar={"title": "weight"},
            text=[[f"{int(v)}" if v else "" for v in row] for row in seeds.to_numpy()], texttemplate="%{text}",
            row=1, col=place,
        )  # fmt: skip
    figure.update_xaxes(title="step", type="category").update_yaxes(type="category")
    most = int(table["n"].max())
    title = f"Mean weight over {most} seeds; numbers: seeds in which the strategy leads"
    return figure.update_layout(title=title, yaxis_title=setting, template="plotly_white", height=380)


def trajectories(table: pd.DataFrame, names: dict[str, str] | None = None) -> go.Figure:
    """Paths of runs through the first two joint components, with ideal predictors as crosses. `names`: what a run is
    called (runs of one name share a colour)."""
    called = names or {}
    figure = go.Figure()
    paths = table[table["strategy"] == ""]
    labels = list(dict.fromkeys(called.get(run, run) for run in paths["run"]))
    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}
    seen: set[str] = set()
    for run, rows in paths.groupby("run", sort=False):
        label = called.get(str(run), str(run))
        figure.add_scatter(
            x=rows["component 1"], y=rows["component 2"], text=[f"step {step}" for step in rows["step"]],
            mode="lines+markers", name=label, legendgroup=label, showlegend=label not in seen,
            line={"color": colours[label]}, marker={"size": 4},
        )  # fmt: skip
        seen.add(label)
    for row in table[table["strategy"] != ""].to_dict("records"):
        label = called.get(str(row["run"]), str(row["run"]))
        figure.add_scatter(
            x=[row["component 1"]], y=[row["component 2"]], mode="markers+text", text=[row["strategy"]],
            textposition="top center", showlegend=False, hovertext=f"{row['strategy']} {label}".strip(),
            marker={"symbol": "x", "size": 9, "color": colours.get(label, "#222222")},
        )  # fmt: skip
    share = float(table["explained"].iloc[0])
    title = f"Joint components of the outputs: {share:.0%} of the variance of all checkpoints"
    return figure.update_layout(
        title=title, xaxis_title="component 1", yaxis_title="component 2", template="plotly_white"
    )
