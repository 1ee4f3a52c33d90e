"""The reduced chains against d-dimensional SGD, published scalings at small size, censoring and survival medians."""

from __future__ import annotations

import math

import numpy as np
import pytest

from interp.studies.single_index.theory_direct import (
    attention_step,
    simulate_attention_direct,
    simulate_net_direct,
)
from tasks.errors import UserError
from tasks.links import parse_link
from tasks.theory.escape import Net, UnstableRate
from tasks.theory.escapes import survival_median
from tasks.theory.reduced import EscapeSetting, attention_slopes, simulate_attention, simulate_net
from tasks.theory.single_index import attention_student, opposite, positional_semantic, reduction_weights


def _net(text, length, activation="relu", tied=True):
    return Net(parse_link(text, length), length, activation, tied)


def _escape(net, d, rate, replicas=48, steps=400_000, threshold=0.5, seed=0, **more):
    return simulate_net(
        net, EscapeSetting(d, rate, threshold, 1 / math.sqrt(d)), replicas, steps, seed, **more
    )


@pytest.mark.parametrize("tied", [True, False])
def test_reduced_and_direct_chains_have_one_law(tied):
    net = _net("sum(He2(z))/sqrt(2*L)" if tied else "z1 + z1*z2", 2, tied=tied)
    setting = EscapeSetting(32, 0.08, 0.5, 32**-0.5)
    direct = simulate_net_direct(net, setting, 150, 30_000, seed=1)
    reduced = simulate_net(net, setting, 600, 30_000, seed=2)
    assert direct.censored == 0
    assert reduced.censored == 0
    from scipy.stats import ks_2samp

    assert ks_2samp(direct.times[:, 0], reduced.times[:, 0]).pvalue > 1e-3
    assert 0.8 <= reduced.median() / direct.median() <= 1.25


def test_reduced_and_direct_attention_have_one_law():
    from scipy.stats import ks_2samp

    target, setting = positional_semantic(0.64, 1.0), EscapeSetting(16, 0.2, 0.6)
    direct = simulate_attention_direct(target, setting, opposite(2), "identity", 150, 6000, seed=1)
    reduced = simulate_attention(target, setting, opposite(2), "identity", 600, 6000, seed=2)
    assert ks_2samp(direct.times[:, 0], reduced.times[:, 0]).pvalue > 1e-3
    assert ks_2samp(np.abs(direct.final[:, 0]), np.abs(reduced.final[:, 0])).pvalue > 1e-3


def test_injected_encodings_have_one_law_and_break_evenness():
    from scipy.stats import ks_2samp

    target, still, shift = parse_link("He1(z1)+He1(z2)", 2), np.zeros(2), np.array([-1.0, -1.0])
    setting = EscapeSetting(16, 0.2, 0.5)
    direct = simulate_attention_direct(target, setting, still, "trace", 150, 6000, seed=1, shift=shift)
    reduced = simulate_attention(target, setting, still, "trace", 400, 6000, seed=2, shift=shift)
    assert ks_2samp(direct.times[:, 0], reduced.times[:, 0]).pvalue > 1e-3
    assert (reduced.final[:, 0] > 0).mean() > 0.95
    blind = simulate_attention(target, setting, still, "trace", 50, 2000, seed=3)
    assert abs((blind.final[:, 0] > 0).mean() - 0.5) < 0.3


@pytest.mark.parametrize("reduction", ["identity", "trace", "projection"])
def test_attention_slopes_are_the_gradient(reduction):
    rng = np.random.default_rng(0)
    z, student = rng.standard_normal((4, 3)), attention_student(reduction, 3)
    label = np.asarray(student(rng.standard_normal((4, 3)))) * 0.3
    h = 1e-6

    def loss(z):
        return ((label - student(z)).reshape(4, -1) ** 2).sum(-1)

    numeric = np.stack([(loss(z + h * row) - loss(z - h * row)) / (2 * h) for row in np.eye(3)], -1)
    np.testing.assert_allclose(
        attention_slopes(z, label, reduction_weights(reduction, 3)), numeric, atol=1e-7
    )


def test_a_direct_step_stays_on_the_sphere():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((5, 9))
    w *= 3 / np.linalg.norm(w, axis=-1, keepdims=True)
    new = attention_step(
        positional_semantic(0.5, 1.0), 0.5, opposite(2), None, w, rng.standard_normal((5, 2, 9)) / 3
    )
    np.testing.assert_allclose(np.linalg.norm(new, axis=-1), 3)
    assert np.abs(new - w).max() > 1e-3


def test_exponent_one_takes_time_linear_in_d():
    sizes = [50, 200, 800]
    medians = [_escape(_net("sum(z)/sqrt(L)", 4), d, 0.1).median() for d in sizes]
    slope = np.polyfit(np.log(sizes), np.log(medians), 1)[0]
    assert 0.95 <= slope <= 1.1


