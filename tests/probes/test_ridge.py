from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge, RidgeCV

from probes import ridge
from probes.ridge import Path, RidgeMoments
from tasks.errors import UserError

STRENGTHS = [1e-3, 0.1, 10.0, 1e3]


def problem(seed=0, designs=3, rows=120, features=9, targets=4, shift=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(designs, rows, features)) * rng.uniform(0.1, 3, features) + shift
    y = x @ rng.normal(size=(features, targets)) + rng.normal(size=(designs, rows, targets))
    return torch.from_numpy(x), torch.from_numpy(y)


def strengths(designs=3):
    return torch.tensor(STRENGTHS, dtype=torch.float64).expand(designs, -1)


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_equals_scikit_learn_at_every_strength(shift):
    x, y = problem(shift=shift)
    path = Path.of(RidgeMoments.of(x, y))
    weights = path.weights(strengths())
    for i in range(3):
        for j, alpha in enumerate(STRENGTHS):
            oracle = Ridge(alpha=alpha, solver="svd").fit(x[i].numpy(), y[i].numpy())
            assert np.abs(oracle.coef_.T - weights[i, j].numpy()).max() < 1e-6


@settings(max_examples=25, deadline=None)
@given(cut=st.lists(st.integers(1, 119), max_size=4, unique=True), shift=st.sampled_from([0.0, 1e6]))
def test_streaming_in_any_cut_equals_one_batch(cut, shift):
    x, y = problem(shift=shift)
    whole = RidgeMoments.of(x, y)
    edges = [0, *sorted(cut), 120]
    parts = [RidgeMoments.of(x[:, a:b], y[:, a:b]) for a, b in itertools.pairwise(edges)]
    for part in parts[1:]:
        parts[0].merge(part)
    assert parts[0].rows == 120
    for name in ("mean_x", "xx", "xy", "yy"):
        a, b = getattr(parts[0], name), getattr(whole, name)
        assert (a - b).abs().max() <= 1e-8 * b.abs().max()


def test_held_out_error_from_moments_equals_the_error_of_predictions():
    x, y = problem(seed=1)
    other_x, other_y = problem(seed=2, rows=70)
    other_x = other_x + 0.5
    path = Path.of(RidgeMoments.of(x, y))
    found = path.held_out(strengths(), RidgeMoments.of(other_x, other_y))
    for j, alpha in enumerate(STRENGTHS):
        for i in range(3):
            oracle = Ridge(alpha=alpha).fit(x[i].numpy(), y[i].numpy())
            error = ((oracle.predict(other_x[i].numpy()) - other_y[i].numpy()) ** 2).mean(0)
            assert np.allclose(found[i, j].numpy(), error, rtol=1e-8)


def test_the_chosen_strength_is_the_best_of_the_grid_on_held_out_prompts():
    x, y = problem(seed=3, rows=12, features=9)
    other_x, other_y = problem(seed=3, rows=400)
    other_x, other_y = other_x[:, 12:], other_y[:, 12:]
    fitted = ridge.fit(RidgeMoments.of(x, y), RidgeMoments.of(other_x, other_y), strengths())
    for i in range(3):
        scores = [
            (
                (
                    Ridge(alpha=a).fit(x[i].numpy(), y[i].numpy()).predict(other_x[i].numpy())
                    - other_y[i].numpy()
                )
                ** 2
            ).mean(0)
            for a in STRENGTHS
        ]
        best = np.argmin(scores, axis=0)
        assert np.allclose(fitted.strength[i].numpy(), np.array(STRENGTHS)[best])
        own = ((fitted.predict(other_x) - other_y)[i] ** 2).mean(0).numpy()
        assert np.allclose(own, np.min(scores, axis=0))


def test_pooled_designs_equal_stacked_rows():
    x, y = problem()
    pooled = RidgeMoments.of(x, y).pool([0, 2])
    stacked = RidgeMoments.of(torch.cat([x[0], x[2]]), torch.cat([y[0], y[2]]))
    assert pooled.rows == stacked.rows == 240
    assert torch.allclose(pooled.xx, stacked.xx)
    assert torch.allclose(pooled.xy, stacked.xy)


