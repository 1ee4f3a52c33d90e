"""Composition and eigenvalues of planted weights, QK attribution, clamps in training, probe directions."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from interp.causal.directions import Probe, interchange, whitened
from interp.config.clamp import ClampConfig
from interp.config.model_transformer import TransformerConfig
from interp.heads.composition import composition, eigenvalues, qk_attribution
from interp.heads.weights import HeadWeights
from interp.hooks.sites import Site
from interp.models import build_model
from interp.models.clamps import Clamps
from interp.models.constructed import constructed_induction, constructed_retrieval
from tasks import InContextRegression
from tasks.errors import UserError


def test_composition_finds_the_planted_pair_and_no_decoy():
    net = constructed_induction(distractors=6, dtype="float32")
    table = composition(net.model, random=8)
    best = table.nlargest(1, "excess").iloc[0]
    assert (best.sender, best.receiver) in net.circuit.edges
    assert best["value"] > best.random_high
    distractors = table[table["sender"].isin(net.circuit.distractors)]
    assert distractors["value"].max() == pytest.approx(0, abs=1e-6)


def test_composition_of_an_untrained_net_is_that_of_random_weights():
    face = constructed_induction().task.interface
    model = build_model(TransformerConfig(n_layers=2, n_heads=4, d_model=32, mlp="none"), face, 0)
    table = composition(model, random=64)
    spread = table["random_high"] - table["random"]
    assert (table["excess"].abs() < 3 * spread).all()


def test_eigenvalues_of_copying_and_matching():
    net = constructed_retrieval(1, dtype="float64")
    head = next(iter(net.circuit.heads))
    table = eigenvalues(net.model)
    qk = table[(table["metric"] == "QK positive share") & (table["head"] == int(head[-1]))]["value"].item()
    assert qk > 0.5  # the query's key looks for itself
    assert table["value"].between(-1, 1).all()


def test_the_weights_of_a_page_name_the_planted_sender_and_no_other():
    net = constructed_induction(distractors=6, dtype="float32")
    table = HeadWeights().measure(net.model, net.task)
    heads = {role: name for name, role in net.circuit.roles.items()}
    joined = table[table["metric"].str.endswith("composition")]
    (best,) = joined[joined["value"] > joined["random_high"]].itertuples()
    assert (f"L{best.layer}H{best.head}", best.metric) == (heads["induction"], "K-composition")
    assert best.sender == heads["previous token"]


def test_the_weights_of_a_page_know_copying_from_its_reverse():
    face = constructed_induction().task.interface
    model = build_model(TransformerConfig(n_layers=1, n_heads=4, d_model=32, mlp="none"), face, 0)
    with torch.no_grad():
        for head, sign in ((1, 1.0), (2, -1.0)):
            model.blocks[0].attn.W_O[head].copy_(sign * model.blocks[0].attn.W_V[head].T)
    table = HeadWeights().measure(model, constructed_induction().task)
    share = table[table["metric"] == "OV positive share"].set_index("head")["value"]
    assert share[1] == pytest.approx(1, abs=1e-4)
    assert share[2] == pytest.approx(-1, abs=1e-4)


def test_the_weights_of_an_untrained_net_say_nothing():
    """The strongest of 8 senders passes the largest of 32 random draws in 8 of 40 cases, by symmetry."""
    task = constructed_induction().task
    model = build_model(TransformerConfig(n_layers=2, n_heads=8, d_model=64, mlp="none"), task.interface, 0)
    table = HeadWeights().measure(model, task)
    shares = table[table["metric"].str.endswith("positive share")]["value"]
    assert abs(shares.mean()) < 3 * shares.std() / len(shares) ** 0.5
    joined = table[table["metric"].str.endswith("composition")]
    assert len(joined) == 24
    assert (joined["value"] > joined["random_high"]).sum() <= 11, (
        "more in 1 of 1,000 cases, were they independent"
    )
    assert (joined["value"] / joined["random_high"]).max() < 1.15


@pytest.mark.parametrize(
    "settings", [{}, {"layer_norm": "none", "mlp": "none", "biases": False}, {"positions": "relative"}]
)
def test_qk_attribution_adds_up_and_names_the_planted_source(settings):
    net = constructed_retrieval(2, variant="chain", dtype="float32")
    role = {name: head for head, name in net.circuit.roles.items()}
    batch = net.task.sample(0, "test", 0, 8)
    relation = {r.name: r for r in net.task.relations(batch)}["query -> link_2"]
    table = qk_attribution(net.model, batch.inputs, role["query -> link_2"], relation.dest, relation.source)
    best = table.nlargest(1, "value").iloc[0]
    assert (best["query"], best["key"]) == (role["query -> link_1"], "embed")
    model = build_model(
        TransformerConfig(n_layers=2, n_heads=2, d_model=8, mask="full", **settings), net.task.interface, 0
    ).eval()
    rows = qk_attribution(model, batch.inputs, "L1H0", relation.dest, relation.source)
    hook = "blocks.1.attn.hook_attn_scores"
    scores = model.run_with_cache(batch.inputs, names_filter=hook)[1][hook][:, 0]
    true = scores[torch.arange(8)[:, None], relation.dest, relation.source].mean()
    assert rows["value"].sum() == pytest.approx(float(true.detach()), abs=1e-5)
    with pytest.raises(UserError, match="one head"):
        qk_attribution(model, batch.inputs, "L1.resid_pre", relation.dest, relation.source)


def run_clamped(model, task, clamps, batch, step=0):
    return model.run_with_hooks(batch.inputs, fwd_hooks=clamps.hooks(batch, step))


def test_clamps_hold_what_they_say_and_let_gradients_around():
    net = constructed_retrieval(2, variant="chain", dtype="float32")
    batch = net.task.sample(0, "test", 0, 8)
    model = build_model(net.model.config, net.task.interface, 5)
    hook = "blocks.0.attn.hook_pattern"
    relation = net.task.relations(batch)[0]
    clamps = Clamps(
        [ClampConfig(site="L0H0.pattern", to="relation", relation=relation.name)], model, net.task
    )
    seen = {}
    hooks = [*clamps.hooks(batch, 0), (hook, lambda a, hook: seen.update(pattern=a))]
    loss = net.task.loss(model.run_with_hooks(batch.inputs, fwd_hooks=hooks), batch).mean()
    held = seen["pattern"][:, 0]
    assert torch.equal(
        held.gather(1, relation.dest[..., None].expand(-1, -1, held.shape[-1]))[:, 0].argmax(-1),
        relation.source[:, 0],
    )
    loss.backward()
    width = model.cfg.d_head
    free, fixed = model.blocks[0].attn.w_v.grad[:, :width], model.blocks[0].attn.w_q.grad[:, :width]
    assert float(free.abs().max()) > 0
    rows = batch.inputs.shape[1]
    assert rows > 1
    assert torch.isfinite(fixed).all()


def test_donor_uniform_and_silent_clamps():
    net = constructed_retrieval(2, variant="chain", dtype="float32")
    batch = net.task.sample(0, "test", 0, 8)
    role = {name: head for head, name in net.circuit.roles.items()}
    first = role["query -> link_1"]
    student = build_model(net.model.config, net.task.interface, 5).eval()
    config = ClampConfig(site=f"{first}", to="donor", donor="teacher")
    clamps = Clamps([config], student, net.task, {("teacher", -1): net.model})
    hook = Site.parse(first).hook(2)
    value = student.run_with_hooks(batch.inputs, fwd_hooks=clamps.hooks(batch, 0), stop_at_layer=2)
    donated = net.model.run_with_cache(batch.inputs, names_filter=hook)[1][hook]
    seen = {}
    hooks = [*clamps.hooks(batch, 0), (hook, lambda a, hook: seen.update(z=a))]
    student.run_with_hooks(batch.inputs, fwd_hooks=hooks)
    head = Site.parse(first).head
    assert torch.equal(seen["z"][:, :, head], donated[:, :, head])
    assert value.shape[-1] == net.model.cfg.d_model
    silent = Clamps([ClampConfig(site=first, to="uniform")], net.model, net.task)
    loss = net.task.loss(run_clamped(net.model, net.task, silent, batch), batch)
    assert float(loss.detach().min()) > 1  # without the first head neither hop is answered
    flat = Clamps([ClampConfig(site=f"{first}.pattern", to="uniform")], net.model, net.task)
    assert float(net.task.loss(run_clamped(net.model, net.task, flat, batch), batch).detach().mean()) > 1


def test_a_clamp_holds_only_between_start_and_stop():
    config = ClampConfig(site="L0H0", to="uniform", start=10, stop=20)
    assert [config.active(step) for step in (9, 10, 19, 20)] == [False, True, True, False]
    task = InContextRegression(d=3, n=4)
    model = build_model(TransformerConfig(n_layers=1, n_heads=2, d_model=8), task.interface, 0)
    clamps = Clamps([config], model, task)
    batch = task.sample(0, "test", 0, 4)
    assert clamps.hooks(batch, 0) == []
    assert torch.equal(run_clamped(model, task, clamps, batch, 0), model(batch.inputs))
    assert not torch.equal(run_clamped(model, task, clamps, batch, 10), model(batch.inputs))


@pytest.mark.parametrize(
    "settings",
    [
        {"site": "L0.resid_pre", "to": "uniform"},
        {"site": "L0H0", "to": "relation", "relation": "x"},
        {"site": "L0H0", "to": "donor"},
        {"site": "L0H0", "to": "uniform", "start": 5, "stop": 5},
        {"site": "L0H0", "to": "uniform", "surprise": 1},
    ],
)
def test_bad_clamp_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        ClampConfig(**settings)


def test_clamps_that_do_not_fit_the_model_or_task_are_refused():
    task = InContextRegression(d=3, n=4)
    model = build_model(TransformerConfig(n_layers=1, n_heads=2, d_model=8), task.interface, 0)
    with pytest.raises(UserError, match="layers"):
        Clamps([ClampConfig(site="L4H0", to="uniform")], model, task)
    with pytest.raises(UserError, match="no source model"):
        Clamps([ClampConfig(site="L0H0", to="donor", donor="gone")], model, task)
    with pytest.raises(UserError, match="same site"):
        Clamps([ClampConfig(site="L0H0", to="uniform")] * 2, model, task)
    with pytest.raises(UserError, match="no relation"):
        Clamps([ClampConfig(site="L0H0.pattern", to="relation", relation="nowhere")], model, task)


def planted_direction():
    """A net whose last stream is read linearly: the direction of the unembedding is what it uses."""
    task = InContextRegression(d=3, n=4)
    config = TransformerConfig(
        n_layers=1, n_heads=2, d_model=8, layer_norm="none", mlp="none", dtype="float64"
    )
    model = build_model(config, task.interface, 0).eval()
    found = task.pair("replace-w", 0, "test", 0, 200)
    pair = type(found)(found.kind, found.clean.double(), found.corrupt.double(), found.changed)
    with torch.no_grad():
        predictions = [model(b.inputs)[:, -1, 0] for b in (pair.clean, pair.corrupt)]
    return model, pair, predictions


def test_moving_the_direction_the_net_reads_moves_the_prediction():
    model, pair, (clean, corrupt) = planted_direction()
    used = Probe("used", model.W_U[:, 0].detach(), clean, corrupt)
    table = interchange(model, pair, Site("resid_post", 0, None, 8), [used], draws=200)
    table = table[table["metric"] == "causal slope"]
    own, random = table[table["control"] == "none"].iloc[0], table[table["control"] == "random"].iloc[0]
    assert own["value"] == pytest.approx(1, abs=1e-4)
    assert own["correlation"] == pytest.approx(1, abs=1e-4)
    assert random["ci_low"] < own["value"] * 0.9
    assert abs(random["correlation"]) < 0.9


def test_a_direction_that_nothing_reads_moves_nothing():
    """A probe that decodes, with the unembedding turned at right angles to the direction that the probe moves."""
    model, pair, (clean, corrupt) = planted_direction()
    weights = torch.zeros(8, dtype=torch.float64)
    weights[6] = 1.0
    hook = "blocks.0.hook_resid_post"
    streams = [
        model.run_with_cache(b.inputs, names_filter=hook)[1][hook][:, 8] for b in (pair.clean, pair.corrupt)
    ]
    direction = whitened(weights, torch.cat(streams))
    assert float(direction @ weights) == pytest.approx(1)
    with torch.no_grad():
        model.W_U -= (direction * (direction @ model.W_U[:, 0]) / (direction @ direction))[:, None]
    table = interchange(
        model, pair, Site("resid_post", 0, None, 8), [Probe("unused", weights, clean, corrupt)], draws=100
    )
    table = table[table["metric"] == "causal slope"]
    assert abs(table[table["control"] == "none"]["value"].item()) < 1e-6
    assert abs(table[table["control"] == "random"]["value"].item()) > 1e-3


def test_bad_probe_moves_are_refused():
    model, pair, (clean, corrupt) = planted_direction()
    probe = Probe("p", model.W_U[:, 0].detach(), clean, corrupt)
    with pytest.raises(UserError, match="one position"):
        interchange(model, pair, Site("resid_post", 0), [probe])
    with pytest.raises(UserError, match="predicts no change"):
        interchange(
            model, pair, Site("resid_post", 0, None, 8), [Probe("still", probe.weights, clean, clean)]
        )
    with pytest.raises(UserError, match="does not vary"):
        whitened(torch.zeros(8), torch.randn(5, 8))
