"""Outlines of bands: closed, broken where an interval is missing, in every kind of picture."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from interp.pictures.bands import banded, outlines
from interp.pictures.panels import CurveLine, curves

NAN = float("nan")


def test_an_outline_runs_along_the_upper_limits_and_back_along_the_lower() -> None:
    assert outlines([0, 1], [1, 2], [3, 4]) == [[(0, 3), (1, 4), (1, 2), (0, 1)]]


def test_a_survival_band_keeps_each_limit_until_the_next_point() -> None:
    (found,) = outlines([0, 10], [0, 0.2], [0.4, 0.6], steps=True)
    assert found == [(0, 0.4), (10, 0.4), (10, 0.6), (10, 0.6), (10, 0.2), (10, 0.2), (10, 0), (0, 0)]


def test_no_band_bridges_a_point_without_an_interval() -> None:
    found = outlines([0, 1, 2, 3], [0, 0, NAN, 0], [1, 1, NAN, 1])
    assert found == [[(0, 1), (1, 1), (1, 0), (0, 0)], [(3, 1), (3, 0)]]
    assert outlines([0, 1], [NAN, NAN], [1, 1]) == []


@pytest.mark.parametrize(("low", "areas"), [((0.0, 0.0, 0.0, 0.0, 0.0), 1), ((0.0, 0.0, NAN, 0.0, 0.0), 2)])
def test_pictures_of_both_kinds_draw_as_many_bands(low, areas) -> None:
    x, y, high = (0.0, 1.0, 2.0, 3.0, 4.0), (0.5,) * 5, (1.0,) * 5
    svg = curves("t", {"m": ([CurveLine("a", x, y, low, high)], [])}, "step")
    assert svg is not None
    assert svg.svg.count("<polygon") == areas
    figure = go.Figure()
    banded(figure, "a", x, y, (low, high), "#0072b2")
    assert [trace.fill for trace in figure.data] == ["toself"] * areas + [None]
    assert {trace.legendgroup for trace in figure.data} == {"a"}
