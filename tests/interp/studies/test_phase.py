"""Regimes and flow of the positional/semantic problem: published points, planted minima, agreement with the loss."""

from __future__ import annotations

import numpy as np
import pytest

from interp.studies.single_index.theory import flow, minima, moments, phase_diagram, regime
from tasks.theory.single_index import attention_student, opposite, population_loss, positional_semantic


@pytest.fixture(scope="module")
def grid():
    return moments(13, 25, 11)


def test_the_decomposed_loss_is_the_loss(grid):
    loss = grid.loss(0.4, 0.9)
    for i, j in ((0, 0), (5, 9), (12, 0), (12, 24)):
        m, e = grid.radius[i] * np.cos(grid.angle[j]), grid.radius[i] * np.sin(grid.angle[j])
        student = attention_student("identity", 2)
        direct = population_loss(
            positional_semantic(0.4, 0.9), student, opposite(2), float(e), float(m), nodes=11
        )
        assert loss[i, j] == pytest.approx(direct.value, abs=1e-12)


@pytest.mark.parametrize(
    ("omega", "a", "expected"),
    [
        (0.5, 1.0, "unique semantic minimum"),
        (0.67, 1.0, "global semantic minimum, positional dynamics"),
        (0.8, 1.0, "global positional minimum"),
        (1.0, 1.0, "unique positional minimum"),
        (0.95, 0.76, "unique semantic minimum, misaligned dynamics"),
    ],
)
def test_published_points_lie_in_their_regimes(grid, omega, a, expected):
    assert regime(omega, a, grid) == expected


def test_planted_minima_are_found_and_the_origin_is_not_one(grid):
    r, t = np.meshgrid(grid.radius, grid.angle, indexing="ij")
    planted = np.minimum((r - 1) ** 2 + t**2, (r - 0.5) ** 2 + (t - np.pi / 2) ** 2 + 0.1)
    found = minima(planted, grid.radius, grid.angle)
    assert [(round(x.radius, 3), round(x.angle, 3), x.semantic) for x in found] == [
        (1, 0, True),
        (0.5, 1.571, False),
    ]
    assert minima(r, grid.radius, grid.angle) == []


def test_flow_ends_where_the_escape_direction_points(grid):
    assert flow(0.5, 1.0, (0.05, 0.05), 100.0, grid)[-1] == pytest.approx([1, 0], abs=0.02)
    assert flow(0.7, 1.0, (0.05, 0.05), 400.0, grid)[-1] == pytest.approx([0, 1], abs=0.02)


def test_the_diagram_has_a_row_for_each_a(grid):
    table = phase_diagram(np.array([0.5, 0.8]), np.array([0.9, 1.0]), grid)
    assert [len(row) for row in table] == [2, 2]
    assert table[1] == ["unique semantic minimum", "global positional minimum"]
