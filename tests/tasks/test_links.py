"""The link language: values, refusals, and that nothing in it is run as Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import UserError
from tasks.links import parse_link, register_link

Z = np.random.default_rng(0).standard_normal((7, 3))
Z1, Z2, Z3 = Z.T


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("z1*z2", Z1 * Z2),
        ("He1(z1)*He4(z2) + He2(z3)^2", Z1 * (Z2**4 - 6 * Z2**2 + 3) + (Z3**2 - 1) ** 2),
        ("sum(He2(z))/sqrt(2*L)", ((Z**2 - 1).sum(-1)) / np.sqrt(6)),
        ("sum(z*z1)", Z.sum(-1) * Z1),
        ("sum(1)", np.full(7, 3.0)),
        ("-z1^2 + 2e-1*z2 - -.5", -(Z1**2) + 0.2 * Z2 + 0.5),
        ("He3(z1 + z2)", (Z1 + Z2) ** 3 - 3 * (Z1 + Z2)),
        ("2**3 * z1", 8 * Z1),
    ],
)
def test_links_compute_what_they_say(text, expected):
    np.testing.assert_allclose(parse_link(text, 3)(Z), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("z4", "z1 ... z3"),
        ("z", "inside sum"),
        ("z0", "token 0"),
        ("z1/z2", "division by a constant"),
        ("z1/(L-3)", "division by a constant"),
        ("z1 z2", "unexpected"),
        ("__import__('os').system('true')", "cannot read"),
        ("open(z1)", "unknown name"),
        ("z1.real", "cannot read"),
        ("sum(sum(z))", "inside sum"),
        ("z1^0.5", "whole number"),
        ("He31(z1)", "orders go up to 30"),
        ("sqrt(z1)", "constant"),
        ("(z1", "expected ')'"),
        ("", "ends too early"),
        ("1e999*z1", "scale it down"),
        ("(" * 500 + "z1" + ")" * 500, "deep"),
        ("z1+" * 1000 + "z1", "at most 2000"),
    ],
)
def test_what_is_not_a_link_is_refused_in_one_line(text, says):
    with pytest.raises(UserError) as error:
        parse_link(text, 3)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="z123He()+-*/^., Lsqrtum\n_'\"", max_size=40))
def test_any_text_is_a_link_or_a_user_error(text):
    try:
        link = parse_link(text, 3)
    except UserError:
        return
    with np.errstate(all="ignore"):
        assert link(Z).shape == (7,)


def test_a_registered_function_is_part_of_the_language():
    register_link("fold", _fold)
    np.testing.assert_allclose(parse_link("2*fold(z) - z1", 3)(Z), 2 * np.abs(Z).max(-1) - Z1)
    register_link("fold", _fold)
    with pytest.raises(UserError, match="already registered"):
        register_link("fold", np.max)
    with pytest.raises(UserError, match="reserved"):
        register_link("He2", np.max)


def _fold(z):
    return np.abs(z).max(-1)
