"""Pictures of the study of Markov chains: weights of strategies and KL to them over training, medians over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from interp.pictures.bands import banded
from interp.run import Run
from interp.studies.markov_chains.measure import distances, weighed
from probes.stats import median

COLOURS = {"uniform": "#999999", "unigram": "#D55E00", "bigram": "#0072B2", "trigram": "#009E73"}


def weights_figure(runs: Sequence[Run], title: str) -> go.Figure:
    """Weight of every strategy over training."""
    found = {}
    for name in COLOURS:
        rows = [weighed(run) for run in runs]
        own = [t[(t["metric"] == "weight") & (t["strategy"] == name) & t["step"].notna()] for t in rows]
        found[name] = pd.DataFrame({i: t.set_index("step")["value"] for i, t in enumerate(own)})
    return _drawn(found, title, "weight in the outputs")


def distances_figure(runs: Sequence[Run], title: str) -> go.Figure:
    """KL to the unigram and the bigram predictor over training."""
    found = {
        name: pd.DataFrame({i: distances(run, name) for i, run in enumerate(runs)})
        for name in ("unigram", "bigram")
    }
    return _drawn(found, title, "KL, nats")


def _drawn(curves: dict[str, pd.DataFrame], title: str, y: str) -> go.Figure:
    figure = go.Figure()
    for name, wide in curves.items():
        found = [median(values) for values in wide.sort_index().to_numpy(dtype=float)]
        limits = [f.low for f in found], [f.high for f in found]
        banded(figure, name, wide.index.tolist(), [f.value for f in found], limits, COLOURS[name])
    return figure.update_layout(title=title, xaxis_title="step", yaxis_title=y, template="plotly_white")
