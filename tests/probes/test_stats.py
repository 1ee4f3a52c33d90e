from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from probes import stats
from tasks.errors import UserError

REPLICATES = 400
# 95% nominal, 400 replicates: the standard error of a measured coverage is 1.1%


def coverage(make, truth):
    rng = np.random.default_rng(7)
    hits = sum(interval.low <= truth <= interval.high for interval in (make(rng) for _ in range(REPLICATES)))
    return hits / REPLICATES


def test_bootstrap_of_prompts_covers_a_skewed_mean():
    def make(rng):
        values = torch.from_numpy(rng.exponential(size=(200, 1)))
        return stats.bootstrap(values, draws=300, seed=int(rng.integers(1 << 30)))[0]

    assert 0.91 <= coverage(make, 1.0) <= 0.98


def test_bootstrap_of_prompts_covers_when_positions_of_a_prompt_agree_and_row_bootstrap_would_not():
    def draw(rng):
        return rng.normal(size=(60, 1)) + 0.1 * rng.normal(size=(60, 20))

    def by_prompt(rng):
        return stats.bootstrap(torch.from_numpy(draw(rng)).mean(1), draws=300).one()

    def by_row(rng):
        return stats.bootstrap(torch.from_numpy(draw(rng).ravel()), draws=300).one()

    assert coverage(by_prompt, 0.0) >= 0.90
    assert coverage(by_row, 0.0) <= 0.60


def test_paired_difference_is_tighter_than_unpaired_and_covers():
    def make(rng):
        shared = rng.normal(size=150)
        a = torch.from_numpy(shared + 0.3 + 0.1 * rng.normal(size=150))
        return stats.paired(a, torch.from_numpy(shared), draws=300).one()

    assert 0.91 <= coverage(make, 0.3) <= 0.98
    interval = make(np.random.default_rng(0))
    assert interval.high - interval.low < 0.1  # unpaired: about 0.45


def test_ratio_of_sums_covers():
    def make(rng):
        bottom = rng.exponential(size=300)
        top = bottom * rng.uniform(0, 1, size=300)
        return stats.ratio(torch.from_numpy(top), torch.from_numpy(bottom), draws=300).one()

    assert 0.91 <= coverage(make, 0.5) <= 0.98


def test_a_ratio_is_widened_where_few_prompts_carry_it_and_nowhere_else():
    rng = np.random.default_rng(3)
    bottom = torch.from_numpy(3 + rng.normal(size=(128, 3)))
    top = bottom * torch.from_numpy(rng.uniform(0, 1, (128, 3)))
    top[:, 1] = 0
    top[:2, 1] = 4  # 2 prompts carry it
    top[:, 2] = 0
    both = torch.stack([top, bottom], 1)
    found, plain = stats.ratio(top, bottom), stats.bootstrap(both, lambda m: m[:, 0] / m[:, 1])
    assert "widened" in found.method
    assert "widened" not in stats.ratio(top[:, :1], bottom[:, :1]).method
    assert bool(((found.low <= plain.low) & (found.high >= plain.high)).all())
    assert (found.high - plain.high > 0.01).tolist() == [False, True, False]
    assert found[2].low == found[2].high == 0


def test_a_ratio_without_a_bottom_has_no_ends():
    found = stats.ratio(torch.ones(40), torch.zeros(40))
    assert math.isnan(found.low) or math.isinf(found.low)
    assert "widened" not in found.method


def test_student_over_three_seeds_covers_on_its_scale():
    assert 0.92 <= coverage(lambda rng: stats.student(rng.normal(2, 1, 3)), 2.0) <= 0.98
    log = coverage(lambda rng: stats.student(np.exp(rng.normal(2, 1, 3)), "log"), math.exp(2))
    assert 0.92 <= log <= 0.98


def test_student_equals_scipy():
    x = [1.0, 2.5, 3.0, 7.0]
    ours = stats.student(x)
    theirs = scipy_stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-10)


@pytest.mark.parametrize("p", [0.02, 0.3, 0.9])
def test_share_covers_at_least_nominal(p):
    assert coverage(lambda rng: stats.share(int(rng.binomial(12, p)), 12), p) >= 0.94


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 10), (10, 10), (1, 400)])
def test_share_equals_scipy(k, n):
    theirs = scipy_stats.binomtest(k, n).proportion_ci(0.95, "exact")
    ours = stats.share(k, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("n", [6, 9, 30])
def test_median_covers_at_least_nominal(n):
    found = coverage(lambda rng: stats.median(rng.exponential(size=n)), math.log(2))
    assert found >= 0.93


def test_median_is_as_short_as_its_level_allows():
    x = list(range(20))
    interval = stats.median(x)
    assert (interval.low, interval.high) == (5, 14)  # ranks 6 and 15: 95.9%; ranks 7 and 14 would cover 88.5%


def test_median_of_three_is_a_range_and_says_so():
    interval = stats.median([3.0, 1.0, 2.0])
    assert interval.method == "range"
    assert (interval.low, interval.high) == (1.0, 3.0)
    assert "range" in str(interval)
    assert "range" not in str(stats.median([1.0, 2, 3, 4, 5, 6]))


@pytest.mark.parametrize(
    ("least", "most"), [(0, 1), (-1, 1), (-math.inf, 1), (0, math.inf), (-math.inf, math.inf)]
)
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_limits_over_seeds_stay_inside_what_is_possible(least, most, values):
    found = stats.over_seeds(values, least, most)
    assert found.value == pytest.approx(np.mean(values))
    if len(values) == 1:
        assert math.isnan(found.low)
    else:
        assert least <= found.low <= found.value + 1e-12
        assert found.value - 1e-12 <= found.high <= most
        assert found.is_range == (len(values) <= 3)


def test_over_seeds_on_a_scale_without_bounds_is_scipys_t_and_fishers_z_is_a_logit():
    x = [0.1, 0.25, 0.3, 0.7]
    found = stats.over_seeds(x)
    theirs = scipy_stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-10)
    half = found.high - found.value
    z = math.atanh(found.value) + np.array([-1, 1]) * half / (1 - found.value**2)
    fisher = stats.over_seeds(x, -1, 1)
    assert (fisher.low, fisher.high) == pytest.approx(np.tanh(z), abs=1e-10)