def test_exponent_two_takes_d_log_d():
    sizes = [100, 200, 400]
    medians = np.array([_escape(_net("sum(He2(z))/sqrt(2*L)", 1), d, 0.05).median() for d in sizes])
    slope = np.polyfit(np.log(sizes), np.log(medians / np.log(np.sqrt(sizes) / 2)), 1)[0]
    assert 0.9 <= slope <= 1.1


@pytest.mark.parametrize(
    ("text", "d", "rate"), [("sum(z)/sqrt(L)", 200, 0.1), ("sum(He2(z))/sqrt(2*L)", 40, 0.1)]
)
def test_tying_gains_a_factor_of_the_length_at_equal_rate(text, d, rate):
    for length in (1, 3):
        times = [
            _escape(_net(text, length, tied=tied), d, rate, replicas=96).median() for tied in (True, False)
        ]
        assert abs(times[1] / times[0] / length - 1) < 0.2


def test_a_link_that_cancels_over_tokens_is_learned_untied_only():
    with pytest.warns(UnstableRate, match="stability bound 0"):
        tied = _escape(_net("z1 - z2", 2), 300, 0.05, threshold=0.3, steps=10_000)
    untied = _escape(_net("z1 - z2", 2, tied=False), 300, 0.05, threshold=0.3, steps=10_000)
    assert tied.censored == 1
    assert math.isinf(tied.median())
    assert untied.censored < 0.05


def test_the_staircase_orders_its_tokens_and_shortens_the_wait():
    stairs = _escape(_net("sqrt(2)*(z1 + z1*z2)", 2, tied=False), 64, 0.03, threshold=0.4, by_token=True)
    control = _escape(_net("sqrt(2)*z1*z2", 2, tied=False), 64, 0.03, threshold=0.4, by_token=True)
    first, second = stairs.median(0), stairs.median(1)
    assert first < second < control.median(1) / 1.5


def test_the_transition_goes_from_semantic_to_positional():
    shares = []
    for omega in (0.45, 0.8):
        found = simulate_attention(
            positional_semantic(omega, 1.0),
            EscapeSetting(32, 0.2, 0.8),
            opposite(2),
            "identity",
            96,
            15_000,
            seed=0,
        )
        shares.append((np.abs(found.final[:, 0]) > np.abs(found.final[:, 1])).mean())
    assert shares[0] > 0.85
    assert shares[1] < 0.25


def test_replicas_are_a_function_of_the_seed_and_paths_are_kept():
    net = _net("sum(z)", 2)
    one, two, other = (_escape(net, 30, 0.05, replicas=6, seed=s, every=10) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.times, two.times)
    assert not np.array_equal(one.times, other.times)
    assert one.path.shape == (len(one.steps), 6, 1)
    np.testing.assert_allclose(one.path[0], 30**-0.5)
    crossed = np.abs(one.path[:, :, 0]) >= 0.5
    for replica, time in enumerate(one.times[:, 0]):
        assert not crossed[one.steps < time, replica].any()


def test_censored_replicas_count_in_the_median():
    assert survival_median(np.array([1.0, 2.0, 3.0, np.inf, np.inf, np.inf, np.inf]), 10) == math.inf
    times = np.array([4.0, 1.0, np.inf, 2.0, 3.0])
    assert survival_median(times, 10) == 3.0
    # replicas lost early say nothing about later times: Kaplan-Meier, not the share of all
    early = survival_median(
        np.array([np.inf, np.inf, 3.0, 5.0, 7.0, 9.0]), np.array([1.0, 1.0, 9.0, 9.0, 9.0, 9.0])
    )
    assert early == 5.0


def test_survival_medians_agree_with_statsmodels():
    statsmodels = pytest.importorskip("statsmodels.duration.survfunc")
    rng = np.random.default_rng(0)
    for _ in range(5):
        life, limit = rng.exponential(1, 41), rng.uniform(0.2, 3, 41)
        seen = life <= limit
        oracle = statsmodels.SurvfuncRight(np.minimum(life, limit), seen.astype(int)).quantile(0.5)
        assert survival_median(np.where(seen, life, np.inf), limit) == pytest.approx(oracle)


def test_bad_settings_are_refused():
    for bad in ({"d": 3}, {"rate": -1.0}, {"threshold": 1.0}, {"start": 2.0}, {"rate": math.nan}):
        with pytest.raises(UserError):
            EscapeSetting(**{"d": 10, "rate": 0.1, "threshold": 0.5, "start": 0.1, **bad})
    with pytest.raises(UserError, match="one overlap"):
        _escape(_net("z1", 1), 10, 0.1, by_token=True)
    with pytest.raises(UserError, match="at least 1 step"):
        _escape(_net("z1", 1), 10, 0.1, steps=0)


def test_too_large_a_rate_is_warned_about_with_its_bound():
    with pytest.warns(UnstableRate, match=r"exceeds the stability bound 0\.\d+"):
        _escape(_net("sum(He2(z))/sqrt(2*L)", 2), 50, 1.0, steps=50)
