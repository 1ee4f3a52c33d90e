"""Figures of the single-index study, from its kept points: one offline page.

Scaling of waits with theory lines, gains against L, P(semantic) and the global minimum against omega, the phase
diagram, flow and single replicas in the (m, e) plane. Everything on the page is drawn by plotly from numbers; no text
comes from outside this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from interp.studies.figure_page import Part, write_page
from interp.studies.single_index.theory import REGIMES, flow, phase_diagram
from tasks.theory.reduced import EscapeSetting, simulate_attention
from tasks.theory.single_index import opposite, positional_semantic

Points = Mapping[str, Sequence[Mapping]]
SCALINGS = {"slope-1": "SIE 1", "slope-2": "SIE 2", "slope-3": "SIE 3", "gain-1": "SIE 1", "gain-2": "SIE 2"}


def _layout(figure: go.Figure, title: str, x: str, y: str, log: bool = False) -> go.Figure:
    axis = {"type": "log"} if log else {}
    return figure.update_layout(
        title=title,
        xaxis={"title": x, **axis},
        yaxis={"title": y, **axis},
        template="plotly_white",
        height=430,
    )


def waits_figure(points: Sequence[Mapping]) -> go.Figure:
    """Median escape times against d, with the drift's prediction as lines."""
    figure = go.Figure()
    for law in dict.fromkeys(p["law"] for p in points):
        mine = [p for p in points if p["law"] == law]
        d = [p["d"] for p in mine]
        figure.add_scatter(x=d, y=[p["value"] for p in mine], mode="markers", name=f"{SCALINGS[law]}, median")
        figure.add_scatter(
            x=d, y=[p["predicted"] for p in mine], mode="lines", name=f"{SCALINGS[law]}, drift"
        )
    return _layout(figure, "Steps until the overlap is one half", "dimension d", "steps", log=True)


def gains_figure(points: Sequence[Mapping]) -> go.Figure:
    """tau_untied / tau_tied against L at equal rates, with the line gain = L."""
    figure = go.Figure()
    for law in dict.fromkeys(p["law"] for p in points):
        mine = [p for p in points if p["law"] == law]
        figure.add_scatter(
            x=[p["length"] for p in mine],
            y=[p["value"] for p in mine],
            mode="markers+lines",
            name=SCALINGS[law],
        )
    lengths = sorted({p["length"] for p in points})
    figure.add_scatter(x=lengths, y=lengths, mode="lines", line={"dash": "dot"}, name="gain = L")
    return _layout(figure, "What tying the tokens gains at equal rates", "tokens L", "gain", log=True)


def semantic_figure(points: Sequence[Mapping]) -> go.Figure:
    """P(semantic) against omega with Clopper-Pearson intervals."""
    figure = go.Figure()
    for d in dict.fromkeys(p["d"] for p in points):
        mine = [p for p in points if p["d"] == d]
        up = [p["high"] - p["value"] for p in mine]
        down = [p["value"] - p["low"] for p in mine]
        figure.add_scatter(
            x=[p["omega"] for p in mine], y=[p["value"] for p in mine], mode="markers+lines", name=f"d = {d}",
            error_y={"type": "data", "array": up, "arrayminus": down, "symmetric": False},
        )  # fmt: skip
    return _layout(figure, "Where SGD ends (a = 1)", "omega", "share ending semantic")


def phase_figure(columns: int = 25, rows: int = 16) -> go.Figure:
    """The regimes in the plane of omega and a."""
    omegas, scales = np.linspace(0.4, 1.0, columns), np.linspace(0.7, 1.0, rows)
    names = phase_diagram(omegas, scales)
    present = [r for r in REGIMES if any(r in row for row in names)]
    colours = ["#4c78a8", "#9ecae9", "#bab0ac", "#f58518", "#54a24b", "#eeca3b", "#88d27a", "#b279a2"]
    scale = [
        [(i + end) / len(present), colours[REGIMES.index(r)]] for i, r in enumerate(present) for end in (0, 1)
    ]
    figure = go.Figure(
        go.Heatmap(
            x=omegas, y=scales, z=[[present.index(name) for name in row] for row in names], text=names,
            colorscale=scale, zmin=-0.5, zmax=len(present) - 0.5, hovertemplate="omega %{x:.3f}, a %{y:.3f}<br>%{text}",
            colorbar={"tickvals": list(range(len(present))), "ticktext": present},
        )
    )  # fmt: skip
    return _layout(figure, "Phase diagram of the positional/semantic target", "omega", "a")


def flow_figure(omegas: Sequence[float] = (0.5, 0.67, 0.8)) -> go.Figure:
    """Flow of the overlaps from near the origin, a = 1."""
    figure = go.Figure()
    for omega in omegas:
        for start in ((0.05, 0.02), (0.05, 0.05), (0.02, 0.05)):
            path = flow(omega, 1.0, start, 400.0)
            figure.add_scatter(x=path[:, 0], y=path[:, 1], mode="lines", name=f"omega {omega}, from {start}")
    return _layout(
        figure, "Gradient flow of the overlaps (a = 1)", "semantic overlap m", "positional overlap e"
    )


def trajectories_figure(
    omegas: Sequence[float] = (0.5, 0.67, 0.8), d: int = 200, replicas: int = 6, steps: int = 40_000
) -> go.Figure:
    """Paths of single SGD replicas in the plane of |m| and |e|, from a random start to |(m, e)| = .9."""
    figure, colours = go.Figure(), ("#4c78a8", "#f58518", "#54a24b", "#b279a2")
    for omega, colour in zip(omegas, colours, strict=False):
        target, setting = positional_semantic(omega, 1.0), EscapeSetting(d, 0.1, 0.9)
        found = simulate_attention(
            target, setting, opposite(2), "identity", replicas, steps, 0, every=max(1, steps // 400)
        )
        for k in range(replicas):
            figure.add_scatter(
                x=np.abs(found.path[:, k, 0]), y=np.abs(found.path[:, k, 1]), mode="lines", opacity=0.7,
                line={"color": colour, "width": 1}, name=f"omega {omega}", legendgroup=str(omega), showlegend=k == 0,
            )  # fmt: skip
    title = f"Where SGD goes from the origin (a = 1, d = {d})"
    return _layout(figure, title, "semantic overlap |m|", "positional overlap |e|")


def minima_figure(points: Sequence[Mapping]) -> go.Figure:
    """Angle of the global minimum against omega: 0 semantic, 90 positional."""
    names = {"encoded_target": "encoding inside the softmax", "positional_semantic": "eq. (18)"}
    figure = go.Figure()
    for target in dict.fromkeys(p["target"] for p in points):
        mine = [p for p in points if p["target"] == target]
        figure.add_scatter(
            x=[p["omega"] for p in mine],
            y=[p["value"] for p in mine],
            mode="markers+lines",
            name=names[target],
        )
    return _layout(figure, "Where the global minimum is (a = 1)", "omega", "angle, degrees")


def write_figures(points: Points, out: Path) -> Path:
    """All figures that the kept points allow, on one offline page. Raises UserError when it cannot be written."""
    figures = [
        draw(points[name])
        for name, draw in (
            ("waits", waits_figure),
            ("gains", gains_figure),
            ("semantic", semantic_figure),
            ("minima", minima_figure),
        )
        if points.get(name)
    ]
    figures += [phase_figure(), flow_figure(), trajectories_figure()]
    return write_page(out, "Single-index study", [Part(figure) for figure in figures])
