"""Population loss, Hessian and flatness of eq. (1) against figures of the paper and independent quadrature."""

from __future__ import annotations

import numpy as np
import pytest

from interp.studies.single_index.theory import minimum_angles
from tasks.errors import UserError
from tasks.links import parse_link
from tasks.theory.single_index import (
    attention_matrix,
    attention_student,
    encoded_target,
    flatness,
    opposite,
    population_loss,
    positional_semantic,
    taylor,
)

IDENTITY, TRACE = attention_student("identity", 2), attention_student("trace", 2)
NONE, OPPOSITE = np.zeros(2), opposite(2)


def _gap(omega):
    hessian = taylor(positional_semantic(omega, 1.0), IDENTITY, OPPOSITE, 2).hessian
    assert abs(hessian[0, 1]) < 1e-12
    return hessian[0, 0] - hessian[1, 1]


def test_the_escape_direction_turns_at_the_published_transition():
    low, high = 0.0, 1.0
    assert _gap(low) > 0 > _gap(high)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if _gap(middle) > 0 else (low, middle)
    assert 0.63 <= low <= 0.65


def test_the_expansion_agrees_with_finite_differences_of_the_loss():
    target = positional_semantic(0.3, 0.85)

    def loss(e, m):
        return population_loss(target, IDENTITY, OPPOSITE, e, m, nodes=25).value

    hessian, h, middle = taylor(target, IDENTITY, OPPOSITE, 2).hessian, 0.02, loss(0, 0)
    numeric = [
        (loss(*(h * v)) + loss(*(-h * v)) - 2 * middle) / h**2 for v in (np.array([1, 0]), np.array([0, 1]))
    ]
    np.testing.assert_allclose(np.diag(hessian), numeric, atol=4e-3)


def test_polynomial_targets_expand_exactly():
    def square(z):  # the tied square network on two tokens, without its cross term
        return (z**2).sum(-1) / 2

    series = taylor(parse_link("sum(He2(z))", 2), square, NONE, 4)
    # R = E g^2 + E f^2 - 2 sum_l E[He2(z*_l) z_l^2 / 2] = const - 4 m^2
    assert series.values[0, 2] == pytest.approx(-2 * 2 * 2 * 0.5)
    others = [v for at, v in series.values.items() if at != (0, 2)]
    np.testing.assert_allclose(others, 0, atol=1e-10)


def test_an_encoding_lowers_the_order_and_opens_a_way_down():
    helped = parse_link("4/3 + He4(z1) + 2*He4(z2)", 2)
    hessian = taylor(helped, TRACE, OPPOSITE, 2).hessian
    assert abs(hessian[1, 1]) < 0.01
    assert -0.31 <= hessian[0, 0] <= -0.28
    assert flatness(helped, TRACE, NONE).order == 4
    assert flatness(helped, TRACE, OPPOSITE).order == 2
    assert flatness(helped, TRACE, OPPOSITE).escapes
    unhelped = flatness(parse_link("He4(z1)+He4(z2)", 2), TRACE, OPPOSITE)
    assert not unhelped.escapes


@pytest.mark.parametrize("text", ["sum(He2(z))", "He4(z1)+He4(z2)", "4/3 + He4(z1) + 2*He4(z2)"])
def test_without_an_encoding_flatness_is_the_exponent(text):
    from tasks.theory.hermite import information_exponent

    link = parse_link(text, 2)
    assert flatness(link, TRACE, NONE).order == information_exponent(link, 2).order


def test_flatness_above_the_limit_is_refused():
    with pytest.raises(UserError, match="flatness above k_max = 2"):
        flatness(parse_link("He4(z1)", 2), TRACE, NONE, k_max=2)


def test_global_minimum_changes_sides_where_the_paper_says():
    def gap(omega):
        target = positional_semantic(omega, 1.0)
        return [population_loss(target, IDENTITY, OPPOSITE, *at).value for at in ((1, 0), (0, 1))]

    positional, semantic = gap(0.72)
    assert semantic < positional
    positional, semantic = gap(0.75)
    assert positional < semantic


def test_long_sequences_are_sampled_with_an_error_that_covers():
    target, student = parse_link("z1*z2", 3), attention_student("trace", 3)
    found = [population_loss(target, student, np.zeros(3), 0.0, 0.4, seed=seed) for seed in (0, 1, 2, 3)]
    assert all("Monte Carlo" in f.method for f in found)
    values, errors = np.array([f.value for f in found]), np.array([f.error for f in found])
    assert np.abs(values - values.mean()).max() < 3.5 * errors.mean()
    assert values.std(ddof=1) > 0.2 * errors.mean()


def test_attention_rows_sum_to_one_and_bad_settings_are_refused():
    z = np.random.default_rng(0).standard_normal((5, 3)) * 20
    np.testing.assert_allclose(attention_matrix(z).sum(-1), 1)
    with pytest.raises(UserError, match="omega in"):
        positional_semantic(1.5, 1.0)
    with pytest.raises(UserError, match=r"\[-1, 1\]"):
        population_loss(positional_semantic(0.5, 1.0), IDENTITY, OPPOSITE, 0.0, 1.5)


def test_the_minimum_of_the_encoded_target_goes_round_the_circle():
    """omega 0 and 1 are purely semantic and positional; in between the minimum turns step by step."""
    angles = minimum_angles(
        [encoded_target(omega, 1.0) for omega in (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)], angles=19
    )
    assert angles[0] == 0
    assert angles[-1] == pytest.approx(np.pi / 2)
    assert (np.diff(angles) > 0).all()
    jump = minimum_angles([positional_semantic(omega, 1.0) for omega in (0.7, 0.77)], angles=19)
    np.testing.assert_allclose(jump, [0, np.pi / 2])
    with pytest.raises(UserError, match="omega"):
        encoded_target(1.5, 1.0)