def test_five_seeds_that_all_solve_the_task_may_fail_yet():
    found = stats.over_seeds([1.0] * 5, 0, 1)
    assert (found.low, found.high) == (pytest.approx(0.025**0.2), 1.0)
    with pytest.raises(UserError, match="outside of"):
        stats.over_seeds([0.5, 1.5], 0, 1)


def test_a_heavy_tailed_loss_has_no_negative_limit():
    losses = torch.zeros(40, 1)
    losses[0] = 9.0
    assert float(stats.mean(losses).low) < 0
    assert float(stats.mean(losses, least=0.0).low) == 0


def test_one_seed_has_no_interval():
    interval = stats.student([4.0])
    assert interval.value == 4.0
    assert math.isnan(interval.low)
    assert "no interval" in str(interval)


def test_bootstrap_is_seeded_and_vectorised():
    values = torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a, b, c = (stats.bootstrap(values, seed=s) for s in (1, 1, 2))
    assert torch.equal(a.low, b.low)
    assert not torch.equal(a.low, c.low)
    alone = stats.bootstrap(values[:, 1], seed=1).one()
    assert a[1].low == pytest.approx(alone.low, abs=1e-12)
    assert torch.allclose(a.value, values.mean(0))


def test_resamples_come_in_chunks_that_change_no_result(monkeypatch):
    whole = torch.cat(list(stats.resamples(40, 30, 5)))
    monkeypatch.setattr(stats, "_CHUNK", 100)
    parts = list(stats.resamples(40, 30, 5))
    assert len(parts) == 15
    assert torch.equal(whole, torch.cat(parts))
    assert torch.allclose(whole.sum(1), torch.ones(30, dtype=torch.float64))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: stats.bootstrap(torch.tensor([1.0, math.nan])), "NaN"),
        (lambda: stats.bootstrap(torch.zeros(0, 2)), "no prompts"),
        (lambda: stats.paired(torch.zeros(3), torch.zeros(4)), "one shape"),
        (lambda: stats.student([]), "no values"),
        (lambda: stats.student([1.0, -1.0], "log"), "log scale"),
        (lambda: stats.student([0.5, 1.0], "logit"), "logit scale"),
        (lambda: stats.share(4, 3), "4 of 3"),
        (lambda: stats.share(0, 0), "n >= 1"),
        (lambda: stats.median([math.inf]), "infinity"),
    ],
)
def test_bad_input_is_one_line(call, words):
    with pytest.raises(UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_mean_without_skew_is_students_and_leans_to_the_long_tail_with_it():
    even = torch.linspace(-1, 1, 101, dtype=torch.float64)
    plain = stats.student(even.numpy())
    found = stats.mean(even).one()
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high))
    long = torch.cat([torch.zeros(98), torch.full((2,), 5.0)])
    found = stats.mean(long[:, None])[0]
    assert found.high - found.value > 2 * (found.value - found.low)
    still = stats.mean(torch.ones(40)).one()
    assert (still.low, still.high) == (1.0, 1.0)


def test_a_mean_of_few_prompts_has_no_interval_and_one_of_nan_is_refused():
    assert math.isnan(stats.mean(torch.arange(31.0)).one().low)
    for values, said in ((torch.ones(0), "no prompts"), (torch.tensor([1.0, math.nan]), "NaN")):
        with pytest.raises(UserError, match=said):
            stats.mean(values)


def test_shares_are_those_of_one_at_a_time_and_never_without_width():
    hits = torch.tensor([[1, 0, 1], [1, 0, 0], [1, 0, 1], [1, 0, 0]], dtype=torch.float64)
    found = stats.shares(hits)
    for cell, count in enumerate((4, 0, 2)):
        one = stats.share(count, 4)
        assert (found[cell].low, found[cell].high) == pytest.approx((one.low, one.high))
    with pytest.raises(UserError, match="between 0 and 1"):
        stats.shares(hits + 1)


def test_few_draws_do_not_narrow_an_interval():
    rng = np.random.default_rng(4)
    widths = {}
    for draws in (60, 1000):
        found = stats.percentile(torch.zeros(400), torch.from_numpy(rng.normal(size=(draws, 400))), 1000)
        widths[draws] = float((found.high - found.low).mean())
    assert widths[60] > widths[1000]
