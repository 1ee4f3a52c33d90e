"""Information exponents of the paper's examples, and the honesty of what surrounds them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tasks.errors import UserError
from tasks.links import parse_link
from tasks.theory import hermite
from tasks.theory.hermite import contract, expand, gauss_hermite, information_exponent, operator_norm

EXAMPLES = [
    ("sum(z)", 3, 1),
    ("z1*z2", 2, 2),
    ("He1(z1)*He4(z2) + He2(z3)*He2(z4)", 4, 4),
    ("He2(z1)*He3(z2)", 2, 5),
    ("sum(He2(z))", 3, 2),
    ("He4(z1)+He4(z2)", 2, 4),
    ("z1*z2*z3", 3, 3),
    ("z1 + z1*z2", 2, 1),
    ("z1 + z1*z2 + z1*z2*z3", 3, 1),
    ("z1 - z2", 2, 1),
    ("(z1^2 - z2^2)/sqrt(2)", 2, 2),
    ("4/3 + He4(z1) + 2*He4(z2)", 2, 4),
    ("1e-9*He3(z1)", 1, 3),
]


@pytest.mark.parametrize(("text", "length", "order"), EXAMPLES)
def test_the_examples_have_their_exponent(text, length, order):
    found = information_exponent(parse_link(text, length), length)
    assert found.order == order
    assert found.method.startswith("Gauss-Hermite")


def test_coefficients_are_those_that_were_written_down():
    found = information_exponent(parse_link("3*He2(z1)*z2 - 0.5*He3(z2)", 2), 2).coefficients
    assert set(found) == {(2, 1), (0, 3)}
    np.testing.assert_allclose(found[2, 1], [3 * 2], rtol=1e-12)
    np.testing.assert_allclose(found[0, 3], [-0.5 * 6], rtol=1e-12)


def test_an_exponent_above_the_limit_is_refused_not_guessed():
    with pytest.raises(UserError, match="exponent above k_max = 3"):
        information_exponent(parse_link("He4(z1)", 1), 1, k_max=3)
    with pytest.raises(UserError, match="constant"):
        information_exponent(parse_link("3", 2), 2)
    with pytest.raises(UserError, match="not finite"):
        information_exponent(lambda z: np.full(len(z), np.nan), 1)


def test_quadrature_error_keeps_a_kink_from_counting():
    def kinked(z):  # its first coefficient is not zero, 2 Phi(-0.31)-1
        return np.abs(z[..., 0] - 0.31)

    exact = math.erf(-0.31 / math.sqrt(2))
    series = expand(kinked, 1, 2)
    assert abs(series.values[1,][0] - exact) < 5 * series.errors[1,][0]
    smooth = expand(lambda z: np.sin(z[..., 0]), 1, 2)
    assert smooth.errors[1,][0] < 1e-10
    np.testing.assert_allclose(smooth.values[1,][0], math.exp(-0.5), rtol=1e-12)


def test_many_tokens_go_by_monte_carlo_with_its_error(monkeypatch):
    monkeypatch.setattr(hermite, "SAMPLES", 20_000)
    link = parse_link("sum(He2(z))/sqrt(2*L)", 7)
    found = information_exponent(link, 7, k_max=4)
    assert found.order == 2
    assert "Monte Carlo" in found.method
    assert set(found.coefficients) == {tuple(2 * (i == j) for i in range(7)) for j in range(7)}


def test_standard_errors_cover_the_truth(monkeypatch):
    monkeypatch.setattr(hermite, "SAMPLES", 4000)
    link, index = parse_link("z1*z2 + He2(z3)", 7), (0, 0, 2, 0, 0, 0, 0)
    inside = 0
    for seed in range(200):
        series = expand(link, 7, 2, seed=seed)
        inside += abs(series.values[index][0] - 2.0) <= 1.96 * series.errors[index][0]
    assert 179 <= inside <= 199  # 0.1% to 99.9% of a binomial with p = 0.95


def test_pure_noise_has_no_exponent_under_monte_carlo(monkeypatch):
    monkeypatch.setattr(hermite, "SAMPLES", 3000)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        with pytest.raises(UserError, match="exponent above"):
            information_exponent(lambda z, rng=rng: rng.standard_normal(len(z)), 6, k_max=3, seed=seed)


def test_quadrature_is_exact_for_moments():
    points, weights = gauss_hermite(2, 10)
    assert weights.sum() == pytest.approx(1)
    assert weights @ (points[:, 0] ** 4 * points[:, 1] ** 2) == pytest.approx(3)


def test_tensor_contraction_and_operator_norm():
    identity = {(2, 0): np.array([1.0]), (0, 2): np.array([1.0])}
    assert contract(identity, np.ones(2))[0] == pytest.approx(2)
    assert operator_norm(identity) == pytest.approx(1)
    product = {(1, 1, 1): np.array([1.0])}
    assert operator_norm(product) == pytest.approx(6 * 3**-1.5)
    matrix = np.random.default_rng(3).standard_normal((3, 3))
    matrix = matrix + matrix.T
    entries = {(2, 0, 0): matrix[0, 0], (0, 2, 0): matrix[1, 1], (0, 0, 2): matrix[2, 2]}
    entries |= {(1, 1, 0): matrix[0, 1], (1, 0, 1): matrix[0, 2], (0, 1, 1): matrix[1, 2]}
    assert operator_norm({a: np.array([c]) for a, c in entries.items()}) == pytest.approx(
        np.linalg.norm(matrix, 2)
    )
