"""Edge attribution, the learning coefficient, Muon and a language model's patches, as rows of the table.

Peers that this environment cannot import are named as not run: auto-circuit needs a module that TransformerLens 4 no
longer has; of devinterp the optimiser is run where `make peers` has installed it. Beside them stands what the work is
made of: an estimate against as many forward and backward passes of the plain model as it has steps, a chain against its
gradients by torch's autograd on the unfused model, Muon against `torch.optim.Muon`, patches of a language model against
a whole pass a site.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.func import functional_call

from interp.causal.attribution import attribute_edges
from interp.causal.metrics import metric_of
from interp.causal.reference import HooksEngine
from interp.causal.suffix import SuffixEngine
from interp.config.run import configure
from interp.hooks.sites import grid
from interp.importers.hf import bridge_config
from interp.landscape.langevin import model_slopes, slope_of
from interp.landscape.llc import coefficient
from interp.models import build_model
from interp.models.bridge import BridgedModel, bridged
from interp.models.fused import fuse
from interp.studies.retrieval_prompts.runs_texts import SmallModel
from interp.studies.retrieval_prompts.runs_weights import build_small
from interp.train.optimisers import Optimisers
from tasks import TextRetrieval
from tests.bench import patching, peer_chains
from tests.bench.rows import Row, compare, flop_of
from tests.bench.training_step import Plain

NOT_RUN = "not run, it does not import here"
SIZE = 10_000  # sample size that the coefficient refers to
TASK = TextRetrieval(hops=1, chains=2)


def edge_rows(quick: bool) -> list[Row]:
    """EAP and EAP-IG with 8 steps, 4 layers of 8 heads at 41 positions."""
    at, metric = patching.setting(2 if quick else 4), patching.last_or_all(False)
    clean, other = at.pair.clean.inputs, at.pair.corrupt.inputs

    def passes() -> None:
        outputs = at.model(clean)
        metric(outputs).sum().backward()
        at.model.zero_grad()

    def row(name: str, steps: int) -> Row:
        def estimate() -> Any:
            return attribute_edges(at.model, clean, other, metric, ig_steps=steps)

        count = len(estimate().edges)
        return compare(
            f"{name}, {count:,} edges", estimate, lambda: [passes() for _ in range(max(1, steps))],
            baseline_name=f"{max(1, steps)} plain passes forward and back", repeats=2 if quick else 7,
            note=f"auto-circuit: {NOT_RUN}",
        )  # fmt: skip

    return [row("EAP", 0), row("EAP-IG, 8 steps", 8)]


def coefficient_rows(quick: bool) -> list[Row]:
    """Four chains of 210 steps on the preset `retrieval`, untrained (the cost does not depend on it)."""
    config = configure("retrieval")
    model = build_model(config.model, config.task.interface, 0).eval()
    batches = [config.task.sample(0, "llc", k, 32) for k in range(4)]
    draws = 20 if quick else 150
    about = {"chains": 2 if quick else 4, "draws": draws, "burn_in": 0 if quick else 60}
    settings: dict[str, Any] = {**about, "step": 1e-6, "gamma": 1e3, "seed": 0}
    slopes, start = model_slopes(model, config.task, batches)
    plain = copy.deepcopy(model)
    shapes = {name: p.shape for name, p in plain.named_parameters()}

    def loss_on(batch: Any) -> Any:
        def loss(flat: torch.Tensor) -> torch.Tensor:
            parts = flat.split([shape.numel() for shape in shapes.values()])
            named = {
                name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
            }
            return config.task.loss(functional_call(plain, named, (batch.inputs,)), batch).mean()

        return loss

    by_autograd = [slope_of(loss_on(batch)) for batch in batches]

    def chains(of: Any) -> Any:
        return lambda: _unchecked(of, start, settings)

    peers = {"autograd, eager": chains(by_autograd)}
    if peer_chains.installed():
        peers["devinterp's SGLD, plain torch"] = peer_chains.devinterp_chains(config, batches, SIZE, settings)
    steps = f"{draws + about['burn_in']} steps each"
    return [
        compare(
            f"learning coefficient, {about['chains']} chains", chains(slopes), peer, baseline_name=name,
            repeats=1 if quick else 3, flop=flop_of(chains(slopes)),
            note=steps if len(peers) > 1 else f"{steps}; {peer_chains.NOT_THERE}",
        )
        for name, peer in peers.items()
    ]  # fmt: skip


def _unchecked(slopes: Any, start: torch.Tensor, settings: dict[str, Any]) -> None:
    """The coefficient, whether or not its chains are good: only their time is asked for."""
    from interp.landscape.langevin import BadChains

    try:
        coefficient(slopes, start, SIZE, **settings)
    except BadChains:
        return


def muon_rows(quick: bool) -> list[Row]:
    """A training step of the preset `regression` as it is, against the first version of training and a plain model."""
    config = configure("regression")
    batch = config.task.sample(0, "bench", 0, config.train.batch)

    def steps(bits: int) -> Any:
        model = build_model(config.model, config.task.interface, 0)
        fuse(model, padded=bits > 1)
        return stepped(model, bits)

    def stepped(model: Any, bits: int) -> Any:
        optimisers = Optimisers(model, config.train, bits)

        def step() -> None:
            config.task.loss(model(batch.inputs), batch).mean().backward()
            optimisers.update(0)

        return step

    plain = Plain(config.model, config.task.interface)  # type: ignore[arg-type]
    peers = {
        "torch.optim.Muon": (steps(1), "version 2 of training against version 1"),
        "plain torch, SDPA, stacked Muon": (
            stepped(plain, 2),
            "the same optimiser, a model without hooks",
        ),
    }
    return [
        compare(
            "training step, regression, Muon", steps(2), peer, baseline_name=name,
            repeats=3 if quick else 15, flop=flop_of(steps(2)), note=note,
        )
        for name, (peer, note) in peers.items()
    ]  # fmt: skip


def language_rows(quick: bool) -> list[Row]:
    """All heads of an untrained GPT-NeoX of 8 layers through the bridge (values do not change the cost)."""
    size = 2 if quick else 8
    loaded = build_small(
        SmallModel(family="gpt-neox", layers=size, heads=8, width=128, stages=((1, 2, 4),), keep=(0,))
    )
    bridge = bridged(loaded.eval(), "gpt-neox")
    model = BridgedModel(bridge_config(loaded, bridge.cfg, "gpt-neox", "float32"), TASK.interface, 0)
    model.hold(bridge)
    pair = TASK.pair("rebind-hop-1", 2, "test", 0, 16)
    with torch.no_grad():
        metric = metric_of(TASK, pair, "loss", clean_outputs=model.eval()(pair.clean.inputs))
        cache = model.run_with_cache(pair.clean.inputs, return_cache_object=False)[1]
    inputs = pair.corrupt.inputs
    sites = grid(model, "z", inputs.shape[1], by=("layer", "head"))
    return [
        compare(
            "patching, heads of a language model", lambda: SuffixEngine(model, inputs, metric).values(sites, cache),
            lambda: HooksEngine(model, inputs, metric).values(sites, cache), baseline_name="a whole pass a head",
            repeats=2 if quick else 5, note=f"{size} layers of 8 heads, width 128, {len(inputs)} prompts",
        )
    ]  # fmt: skip