def test_predictions_do_not_change_when_features_are_rotated():
    x, y = problem()
    q, _ = torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    plain = ridge.fit(RidgeMoments.of(x, y), RidgeMoments.of(x, y), strengths())
    turned = ridge.fit(RidgeMoments.of(x @ q, y), RidgeMoments.of(x @ q, y), strengths())
    assert torch.allclose(plain.predict(x), turned.predict(x @ q), atol=1e-9)


def test_more_features_than_rows_works_with_ridge_and_equals_scikit_learn():
    x, y = problem(rows=6, features=20)
    weights = Path.of(RidgeMoments.of(x, y)).weights(strengths())
    oracle = Ridge(alpha=STRENGTHS[0], solver="svd").fit(x[0].numpy(), y[0].numpy())
    assert np.abs(oracle.coef_.T - weights[0, 0].numpy()).max() < 1e-6


def test_bad_input_is_one_line_that_names_the_culprit():
    x, y = problem()
    zero = torch.zeros(3, 1, dtype=torch.float64)
    constant = x.clone()
    constant[..., 4] = 2.0
    broken = x.clone()
    broken[0, 0, 0] = torch.nan
    cases = [
        (lambda: Path.of(RidgeMoments.of(x[:, :5], y[:, :5])).weights(zero), "5 rows for 9 features"),
        (lambda: Path.of(RidgeMoments.of(constant, y)).weights(zero), "constant"),
        (
            lambda: Path.of(RidgeMoments.of(torch.ones(50, 3), y[0, :50]), "site embed"),
            "site embed: every feature",
        ),
        (lambda: RidgeMoments.of(broken, y, "blocks.0.hook_resid_post"), "blocks.0.hook_resid_post: NaN"),
        (lambda: RidgeMoments.of(x, y / 0), "targets of features"),
        (lambda: Path.of(RidgeMoments.of(x, y)).weights(zero - 1), "negative"),
        (lambda: RidgeMoments.of(x[:, :0], y[:, :0]), "no rows"),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_constant_feature_is_harmless_with_ridge():
    x, y = problem()
    constant = x.clone()
    constant[..., 4] = 2.0
    weights = Path.of(RidgeMoments.of(constant, y)).weights(strengths())
    kept = [i for i in range(9) if i != 4]
    without = Path.of(RidgeMoments.of(x[..., kept], y)).weights(strengths())
    assert torch.allclose(weights[..., kept, :], without, atol=1e-8)
    assert weights[..., 4, :].abs().max() < 1e-8


def test_generalised_cross_validation_chooses_as_leave_one_out_does():
    gen = torch.Generator().manual_seed(3)
    x = torch.randn(300, 12, generator=gen, dtype=torch.float64) * torch.logspace(0, -2, 12)
    y = x @ torch.randn(12, 6, generator=gen, dtype=torch.float64)
    y = y + torch.randn(300, 6, generator=gen, dtype=torch.float64) * torch.logspace(-2, 1, 6)
    grid = torch.logspace(-4, 4, 17, dtype=torch.float64)
    theirs = RidgeCV(alphas=grid.numpy(), alpha_per_target=True).fit(x.numpy(), y.numpy())
    ours = ridge.fit_by_gcv(RidgeMoments.of(x, y), grid)
    apart = (ours.strength.log10() - torch.from_numpy(theirs.alpha_).log10()).abs() * 2
    assert apart.max() <= 1 + 1e-9
    same = (apart < 0.5).nonzero()[:, 0]
    assert len(same) >= 4
    assert torch.allclose(ours.weights[:, same], torch.from_numpy(theirs.coef_.T)[:, same], atol=1e-6)


def test_generalised_cross_validation_needs_rows_to_spare():
    x = torch.randn(5, 8, dtype=torch.float64)
    with pytest.raises(UserError, match="5 rows leave nothing to judge"):
        ridge.fit_by_gcv(RidgeMoments.of(x, x[:, :1]), torch.tensor([1e-12], dtype=torch.float64))
