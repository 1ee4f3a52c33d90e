"""Modules of other people's making, adopted as they are: what is proven of them, edges, refusals, checkpoints."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import nn

import interp
import tasks
from interp.causal.attribution import attribute_edges
from interp.causal.behaviour import resampled_pair
from interp.causal.completeness import completeness
from interp.causal.edge_effects import exact_edges
from interp.causal.edge_runs import EdgeRuns
from interp.causal.graph import edges
from interp.causal.metrics import metric_of
from interp.causal.reference import HooksEngine
from interp.causal.suffix import SuffixEngine
from interp.hooks.sites import grid
from tasks import UserError
from tests.external.adopting import HERE, TASK, theirs

WHOLE: set[str] = set()  # modules that cannot be entered at a layer


@pytest.fixture(scope="module", autouse=True)
def _installed():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE / "installed"))
        yield


@cache
def adopted(name: str):
    """A module, its run and its model, each made once."""
    layout = theirs.ENCODER if name == "TransformerEncoder" else None
    module = theirs.drawn(theirs.KINDS[name]())
    run = interp.adopt(module, task=TASK, layout=layout, quiet=True)
    return module, run, run.model()


def all_outputs(module, inputs):
    """Logits at every position, by what the module itself gives."""
    if isinstance(module, theirs.NanoGPT) and not isinstance(module, theirs.MinGPT):
        return module(inputs, inputs)[0]
    out = module(inputs)
    return (
        out
        if isinstance(out, torch.Tensor)
        else out[0]
        if isinstance(out, tuple)
        else next(iter(out.values()))
    )


@pytest.mark.parametrize("name", theirs.KINDS)
@torch.no_grad()
def test_every_proof_holds_and_outputs_are_the_modules_own(name):
    module, run, model = adopted(name)
    assert [str(proof) for proof in model.proofs if not proof.holds] == []
    inputs = run.task.sample(0, "eval", 0, 4).inputs
    found, wanted = model(inputs)[:, 1:], all_outputs(module, inputs)[:, 1:]  # position 0 is not asked
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("name", ["nanoGPT", "TransformerEncoder", "Llama", "GPT-NeoX"])
def test_circuits_are_the_clean_run_when_full_and_the_other_run_when_empty(name):
    _, run, model = adopted(name)
    pair = resampled_pair(run.task, 0, 6)
    runs = EdgeRuns(model, pair.clean.inputs, pair.corrupt.inputs)
    with torch.no_grad():
        clean, other = model(pair.clean.inputs), model(pair.corrupt.inputs)
    assert (runs.outputs(runs.known) - clean).abs().max() < 1e-4 * clean.abs().max()
    assert (runs.outputs(()) - other).abs().max() < 1e-4 * other.abs().max()


def test_edges_into_shared_keys_and_values_are_one_for_the_heads_that_share_them():
    _, run, model = adopted("Llama")
    receivers = {receiver for _, receiver in edges(model)}
    assert {"L0H0-1.k", "L0H2-3.v", "L1H3.q"} <= receivers
    assert not {"L0H0.k", "L0H1.v"} & receivers
    table = run.patch("k", by=("layer", "head"), prompts=4).table
    assert table["head"].tolist() == [0, 2] * 2  # the first of those that share one
    assert table["shared"].tolist() == [2, 2] * 2
    assert model.QK.AB.shape == model.OV.AB.shape == (2, 4, 24, 24)


def test_one_edge_patched_is_what_changing_the_shared_key_by_hand_gives():
    _, run, model = adopted("Llama")
    pair = resampled_pair(run.task, 0, 6)
    clean, other = pair.clean.inputs, pair.corrupt.inputs
    metric = metric_of(run.task, pair, "loss")
    found = exact_edges(model, clean, other, metric, only={("embed", "L1H2-3.k"), ("L0H1", "L1.mlp_pre")})
    with torch.no_grad():
        caches = [model.run_with_cache(x, return_cache_object=False)[1] for x in (clean, other)]
        block, before = model.blocks[1], "blocks.1.hook_resid_pre"
        moved = caches[1]["blocks.0.hook_resid_pre"] - caches[0]["blocks.0.hook_resid_pre"]
        key = block.ln1.plain(caches[0][before] + moved) @ block.attn.W_K[1]

        def write(value, hook):
            value = value.clone()
            value[:, :, 1] = key
            return value

        by_hand = metric(model.run_with_hooks(clean, fwd_hooks=[("blocks.1.attn.hook_k", write)]))
    change = dict(zip(found.edges, found.values, strict=True))["embed", "L1H2-3.k"]
    assert torch.allclose(change, by_hand - metric(model(clean)), atol=1e-4)
    assert change.abs().max() > 1e-3


def test_gradients_flow_so_that_attributions_add_up_to_the_difference():
    _, run, model = adopted("Qwen2")
    pair = resampled_pair(run.task, 0, 4)
    metric = metric_of(run.task, pair, "loss")
    found = completeness(model, pair.clean.inputs, pair.corrupt.inputs, metric, ig_steps=24)
    assert found["error"] < 0.1
    estimate = attribute_edges(model, pair.clean.inputs, pair.corrupt.inputs, metric, ig_steps=24)
    assert estimate.error < 0.1
    assert len(estimate.edges) == len(edges(model))


def test_composition_needs_weights_alone_also_of_shared_keys():
    _, run, model = adopted("Llama")
    table = run.composition(random=2).table
    assert len(table) == 4 * 4 * 3
    row = table[(table["sender"] == "L0H1") & (table["receiver"] == "L1H3.k")].iloc[0]
    with torch.no_grad():
        ov, qk = model.OV.AB[0, 1], model.QK.AB[1, 3]
    wanted = (ov @ qk.T).norm() / ov.norm() / qk.norm()
    assert row["value"] == pytest.approx(float(wanted), rel=1e-5)


def test_starting_and_stopping_at_a_layer_is_the_whole_run():
    _, run, model = adopted("Mistral")
    inputs = run.task.sample(0, "eval", 0, 3).inputs
    with torch.no_grad():
        whole = model(inputs)
        for layer in range(3):
            stream = model(inputs, stop_at_layer=layer)
            assert torch.allclose(model(stream, start_at_layer=layer)[:, 1:], whole[:, 1:], atol=1e-4)


def test_the_module_that_was_given_stays_as_it_was():
    module = theirs.drawn(theirs.NanoGPT())
    inputs = torch.randint(13, (2, 8))
    before = module(inputs)[0]
    weights = {name: w.clone() for name, w in module.named_parameters()}
    interp.adopt(module, task=TASK, quiet=True).model()(inputs)
    assert torch.equal(module(inputs)[0], before)
    assert all(torch.equal(w, weights[name]) for name, w in module.named_parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_a_copy_has_hook_points_of_its_own():
    _, run, model = adopted("Llama")
    inputs = run.task.sample(0, "eval", 0, 3).inputs
    twin = copy.deepcopy(model)
    with torch.no_grad():
        assert torch.equal(twin(inputs), model(inputs))
        twin.W_U.mul_(2)
        changed = twin.run_with_hooks(inputs, fwd_hooks=[("blocks.1.attn.hook_z", lambda z, hook: z * 0)])
        assert not torch.equal(changed, twin(inputs))
        assert not torch.equal(twin(inputs), model(inputs))
    assert twin.proofs == model.proofs


def test_the_untrained_model_beside_it_has_other_weights_and_the_same_sizes():
    _, run, model = adopted("GPT-2")
    own, other = model.own_weights(), run.untrained_model().own_weights()
    assert {name: w.shape for name, w in own.items()} == {name: w.shape for name, w in other.items()}
    assert not any(torch.equal(own[name], other[name]) for name in own if own[name].ndim == 2)


BROKEN = {
    "a typo": ({"like": "gpt2", "norm1": "ln1"}, "norm1 at 'ln1': did you mean 'ln_1'"),
    "norms swapped": ({"like": "gpt2", "norm1": "ln_2", "norm2": "ln_1"}, "edges"),
    "no final norm": ({"like": "gpt2", "norm_final": ""}, "outputs equal the module's own: does not hold"),
    "maps in another order": ({"like": "gpt2", "order": "heads"}, "edges"),
    "the wrong projection": ({"like": "gpt2", "out": "mlp.c_proj"}, "edges"),
    "no blocks": (
        {"like": "gpt2", "blocks": "transformer.layers"},
        "no list of blocks at 'transformer.layers'",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_layout_is_refused_or_what_needs_it_is(what):
    layout, told = BROKEN[what]
    module = theirs.drawn(theirs.NanoGPT())
    if " " in told:
        with pytest.raises(UserError, match=told):
            interp.adopt(module, task=TASK, layout=layout, quiet=True)
        return
    run = interp.adopt(module, task=TASK, layout=layout, quiet=True)
    model = run.model()
    assert told in model.refused
    with pytest.raises(UserError):
        EdgeRuns(model, *[run.task.sample(0, "eval", step, 2).inputs for step in (0, 1)])
    assert model(run.task.sample(0, "eval", 0, 2).inputs).isfinite().all()  # what does not need it works


def test_a_post_norm_encoder_has_heads_and_patches_and_no_circuit():
    module = theirs.drawn(theirs.Encoder(norm_first=False))
    run = interp.adopt(module, task=TASK, layout=theirs.ENCODER, quiet=True)
    assert len(run.patch("z", by=("layer", "head"), prompts=4).table) == 8
    with pytest.raises(UserError, match="the stream after a block is the stream before"):
        run.circuit(prompts=4)
    with pytest.raises(UserError, match="no hook"):
        run.patch("resid_mid", by=("layer",), prompts=4)


def test_modules_that_do_not_fit_are_refused_in_one_line():
    with pytest.raises(UserError, match="none of the layouts"):
        interp.adopt(nn.Linear(3, 3), task=TASK, quiet=True)
    with pytest.raises(
        UserError, match=r"prompts of 9 tokens are longer than the module's context of 8|does not run"
    ):
        interp.adopt(theirs.NanoGPT, task={**TASK, "n": 9}, quiet=True)
    with pytest.raises(UserError, match="no such file or folder"):
        interp.adopt(theirs.NanoGPT, checkpoints="nowhere/ckpt.pt", task=TASK, quiet=True)


@pytest.mark.parametrize(("name", "side"), [("GPT-2", "left"), ("Llama", "right")])
@torch.no_grad()
def test_padding_moves_no_logit(name, side):
    short = torch.randint(1, 13, (3, 5), generator=torch.Generator().manual_seed(2))
    fill = torch.zeros(3, 3, dtype=torch.long)
    inputs = torch.cat([fill, short] if side == "left" else [short, fill], 1)
    task = tasks.from_tensors(inputs.repeat(6, 1), inputs.repeat(6, 1), vocabulary=13, outputs=13, pad=0)
    module = theirs.drawn(theirs.KINDS[name]())
    model = interp.adopt(module, task=task, quiet=True).model()
    real = slice(3, 8) if side == "left" else slice(0, 5)
    wanted = all_outputs(module, short)
    assert (model(inputs)[:, real] - wanted).abs().max() < 1e-4 * wanted.abs().max()


def test_padding_that_a_module_would_attend_to_is_refused():
    inputs = torch.randint(1, 13, (16, 8), generator=torch.Generator().manual_seed(2))
    inputs[:8, :3] = 0
    task = tasks.from_tensors(inputs, inputs, vocabulary=13, outputs=13, pad=0)
    with pytest.raises(UserError, match="filled up on the right only"):
        interp.adopt(theirs.drawn(theirs.NanoGPT()), task=task, quiet=True).scores()
    words = [[0, *row[3:].tolist()] for row in inputs[:8]] + [row.tolist() for row in inputs[8:]]
    right = tasks.from_tensors(
        words, [1] * 16, vocabulary=13, outputs=13, pad=0
    )  # begins with the same token
    model = interp.adopt(theirs.drawn(theirs.llama()), task=right, quiet=True).model()
    short = torch.tensor([words[0]])
    padded = model(torch.nn.functional.pad(short, (0, 2)))[:, 5]
    assert (padded - theirs.drawn(theirs.llama())(short).logits[:, 5]).abs().max() < 1e-3


def test_prompts_that_are_given_are_scored_probed_and_patched_prompt_by_prompt():
    source = torch.Generator().manual_seed(3)
    inputs = torch.randint(13, (128, 8), generator=source)
    mask = torch.zeros(128, 8, dtype=torch.bool)
    mask[torch.arange(128), torch.arange(128) % 4 + 4] = True  # asked at another place each
    rows = (torch.arange(128) % 4 + 4)[:, None]
    other = inputs.clone()
    other[torch.arange(128), rows[:, 0] - 1] = (other[torch.arange(128), rows[:, 0] - 1] + 1) % 13
    task = tasks.from_tensors(
        inputs, inputs.roll(1, 1), mask, corrupt=other, corrupt_targets=other.roll(1, 1), vocabulary=13,
        relations={"token before": (rows, rows - 1)}, groups={"place": rows[:, 0]},
    )  # fmt: skip
    run = interp.adopt(theirs.drawn(theirs.NanoGPT()), task=task, quiet=True)
    scores = run.scores().table
    own = scores[(scores["metric"] == "accuracy") & (scores["control"] == "none")]
    assert own["n"].item() == 64  # four chunks of an eighth, and no prompt twice
    heads = run.heads().table
    assert heads[heads["control"] == "none"]["value"].between(0, 1).all()
    patched = run.patch("resid_pre", by=("layer",), prompts=32).table
    assert len(patched) == 2
    assert patched["value"].isna().all()  # drawn weights have no behaviour to restore
    assert patched["note"].str.startswith("no behaviour to restore").all()
    assert len(interp.adopt(theirs.NanoGPT, task=task.only(place=5), quiet=True).task) == 32


@pytest.mark.parametrize("name", theirs.KINDS)
def test_patches_from_the_layer_on_are_those_of_whole_passes(name):
    _, run, model = adopted(name)
    pair = resampled_pair(run.task, 0, 3)
    metric = metric_of(run.task, pair, "loss")
    sites = [
        site for part in ("resid_pre", "z") for site in grid(model, part, 9, by=("layer", "head"))
    ]  # layers entered, heads side by side
    with torch.no_grad():
        cache = model.run_with_cache(pair.clean.inputs, return_cache_object=False)[1]
    exact = HooksEngine(model, pair.corrupt.inputs, metric).values(sites, cache)
    engine = SuffixEngine(model, pair.corrupt.inputs, metric)
    assert torch.allclose(engine.values(sites, cache), exact, atol=1e-5)
    assert exact.std() > 1e-3
    assert engine._whole is False or name in WHOLE
