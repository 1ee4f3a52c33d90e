"""Patching: the fast engine against hooks and against TransformerLens, invariances, ground truth, refusals."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
import torch

from interp.causal.engine import FastEngine
from interp.causal.metrics import custom, metric_of
from interp.causal.patching import patch, run_patches
from interp.causal.reference import HooksEngine, LensEngine
from interp.config.model_lstm import LSTMConfig
from interp.config.model_transformer import TransformerConfig
from interp.hooks.sites import COMPONENTS, Site, grid
from interp.models import build_model
from interp.models.constructed import constructed_retrieval
from tasks import InContextRegression, MultiHopRetrieval
from tasks.base import Interface, Pair
from tasks.errors import UserError

S = 5
READS = {"last": (S - 1,), "some": (0, 2, 4), "all": tuple(range(S))}


def model_of(d_in: int = 3, output_positions=(S - 1,), **settings):
    """A model with every weight moved off its initial value, so that gains and biases count."""
    face = Interface(inputs="continuous", n_ctx=S, d_in=d_in, d_out=2, output_positions=output_positions)
    model = build_model(TransformerConfig(**{"n_layers": 2, "n_heads": 2, "d_model": 8, **settings}), face, 0)
    source = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn(p.shape, generator=source, dtype=p.dtype)
    return model.eval()


def every_site(model) -> list[Site]:
    missing = ("mlp_in", *(("resid_mid", "mlp_out", "mlp_pre") if model.config.mlp == "none" else ()))
    axes = (("layer", "head", "position"), ("layer", "head"), ("layer",))
    return list(
        dict.fromkeys(
            s for c in COMPONENTS if c not in missing for by in axes for s in grid(model, c, S, by=by)
        )
    )


def inputs(d_in: int, dtype=torch.float32, batch: int = 3):
    source = torch.Generator().manual_seed(1)
    return [torch.randn(batch, S, d_in, generator=source).to(dtype) for _ in range(2)]


def squared(output_positions):
    return custom("squared", lambda o: (o[:, list(output_positions)] ** 2).mean((1, 2)), output_positions)


CASES = {
    "causal, last read": ("last", {"n_layers": 3}),
    "causal, some reads": ("some", {}),
    "full, some reads": ("some", {"mask": "full", "n_layers": 3}),
    "full, all reads": ("all", {"mask": "full"}),
    "linear attention, all reads": ("all", {"attention": "linear", "layer_norm": "none", "mlp": "none"}),
    "relu, last read": (
        "last",
        {"attention": "relu", "mask": "full", "mask_query": True, "biases": False, "n_layers": 2},
    ),
    "relative positions, some reads": ("some", {"positions": "relative", "n_layers": 3}),
    "relative positions both ways": ("all", {"positions": "relative", "mask": "full"}),
    "relative positions, linear": ("some", {"positions": "relative", "attention": "linear"}),
    "one layer": ("some", {"layer_norm": "no_affine", "mlp": "none", "n_layers": 1}),
}


@pytest.mark.parametrize("case", CASES)
def test_fast_engine_equals_hooks_on_every_site(case):
    output_positions, settings = CASES[case]
    model = model_of(output_positions=READS[output_positions], dtype="float64", **settings)
    clean, corrupt = inputs(3, torch.float64)
    cache = model.run_with_cache(clean, return_cache_object=False)[1]
    sites, metric = every_site(model), squared(READS[output_positions])
    fast = FastEngine(model, corrupt, metric)
    fast.skip_unchanged = False
    slow = HooksEngine(model, corrupt, metric).values(sites, cache)
    assert torch.allclose(fast.values(sites, cache), slow, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("d_in", "mask"), [(2, "causal"), (9, "causal"), (9, "full")])
def test_fast_engine_equals_transformer_lens_on_every_site(d_in, mask):
    """With fewer coordinates than positions, and with more: the library's own axes would take one for the other."""
    model = model_of(d_in, mask=mask)
    clean, corrupt = inputs(d_in)
    cache = model.run_with_cache(clean, return_cache_object=False)[1]
    sites, metric = every_site(model), squared(READS["some"])
    ours = FastEngine(model, corrupt, metric).values(sites, cache)
    theirs = LensEngine(model, corrupt, metric).values(sites, cache)
    assert float((ours - theirs).abs().max()) <= 1e-5
    assert float((theirs - FastEngine(model, corrupt, metric).base_value).abs().max()) > 1e-2


