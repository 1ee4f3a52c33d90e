from __future__ import annotations

import pytest
import torch

from probes.readout import NO_VARIANCE, NORMALISED, Readout, ReadoutConfig
from tasks.errors import UserError

READS = [f"x {i}" for i in range(4)]
CONFIG = ReadoutConfig(pools={"t<=1": (0, 1), "t>1": (2, 3)}, draws=200)
MIX = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))


def batch(seed, prompts=250):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g)  # noqa: E731
    latent = draw(prompts, 4, 5)
    planted = latent @ MIX
    activations = {
        "embed": draw(prompts, 4, 16),
        "blocks.0.hook_resid_post": planted + 0.1 * draw(prompts, 4, 16),
    }
    targets = torch.stack([latent[..., 0], latent[..., 1] + 3], -1)
    return activations, targets, {"blocks.0.hook_resid_post": draw(prompts, 4, 16)}


@pytest.fixture(scope="module")
def readout():
    found = Readout(READS, ["label", "iterate"], CONFIG)
    for seed, split in enumerate(["fit", "fit", "validation", "test", "test"]):
        activations, targets, twin = batch(seed)
        found.add(split, activations, targets, twin)
    return found


@pytest.fixture(scope="module")
def table(readout):
    return readout.table()


def pick(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def test_planted_target_is_found_where_it_is_and_only_there(table):
    r2 = pick(table, metric="r2", control="none", readout="all", position="all", target="label")
    there = r2[r2.site == "blocks.0.hook_resid_post"].iloc[0]
    silent = r2[r2.site == "embed"].iloc[0]
    assert there.ci_low > 0.95
    assert there.note == ""
    assert silent.ci_high < 0.05
    assert "shuffled" in silent.note
    assert "zero" in silent.note


def test_controls_find_nothing(table):
    r2 = pick(table, metric="r2", readout="all", position="all")
    for control in ("shuffled", "untrained"):
        assert (pick(r2, control=control).ci_low < 0.02).all()
        assert len(pick(r2, control=control)) > 0


def test_zero_predictor_is_the_mean_square_of_the_target(table):
    zero = pick(table, metric="mse", control="zero", readout="all", position="all", target="iterate").iloc[0]
    assert zero.value == pytest.approx(10, rel=0.1)


def test_every_pool_read_and_view_has_a_row(table):
    own = pick(
        table, control="none", metric="mse", target="label", site="blocks.0.hook_resid_post" + NORMALISED
    )
    assert set(own[own.readout == "all"].position) == {"all", "t<=1", "t>1", *READS}
    assert set(own[own.readout == "each"].position) == {"all", "t<=1", "t>1", *READS}
    assert set(own[own.readout == "t>1"].position) == {"t>1", "x 2", "x 3"}
    assert (own.n == 500).all()


def test_a_readout_per_read_finds_what_a_shared_one_cannot():
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0])
    found = Readout(READS, ["label"], CONFIG)
    for seed, split in enumerate(["fit", "validation", "test"]):
        activations, targets, _ = batch(seed)
        found.add(split, {"s": activations["blocks.0.hook_resid_post"]}, targets[..., :1] * signs[:, None])
    r2 = pick(found.table(), metric="r2", control="none", position="all", site="s").set_index("readout").value
    assert r2["each"] > 0.95
    assert r2["all"] < 0.05


def test_streaming_in_smaller_batches_gives_the_same_weights():
    fits = []
    for parts in (1, 5):
        found = Readout(READS, ["label", "iterate"], CONFIG)
        for seed, split in enumerate(["fit", "validation"]):
            activations, targets, _ = batch(seed)
            for rows in torch.arange(250).chunk(parts):
                found.add(split, {k: v[rows] for k, v in activations.items()}, targets[rows])
        fits.append(found.fit("embed")["each"].weights[..., :2])
    assert torch.allclose(*fits, atol=1e-10)


def test_predict_is_what_the_table_scores(readout, table):
    errors = []
    for seed in (3, 4):
        activations, targets, _ = batch(seed)
        site = "blocks.0.hook_resid_post"
        errors.append((readout.predict(site, activations[site], "each") - targets).square())
    row = pick(
        table, site=site, metric="mse", control="none", readout="each", position="x 2", target="iterate"
    )
    assert torch.cat(errors)[:, 2, 1].mean().item() == pytest.approx(row.value.iloc[0], rel=1e-9)


def test_bad_input_is_one_line():
    activations, targets, _ = batch(0)
    make = lambda **k: Readout(READS, ["label", "iterate"], ReadoutConfig(**k))  # noqa: E731
    broken = {"embed": torch.full_like(activations["embed"], torch.nan)}
    flat = make()
    for split in ("fit", "validation"):
        flat.add(split, {"embed": torch.ones(250, 4, 16)}, targets)
    cases = [
        (lambda: make(pools={"late": (9,)}), "late.*out of range"),
        (lambda: Readout([], ["label"], CONFIG), "at least one"),
        (lambda: make().add("fit", activations, targets[:, :3]), "do not fit 4 outputs"),
        (lambda: make().add("fit", activations, targets[:100]), "embed: 250 prompts"),
        (lambda: make().add("fit", broken, targets), "embed: NaN"),
        (lambda: make().add("test", activations, targets), "no 'fit' prompts"),
        (lambda: make().table(), "no test prompts"),
        (lambda: flat.fit("embed"), "every feature is constant"),
        (lambda: flat.fit("nowhere"), "nowhere"),
    ]
    for call, words in cases:
        with pytest.raises(UserError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_target_that_does_not_vary_has_no_r2_and_a_note():
    found = Readout(READS, ["label", "still"], CONFIG)
    for seed, split in enumerate(["fit", "validation", "test"]):
        activations, targets, _ = batch(seed)
        targets[..., 1] = torch.tensor([0.1, 0.0, 2.0, -3.0])  # another constant at every read
        found.add(split, activations, targets)
    rows = pick(found.table(), metric="r2", control="none", readout="all", target="still")
    single = rows[rows.position.isin(READS)]
    assert single.value.isna().all()
    assert (single.note == NO_VARIANCE).all()
    assert not pick(found.table(), metric="mse", target="still").value.isna().any()


def test_exact_prediction_of_a_varying_target_is_r2_one():
    found = Readout(READS, ["exact"], CONFIG)
    for seed, split in enumerate(["fit", "validation", "test"]):
        x = torch.randn(300, 4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        found.add(split, {"s": x}, x[..., :1])
    rows = pick(found.table(), metric="r2", control="none", readout="all", position="all")
    assert rows.value.iloc[0] == pytest.approx(1, abs=1e-9)
