"""Figures by matplotlib: what is drawn is what the table holds, intervals and units included."""

from __future__ import annotations

import io
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from interp.analysis.registry import plot_of
from interp.analysis.result import Result
from tasks.errors import UserError

STEPS = [0.0, 10.0, 20.0]


def axes() -> Axes:
    return Figure().add_subplot()


def curve(values: list[float], **same: object) -> pd.DataFrame:
    table = pd.DataFrame(
        {"step": STEPS, "value": values, "control": "none", "unit": "share of prompts", **same}
    )
    return table.assign(ci_low=table["value"] - 0.1, ci_high=table["value"] + 0.2)


SCORES = pd.concat([
    curve([0.1, 0.5, 0.9], position="hop 1", metric="accuracy"),
    curve([0.1, 0.2, 0.6], position="hop 2", metric="accuracy"),
    curve([3.0, 2.0, 1.0], position="hop 1", metric="loss"),
    pd.DataFrame([{"step": None, "value": 0.06, "control": "chance", "position": "hop 1", "metric": "accuracy"}]),
])  # fmt: skip


def band(shape: PolyCollection) -> set[tuple[float, float]]:
    return {(round(float(x), 6), round(float(y), 6)) for x, y in shape.get_paths()[0].vertices}


def test_curves_bands_levels_labels_and_legend_are_those_of_the_table() -> None:
    ax = axes()
    assert Result("scores", SCORES, "").plot(ax) is ax
    first, second, chance = ax.get_lines()
    assert list(first.get_xdata()) == STEPS
    assert list(first.get_ydata()) == [0.1, 0.5, 0.9]
    assert list(second.get_ydata()) == [0.1, 0.2, 0.6]
    assert list(chance.get_ydata()) == [0.06, 0.06]
    shapes = [shape for shape in ax.collections if isinstance(shape, PolyCollection)]
    assert {(0.0, 0.0), (0.0, 0.3), (20.0, 0.8), (20.0, 1.1)} <= band(shapes[0])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training step", "accuracy (share of prompts)")
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["hop 1", "hop 2", "chance"]


def test_a_figure_is_written() -> None:
    ax = Result("scores", SCORES, "").plot(axes())
    file = io.BytesIO()
    ax.get_figure().savefig(file, format="png")
    pixels = np.frombuffer(file.getvalue(), dtype=np.uint8)
    assert file.getvalue().startswith(b"\x89PNG")
    assert len(pixels) > 5000
    assert len(np.unique(pixels)) > 100


def test_one_checkpoint_is_points_with_their_intervals() -> None:
    table = pd.DataFrame({
        "step": 8.0, "layer": 0, "head": [0, 1], "value": [0.2, 0.6], "ci_low": [0.1, 0.5], "ci_high": [0.4, 0.9],
        "metric": "ablation effect", "control": "none", "unit": "share",
    })  # fmt: skip
    ax = Result("ablation", table, "").plot(axes())
    (bars,) = ax.containers
    assert list(bars.lines[0].get_xdata()) == [0.2, 0.6]
    ends = [sorted(float(x) for x, _ in segment) for segment in bars.lines[2][0].get_segments()]
    assert np.allclose(ends, [[0.1, 0.4], [0.5, 0.9]])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["L0H0", "L0H1"]
    assert ax.get_xlabel() == "ablation effect (share), step 8"


def test_onsets_are_drawn_with_their_intervals_and_open_ends_go_to_the_last_step() -> None:
    table = pd.DataFrame({
        "subject": ["hop 1", "L0H1"], "metric": ["accuracy", "query -> link_1"], "step": [10.0, 20.0],
        "ci_low": [5.0, 15.0], "ci_high": [10.0, None], "last": 40.0,
    })  # fmt: skip
    ax = Result("emergence", table, "").plot(axes())
    (bars,) = ax.containers
    assert list(bars.lines[0].get_xdata()) == [10.0, 20.0]
    assert np.allclose([s[1][0] for s in bars.lines[2][0].get_segments()], [10.0, 40.0])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["hop 1 accuracy", "L0H1 query -> link 1"]


def test_a_circuit_is_a_point_on_its_curve_beside_random_ones() -> None:
    rows = [
        ("curve", 10.0, 1.0),
        ("curve", 5.0, 0.8),
        ("none", 5.0, 0.8),
        ("random", 5.0, 0.3),
        ("random", 5.0, 0.4),
    ]
    table = pd.DataFrame(rows, columns=["control", "edges", "value"]).assign(metric="faithfulness", step=8.0)
    table = table.assign(ci_low=table["value"] - 0.1, ci_high=table["value"] + 0.1)
    ax = Result("circuit", table, "").plot(axes())
    assert list(ax.get_lines()[0].get_xdata()) == [5.0, 10.0]
    random = ax.collections[-1].get_offsets()
    assert sorted(map(float, random[:, 1])) == [0.3, 0.4]
    assert ax.get_ylabel() == "faithfulness (share of the behaviour)"


def test_of_heads_the_highest_on_each_relation_is_drawn() -> None:
    rows = [curve([0.1, 0.2, v], layer=0, head=h, metric="query -> link_1") for h, v in ((0, 0.3), (1, 0.9))]
    ax = Result("heads", pd.concat(rows).assign(unit="attention"), "").plot(axes())
    (line,) = ax.get_lines()
    assert list(line.get_ydata()) == [0.1, 0.2, 0.9]


def test_without_matplotlib_one_line_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(UserError, match=r"plots need matplotlib: pip install 'algoscope\[plots\]'"):
        Result("scores", SCORES, "").plot()


def test_a_table_without_values_is_refused_and_a_table_of_ones_own_is_a_series() -> None:
    with pytest.raises(UserError, match="nothing to plot"):
        Result("scores", SCORES.assign(value=None), "").plot(axes())
    assert plot_of("no analysis of ours") is plot_of("scores")