@pytest.mark.parametrize("mask", ["causal", "full"])
def test_identity_patch_through_the_fast_engine(mask):
    model = model_of(mask=mask)
    clean, _ = inputs(3)
    cache = model.run_with_cache(clean, return_cache_object=False)[1]
    engine = FastEngine(model, clean, squared(READS["some"]))
    engine.skip_unchanged = False
    values = engine.values(every_site(model), cache)
    assert torch.allclose(values, engine.base_value.expand_as(values), rtol=1e-6, atol=0)
    engine.skip_unchanged = True
    values = engine.values(every_site(model), cache)
    assert torch.equal(values, engine.base_value.expand_as(values))


def regression():
    task = InContextRegression(d=3, n=4)
    model = build_model(TransformerConfig(n_layers=2, n_heads=2, d_model=8), task.interface, 3).eval()
    return model, task, task.pair("replace-w", 0, "test", 0, 12)


def permuted(pair: Pair, order: torch.Tensor) -> Pair:
    return Pair(pair.kind, pair.clean.select(order), pair.corrupt.select(order), pair.changed[order])


@pytest.mark.parametrize("replacement", ["pair", "zero", "mean", "mean per position"])
def test_grids_do_not_depend_on_batch_order_or_chunks(replacement):
    model, task, pair = regression()
    settings = {"direction": "noise", "replacement": replacement, "draws": 20}
    whole = patch(model, task, pair, ["q", "resid_pre"], **settings)
    turned = patch(
        model, task, permuted(pair, torch.arange(11, -1, -1)), ["q", "resid_pre"], chunk=5, **settings
    )
    for column in ("value", "raw", "norm_before", "norm_change"):
        assert whole[column].to_numpy() == pytest.approx(turned[column].to_numpy(), rel=1e-4, abs=1e-6)


def test_ends_of_the_scale_in_both_directions():
    model, task, pair = regression()
    site = [Site("embed")]
    assert patch(model, task, pair, sites=site)["value"].item() == pytest.approx(1, abs=1e-5)
    noised = patch(model, task, pair, sites=site, direction="noise")
    assert noised["value"].item() == pytest.approx(0, abs=1e-5)
    assert (noised[["norm_before", "norm_after", "norm_change"]] > 0).all(axis=None)


def test_all_writers_from_the_clean_run_give_the_clean_output():
    from interp.causal.interventions import intervene

    model, _, pair = regression()
    with torch.no_grad():
        outputs, cache = model.run_with_cache(pair.clean.inputs)
    names = [Site("embed"), *(Site(c, layer) for layer in range(2) for c in ("z", "mlp_out"))]
    values = [(s, s.read(cache[s.hook(2)])) for s in names]
    assert torch.equal(intervene(model, pair.corrupt.inputs, values)[0], outputs)


def test_a_pair_that_differs_at_the_end_cannot_matter_before_it():
    model, task, _ = regression()
    pair = task.pair("replace-query", 0, "test", 0, 8)
    table = patch(model, task, pair, "resid_pre", output=task.output_names[-1], draws=20)
    early = table[table["position"] != "8"]
    assert (early["value"] == 0).all()
    assert (early["norm_change"] == 0).all()
    assert table[table["position"] == "8"]["value"].to_numpy() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("metric", ["loss", "score", "logit_diff", "squared_output_distance"])
def test_planted_head_is_found_and_decoys_stay_silent(metric):
    net = constructed_retrieval(2, variant="chain", distractors=8, dtype="float32")
    pair = net.task.pair("swap-hop-1", 0, "test", 0, 32)
    table = patch(net.model, net.task, pair, "head_out", by=("layer", "head"), metric=metric, draws=50)
    label = [f"L{row.layer}H{row.head}" for row in table.itertuples()]
    effect = dict(zip(label, table["value"], strict=True))
    distractors = [effect[head] for head in net.circuit.distractors]
    assert max(map(abs, distractors)) < 1e-5
    hop_1 = next(head for head, role in net.circuit.roles.items() if role == "query -> link_1")
    assert effect[hop_1] > 0.9
    assert table.loc[label.index(hop_1), "ci_low"] > 0.5


