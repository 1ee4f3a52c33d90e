"""Pictures of the study of stacked heads that need more than curves: cells of layers and hops with the depth
bound, reach by probe, which circuit answers a hop, edges over time, and one run's landscape beside its heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from interp.heads.mechanism import Mechanism
from interp.landscape.llc import NAME as COEFFICIENT
from interp.run import Run
from interp.studies.stacked_heads.figures import COLOURS, accuracy_curves, head_curves, laid_out
from interp.studies.stacked_heads.rows_depth import reachable

SIDES = {"direct": "heads on the hop's own link", "ahead": "heads by which links read ahead"}


def depth_figure(cells: pd.DataFrame) -> go.Figure:
    """Hops answered in every cell of layers (rows) and hops (columns), mean over nets; black bars: the most hops
    that so many layers can answer.
    """
    condition = cells["condition"].value_counts().idxmax()
    wide = cells[cells["condition"] == condition].pivot_table(index="layers", columns="hops", values="solved")
    text = [
        [f"{v:g} of {hops}" for hops, v in zip(wide.columns, row, strict=True)] for row in wide.to_numpy()
    ]
    figure = go.Figure(
        go.Heatmap(
            z=(wide / wide.columns.to_numpy()).to_numpy(), x=wide.columns.tolist(), y=wide.index.tolist(),
            text=text, texttemplate="%{text}", colorscale="Blues", zmin=0, zmax=1,
            colorbar={"title": "share of hops"},
        )
    )  # fmt: skip
    for layers in wide.index:
        x = reachable(int(layers)) + 0.5
        if x < wide.columns.max() + 0.5:
            figure.add_shape(type="line", x0=x, x1=x, y0=layers - 0.5, y1=layers + 0.5, line={"width": 4})
    figure = laid_out(
        figure, f"Hops answered ({condition} nets); bars: depth bound", "hops in the task", "layers"
    )
    return figure.update_xaxes(dtick=1).update_yaxes(dtick=1)


def reach_figure(table: pd.DataFrame) -> go.Figure:
    """First layer after which a linear probe reads each symbol at the query, a dot a net; the line: the earliest
    at which it can be there. Symbols that no layer holds are left out.
    """
    found = table[table["readable"]].groupby(["net", "layers", "position"], sort=False)["depth"].min()
    found = found.reset_index().assign(hop=lambda t: t["position"].str.removeprefix("hop ").astype(int))
    figure = go.Figure()
    for colour, (layers, rows) in zip(COLOURS, found.groupby("layers"), strict=False):
        shift = 0.12 * (float(layers) - 2.5)
        figure.add_scatter(
            x=(rows["hop"] + shift).tolist(), y=rows["depth"].tolist(), mode="markers", name=f"{layers} layers",
            marker={"color": colour, "size": 9, "opacity": 0.7},
        )  # fmt: skip
    legal = table.groupby("position", sort=False)["earliest"].first()
    hops = [int(name.removeprefix("hop ")) for name in legal.index]
    figure.add_scatter(x=hops, y=legal.tolist(), mode="lines", name="earliest by theory",
                       line={"color": "black", "shape": "hvh"})  # fmt: skip
    return laid_out(figure, "Where a symbol is first readable at the query", "hop", "layers passed")


def circuit_figure(runs: Sequence[Run]) -> go.Figure:
    """Effect of ablating each of the two circuits' heads on every hop at the end, a dot a seed, with 95% intervals
    over prompts.
    """
    table = pd.concat([run.tables([Mechanism()], "last")["mechanism"] for run in runs])
    figure = go.Figure()
    for i, (side, name) in enumerate(SIDES.items()):
        rows = table[table["metric"] == side].copy()
        place = rows["position"].str.removeprefix("hop ").astype(int) + 0.3 * (i - 0.5)
        jitter = rows.groupby("position").cumcount() / max(1, len(runs))
        figure.add_scatter(
            x=(place + 0.2 * (jitter - 0.5)).tolist(), y=rows["value"].tolist(), mode="markers", name=name,
            marker={"color": COLOURS[i], "size": 7},
            error_y={"symmetric": False, "array": (rows["ci_high"] - rows["value"]).tolist(),
                     "arrayminus": (rows["value"] - rows["ci_low"]).tolist(), "width": 0},
        )  # fmt: skip
    figure = laid_out(
        figure,
        f"Two circuits: what breaks each hop ({len(runs)} seeds)",
        "hop",
        "effect (1: as bad as no attention)",
    )
    return figure.update_xaxes(dtick=1)


def edges_figure(dated: Mapping[str, pd.DataFrame], hops: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """How many edges of the final circuit matter by each step, a line a run; dotted: onsets of its hops."""
    figure = go.Figure()
    for colour, (name, table) in zip(COLOURS, dated.items(), strict=False):
        emerged = np.sort(table["step"].dropna().to_numpy(dtype=float))
        last = float(table["last"].max()) if len(table) else 0.0
        x, y = [0.0, *emerged.tolist(), last], [0, *range(1, len(emerged) + 1), len(emerged)]
        figure.add_scatter(x=x, y=y, mode="lines", name=f"{name}: {len(emerged)} of {len(table)}",
                           line={"color": colour, "shape": "hv"})  # fmt: skip
        for hop, step in hops[name].items():
            if np.isfinite(step):
                figure.add_vline(x=step, line={"color": colour, "dash": "dot", "width": 1}, name=hop)
    return laid_out(figure, "Edges of the final circuit that matter; dotted: hops", "step", "edges")


def landscape_figure(run: Run, table: pd.DataFrame, ablations: pd.DataFrame) -> go.Figure:
    """One run on one axis: hops, best heads, what ablating each head costs, sharpness, learning coefficient.

    `table`: rows of the landscape; `ablations`: of `interp.heads.ablation.Ablations`, mean over hops drawn.
    """
    figure = make_subplots(rows=5, cols=1, shared_xaxes=True, vertical_spacing=0.03)
    mine = table[table["run"] == run.name].sort_values("step")
    ablations = ablations.assign(
        name="L" + ablations["layer"].astype(str) + "H" + ablations["head"].astype(str)
    )
    ablations = ablations.groupby(["name", "step"])["value"].mean().clip(-1, 2).reset_index()
    panels = (
        ("accuracy", accuracy_curves([run])),
        ("best head", head_curves([run])),
        ("ablation", ablations),
        ("sharpness", mine[mine["metric"] == "sharpness"].assign(name="sharpness")),
        ("coefficient", mine[mine["metric"] == COEFFICIENT].assign(name=COEFFICIENT)),
    )
    for number, (title, curves) in enumerate(panels, 1):
        for colour, (name, rows) in zip(COLOURS * 20, curves.groupby("name", sort=False), strict=False):
            error = None
            if title == "coefficient":
                error = {"array": (rows["ci_high"] - rows["value"]).tolist()}
            figure.add_scatter(
                x=rows["step"].tolist(), y=rows["value"].tolist(), mode="lines+markers", name=str(name),
                marker={"size": 3}, line={"color": colour, "width": 1.5}, error_y=error, row=number, col=1,
                legendgroup=title, legendgrouptitle={"text": title},
            )  # fmt: skip
        figure.update_yaxes(title=title, row=number, col=1)
    figure.update_xaxes(title="step", row=len(panels), col=1)
    return figure.update_layout(
        title=f"One run on one axis ({run.name})", template="plotly_white", height=1100
    )
