"""What later modules read: moves outside of it change nothing, moves inside do, and every module is followed."""

from __future__ import annotations

import pytest
import torch

from interp.causal.direction_use import decoded, parts_of, use_of
from interp.causal.interventions import intervene
from interp.causal.readers import seen_after
from interp.config.model_lstm import LSTMConfig
from interp.config.model_transformer import TransformerConfig
from interp.hooks.sites import Site
from interp.models import build_model
from interp.models.constructed_algorithms import constructed_gradient_descent
from probes.interval import Interval
from tasks import InContextRegression

torch.set_num_threads(1)
TASK = InContextRegression(d=3, n=6, layout="merged")


def narrow(**settings):
    """A net whose heads and neurons leave most of a wide stream unread."""
    settings = {"n_layers": 3, "n_heads": 1, "d_model": 40, "d_head": 2, "layer_norm": "none", "mlp": "none",
                "biases": False, "positions": "none", **settings}  # fmt: skip
    return build_model(TransformerConfig(**settings), TASK.interface, 0).eval()


@pytest.mark.parametrize("settings", [{}, {"mlp": "relu", "d_mlp": 3}, {"mask": "full", "mask_query": True}])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_move_outside_of_what_is_read_changes_no_output(settings, layer):
    model, position = narrow(**settings), TASK.n
    inputs = TASK.sample(0, "readers", 0, 4).inputs
    site = Site("resid_post", layer, None, position)
    seen = seen_after(model, layer, position, inputs.shape[1], [0])
    assert seen is not None
    assert 0 < seen.basis.shape[1] < 40
    hook = site.hook(3)
    with torch.no_grad():
        base, cache = model.run_with_cache(inputs, names_filter=hook, return_cache_object=False)
        drawn = torch.randn(40, generator=torch.Generator().manual_seed(0))
        inside = seen.part(drawn.double()).float()
        ends = [intervene(model, inputs, [(site, site.read(cache[hook]) + move)])[0] for move in
                (drawn - inside, inside)]  # fmt: skip
    change = [(end - base)[:, position, 0].abs().max() for end in ends]
    assert change[0] < 1e-4 * change[1]


def test_what_is_read_grows_towards_the_first_layer_and_names_the_modules():
    model = narrow(mlp="relu", d_mlp=3)
    found = [seen_after(model, layer, 6, 7) for layer in range(3)]
    sizes = [seen.basis.shape[1] for seen in found]
    assert sizes[0] > sizes[1] > sizes[2] == TASK.interface.d_out
    assert found[2].by == ("output",)
    assert "L2.mlp" in found[1].by


def test_a_head_that_writes_nothing_later_read_reads_nothing():
    model = narrow(n_layers=2)
    with torch.no_grad():
        model.blocks[1].attn.w_o.zero_()
    assert seen_after(model, 0, 6, 7).basis.shape[1] == TASK.interface.d_out


def test_the_label_slot_of_a_descending_net_is_read_and_other_kinds_of_models_have_no_answer():
    model, _ = constructed_gradient_descent([0.4, 0.4], 3, 6)
    seen = seen_after(model, 1, 6, 7, [0])
    assert seen.basis.squeeze().abs().tolist() == pytest.approx([0, 0, 0, 1])
    lstm = build_model(LSTMConfig(n_layers=1, d_model=8), TASK.interface, 0).eval()
    assert seen_after(lstm, 0, 6, 7) is None


def test_parts_move_what_they_read_and_nothing_that_does_not_vary():
    model, _ = constructed_gradient_descent([0.4], 3, 6)
    seen = seen_after(model, 0, 6, 7, [0])
    source = torch.Generator().manual_seed(0)
    clean, corrupt = (torch.randn(50, 4, generator=source, dtype=torch.float64) for _ in range(2))
    weights = torch.tensor([1.0, 0, 0, 1.0], dtype=torch.float64)
    values = torch.cat([clean, corrupt])[:, 0]
    inside, outside = parts_of(weights, seen, clean, corrupt, values)
    assert torch.allclose(inside.move[:, 3], (corrupt - clean)[:, 3])
    assert float(inside.move[:, :3].abs().max()) < 1e-12
    assert outside.decoded == pytest.approx(1)
    assert inside.decoded < 0.1
    clean[:, 3] = corrupt[:, 3] = 0.0
    still = parts_of(weights, seen, clean, corrupt, values)[0]
    assert float(still.move.abs().max()) == 0
    assert still.decoded == 0
    assert decoded(values, torch.ones(100)) == 0


def test_verdicts():
    good, bad = Interval(1.0, 0.9, 1.1, 9, ""), Interval(0.1, 0.0, 0.2, 9, "")
    assert use_of(0.9, 0.9, good, bad) == "used"
    assert use_of(0.9, 0.5, good, bad) == "not read"
    assert use_of(0.9, 0.85, bad, good) == "not used"
    assert use_of(0.05, 0.05, good, bad) == "not decoded"