def test_single_hops_are_measured_apart():
    net = constructed_retrieval(2, variant="chain", dtype="float32")
    pair = net.task.pair("swap-hop-2", 0, "test", 0, 16)
    site = [Site("embed")]
    assert patch(net.model, net.task, pair, sites=site, output="hop 2")["value"].item() == pytest.approx(1)
    with pytest.raises(UserError, match="normaliser zero"):
        patch(net.model, net.task, pair, sites=site, output="hop 1", metric="score")


def test_an_lstm_is_patched_by_hooks_only():
    task = InContextRegression(d=3, n=4)
    model = build_model(LSTMConfig(n_layers=2, d_model=8), task.interface, 0).eval()
    pair = task.pair("replace-w", 0, "test", 0, 6)
    with pytest.raises(UserError, match="engine='hooks'"):
        patch(model, task, pair, "resid_post", engine="fast")
    table = patch(model, task, pair, "resid_post", draws=20)  # an engine that serves the model is chosen
    assert len(table) == 2 * 9
    assert table["value"].abs().max() > 0


def test_interval_of_a_patch_covers_the_planted_effect():
    """Effects of a metric that is linear in the patch: the interval must hold the population's value 19 times in 20."""
    from interp.causal.metrics import normalised

    hits, trials, source = 0, 200, torch.Generator().manual_seed(0)
    for _ in range(trials):
        gap = 1 + 0.5 * torch.randn(60, generator=source).double()
        values = 0.3 * gap + 0.2 * torch.randn(60, generator=source).double()
        found = normalised(values[:, None], gap, torch.zeros_like(gap), 200)
        hits += int(bool(found.low[0] <= 0.3 <= found.high[0]))
    assert 0.88 <= hits / trials <= 0.99


BAD = {
    "direction": ({"direction": "sideways"}, "unknown direction"),
    "denoise by ablation": ({"replacement": "mean"}, "use direction 'noise'"),
    "engine": ({"engine": "warp"}, "unknown engine"),
    "chunk": ({"chunk": 0}, "chunk"),
    "metric": ({"metric": "beauty"}, "unknown metric"),
    "output": ({"output": "hop 9"}, "no output"),
    "site": ({"sites": [Site("z", 7, 0)]}, "layers"),
    "no sites": ({"sites": []}, "no sites"),
    "logits of numbers": ({"metric": "logit_diff"}, "needs symbols"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_refused_in_one_line(name):
    model, task, pair = regression()
    settings, culprit = BAD[name]
    with pytest.raises(UserError, match=culprit) as error:
        patch(model, task, pair, **settings)
    assert "\n" not in str(error.value)


def test_bad_pairs_models_and_metrics_are_refused():
    model, task, pair = regression()
    with pytest.raises(UserError, match="are the same"):
        patch(model, task, dataclasses.replace(pair, corrupt=pair.clean))
    with pytest.raises(UserError, match="differ in shape"):
        patch(model, task, dataclasses.replace(pair, corrupt=pair.corrupt.select(slice(0, 3))))
    with pytest.raises(UserError, match="NaN"):
        patch(model, task, pair, metric=custom("nan", lambda o: o[:, -1, 0] * torch.nan, (8,)))
    with pytest.raises(UserError, match="one number a prompt"):
        patch(model, task, pair, metric=custom("scalar", lambda o: o.mean(), (8,)))
    with pytest.raises(UserError, match="train mode"):
        patch(model.train(), task, pair)


def test_metrics_agree_with_the_task():
    task = MultiHopRetrieval(hops=2, chains=2, vocab=8)
    pair = task.pair("swap-hop-2", 0, "test", 0, 5)
    answer = task.answer(pair.clean)
    assert torch.equal(metric_of(task, pair, "score")(answer), torch.ones(5))
    assert torch.allclose(metric_of(task, pair, "logit_diff")(answer), torch.full((5,), answer.max().item()))
    assert torch.allclose(metric_of(task, pair, "logit_diff", output="hop 1")(answer), torch.zeros(5))
    run = run_patches(*_retrieval_run(task), pair, [Site("embed")], metric_of(task, pair, "logit_diff"))
    assert run.values.shape == (1, 5)
    assert isinstance(run.changes, pd.DataFrame)


def _retrieval_run(task):
    return (build_model(TransformerConfig(n_layers=1, n_heads=2, d_model=8), task.interface, 0).eval(),)
