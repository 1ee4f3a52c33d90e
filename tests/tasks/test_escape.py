"""Drift, stable rates and gains against the simulated chain and the page's hand-derived constants."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tasks.errors import UserError
from tasks.links import parse_link
from tasks.theory.escape import (
    Net,
    activation_coefficients,
    asymptotic_steps,
    predicted_gain,
    saturated_gain,
)
from tasks.theory.hermite import information_exponent
from tasks.theory.reduced import EscapeSetting, simulate_net


def _net(text, length, activation="relu", tied=True):
    return Net(parse_link(text, length), length, activation, tied)


def test_activation_coefficients_match_the_closed_forms():
    relu = activation_coefficients("relu", 4) / np.sqrt([math.factorial(k) for k in range(5)])
    np.testing.assert_allclose(relu[1:], [0.5, 0.28209, 0, -0.08143], atol=1e-4)
    tanh = activation_coefficients("minus-tanh", 4) / np.sqrt([math.factorial(k) for k in range(5)])
    assert tanh[3] == pytest.approx(0.148, abs=5e-4)
    np.testing.assert_allclose(tanh[[2, 4]], 0, atol=1e-12)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("text", ["sum(z)/sqrt(L)", "sum(He2(z))/sqrt(2*L)", "z1 + z1*z2"])
def test_the_drift_is_that_of_one_simulated_step(text, tied):
    net, d, rate, start, n = _net(text, 2, tied=tied), 30, 0.1, 0.3, 200_000
    found = simulate_net(net, EscapeSetting(d, rate, 0.31, start), n, 1, seed=0)
    moved = found.final - start
    expected = net.landscape.drift(np.full(2, start), rate) / d
    error = moved.std(0) / math.sqrt(n)
    # the closed form keeps the gradient's second moment at its value at m = 0, and terms up to rate^2
    slack = 0.12 * rate**2 * net.landscape.noise * start / d + 0.02 * np.abs(expected).max()
    np.testing.assert_array_less(np.abs(moved.mean(0) - expected[: moved.shape[1]]), 4 * error + slack)


def test_predicted_escape_times_are_those_of_the_chain():
    for text, d, rate in [("sum(z)/sqrt(L)", 400, 0.1), ("sum(He2(z))/sqrt(2*L)", 100, 0.05)]:
        net = _net(text, 2)
        setting = EscapeSetting(d, rate, 0.5, 1 / math.sqrt(d))
        median = simulate_net(net, setting, 64, 200_000, seed=1).median()
        assert net.landscape.escape_time(d, rate, 1 / math.sqrt(d), 0.5) == pytest.approx(median, rel=0.15)


def test_beyond_the_stable_rate_the_drift_never_escapes():
    net = _net("sum(He2(z))/sqrt(2*L)", 4)
    bound = net.landscape.stable_rate(0.05, 0.5)
    assert 0.1 < bound < 0.6
    assert math.isinf(net.landscape.escape_time(400, 1.05 * bound, 0.05, 0.5))
    assert math.isfinite(net.landscape.escape_time(400, 0.9 * bound, 0.05, 0.5))


def test_a_link_that_cancels_over_tokens_gives_the_tied_net_no_drift():
    tied, untied = _net("z1 - z2", 2), _net("z1 - z2", 2, tied=False)
    np.testing.assert_allclose(tied.landscape.drift(np.full(2, 0.3), 1e-9), 0, atol=1e-15)
    assert untied.landscape.stable_rate(0.05, 0.3) > 0.1
    assert predicted_gain(information_exponent(parse_link("z1-z2", 2), 2), 2) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_gains_of_sums_are_the_length_and_its_square(length):
    linear = information_exponent(parse_link("sum(z)", length), length)
    square = information_exponent(parse_link("sum(He2(z))", length), length)
    assert predicted_gain(linear, length) == pytest.approx(length)
    assert predicted_gain(square, length) == pytest.approx(length)
    assert saturated_gain(square, length) == pytest.approx(length**2)


def test_theorem_one_and_refusals():
    d = np.array([10.0, 20.0])
    assert asymptotic_steps(1, d)[1] / asymptotic_steps(1, d)[0] == pytest.approx(2)
    assert asymptotic_steps(2, d)[1] == pytest.approx(20 * math.log(20))
    assert asymptotic_steps(4, d)[1] / asymptotic_steps(4, d)[0] == pytest.approx(8)
    with pytest.raises(UserError, match="at least 1"):
        asymptotic_steps(0, d)
    with pytest.raises(UserError, match="unknown activation"):
        _ = Net(parse_link("z1", 1), 1, "gelu", True).landscape
