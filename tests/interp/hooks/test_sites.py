"""Addresses: every site prints and parses back, and a place outside the model is refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from interp.causal.interventions import ablation_values, intervene, partners
from interp.config.model_lstm import LSTMConfig
from interp.config.model_transformer import TransformerConfig
from interp.hooks.sites import COMPONENTS, HEAD_COMPONENTS, Site, check, grid
from interp.models import build_model
from tasks.base import Interface
from tasks.errors import UserError

FACE = Interface(inputs="continuous", n_ctx=5, d_in=3, d_out=2, output_positions=(4,))


def small(**settings):
    config = TransformerConfig(**{"n_layers": 2, "n_heads": 2, "d_model": 8, **settings})
    return build_model(config, FACE, 0).eval()


@st.composite
def sites(draw):
    component = draw(st.sampled_from(COMPONENTS))
    number = st.none() | st.integers(0, 99)
    layer = None if component in ("embed", "output") else draw(st.integers(0, 99))
    head = draw(number) if component in HEAD_COMPONENTS else None
    shared = draw(st.integers(1, 8)) if component in ("k", "v") and head is not None else 1
    return Site(component, layer, head, draw(number), shared)


@given(sites())
def test_both_spellings_parse_back(site):
    assert Site.parse(str(site)) == site
    assert Site.parse(site.label) == site


def test_the_long_spelling_is_the_hook_name():
    assert str(Site("q", 1, 3, 7)) == "blocks.1.attn.hook_q.3@7"
    assert str(Site("resid_post", 2)) == "blocks.2.hook_resid_post"
    assert Site("z", 0, 2).label == "L0H2"


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("L0", "component"),
        ("blocks.0.hook_nothing", "hook_nothing|nothing"),
        ("L1H2.resid_pre", "heads"),
        ("x@3", "x@3"),
        ("", "no site"),
    ],
)
def test_text_that_names_no_site_is_refused(text, culprit):
    with pytest.raises(UserError, match=culprit):
        Site.parse(text)


@pytest.mark.parametrize("text", ["L2.resid_pre", "L0H2.q", "L0.resid_post@5", "L0.mlp_out"])
def test_sites_outside_the_model_are_refused(text):
    with pytest.raises(UserError, match="site blocks"):
        check(Site.parse(text), small(mlp="none"), 5)


def test_heads_of_an_lstm_are_refused_but_its_stream_is_a_site():
    lstm = build_model(LSTMConfig(n_layers=2, d_model=8), FACE, 0).eval()
    assert len(grid(lstm, "resid_post", 5)) == 10
    with pytest.raises(UserError, match="no attention heads"):
        grid(lstm, "z", 5)


def test_every_site_of_a_model_is_written_where_it_is_read():
    model, x = small(), torch.randn(3, 5, 3)
    for component in set(COMPONENTS) - {
        "mlp_in"
    }:  # a place of modules made elsewhere (tests/external/test_adopt.py)
        for site in grid(model, component, 5)[-3:]:
            hook = site.hook(2)
            part = site.read(model.run_with_cache(x, names_filter=hook)[1][hook])
            outputs, changes = intervene(model, x, [(site, part + 0.0)])
            assert torch.equal(outputs, model(x)), site
            assert changes["norm_change"].item() == 0
            before = changes["norm_before"].item()
            moved, changes = intervene(model, x, [(site, part * 3)])
            assert changes["norm_after"].item() == pytest.approx(3 * before, rel=1e-5)
            assert component == "output" or site.layer == 1 or not torch.equal(moved, model(x))


def test_an_intervention_of_another_shape_or_in_train_mode_is_refused():
    model, x = small(), torch.randn(3, 5, 3)
    with pytest.raises(UserError, match="shape"):
        intervene(model, x, [(Site("resid_pre", 0, None, 1), torch.zeros(3, 7))])
    with pytest.raises(UserError, match="train mode"):
        intervene(model.train(), x, [])


def test_ablations_are_what_they_say():
    site, x = Site("resid_pre", 0), torch.randn(6, 5, 4)
    assert float(ablation_values("zero", site, x).abs().max()) == 0
    assert torch.allclose(ablation_values("mean", site, x)[2, 3], x.mean((0, 1)))
    assert torch.allclose(ablation_values("mean per position", site, x)[2], x.mean(0))
    with pytest.raises(UserError, match="unknown replacement"):
        ablation_values("median", site, x)


@given(st.integers(2, 50), st.integers(0, 9))
def test_nobody_is_resampled_from_itself(prompts, seed):
    order = partners(prompts, seed)
    assert sorted(order.tolist()) == list(range(prompts))
    assert not bool((order == torch.arange(prompts)).any())
