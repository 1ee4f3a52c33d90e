"""A change of what training computes is seen: figures of tiny trainings, kept with the version that made them.

Every optimiser and every kind of model that is trained here is there. Figures are the root mean square of each run's
weights and of its step, and a projection of the weights, to five digits: rounding differs between processors by less, a
change of the data, the start, the order of updates or a rule by more. When they differ and the change is meant, raise
`interp._version.BITS` and keep the new figures: `python -m tests.interp.train.test_bits`. Figures of older versions
stay beside them, for runs that were begun then are resumed as they were; but for Muon of the first one, whose bfloat16
rounds otherwise on every processor (`test_muon` holds it to torch's). Muon brings rounding in gradients to the size of
steps, so that its own run is in double precision.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from interp._version import BITS
from interp.config.run import RunConfig, configure
from interp.models import build_model
from interp.models.build import _BUILDERS
from interp.models.fused import fuse
from interp.train.optimisers import _MAKERS, Optimisers

KEPT = Path(__file__).with_name("bits.json")
STEPS = 3
SMALL = {"task.d": 2, "task.n": 3, "model.n_layers": 1, "train.batch": 8}
MLP = {"model.n_heads": 2, "model.d_model": 8}
RULES = {
    name: {"train.optimiser": name, "train.lr": 1e-3, "train.weight_decay": 0.1}
    for name in ("adam", "adamw", "sgd", "sign")
}
RUNS: dict[str, tuple[str, dict]] = {
    "transformer, muon": ("regression", {**SMALL, **MLP, "model.dtype": "float64"}),
    **{f"linear, {name}": ("linear-attention", {**SMALL, **rule}) for name, rule in RULES.items()},
    "index-network, spherical": ("single-index", {"train.batch": 1}),
    "tied-attention, spherical": ("single-index", {
        "task": {"kind": "single-index", "d": 16, "link": {"omega": 0.5}},
        "model": {"kind": "tied-attention", "positional": "opposite"},
    }),
    "lstm, adam": ("regression", {**SMALL, "train.optimiser": "adam",
                                  "model": {"kind": "lstm", "n_layers": 1, "d_model": 8}, "model.n_layers": 1}),
    "feature-linear, adam": ("linear-attention", {**SMALL, "model": {"kind": "feature-linear", "n_layers": 1}}),
    "retrieval, adam": ("retrieval", {**MLP, "model.n_layers": 1, "train.batch": 8}),
    "markov, adam": ("markov", {**MLP, "model.n_layers": 1, "train.batch": 8}),
}  # fmt: skip
NOT_TRAINED = {"language-model", "adopted"}  # imported
WITHOUT = {("transformer, muon", 1)}


def settings(name: str) -> RunConfig:
    preset, changes = RUNS[name]
    return configure(preset, changes={"train.warmup": 1, "train.steps": STEPS, **changes})


def figures(name: str, bits: int = BITS) -> list[float]:
    """What a training of three steps gives under a version of training."""
    config = settings(name)
    model = build_model(config.model, config.task.interface, config.init_seed)
    start = torch.cat([p.detach().flatten().double() for p in model.parameters()])
    if bits > 1:  # figures of the first version were kept without the kernels of training
        fuse(model)
    optimisers = Optimisers(model, config.train, bits)
    for step in range(STEPS):
        batch = config.task.sample(config.data_seed, "train", step, config.train.batch)
        batch = batch.double() if config.model.dtype == "float64" else batch
        config.task.loss(model(batch.inputs), batch).mean().backward()
        optimisers.update(step)
    end = torch.cat([p.detach().flatten().double() for p in model.parameters()])
    along = torch.cos(torch.arange(len(end), dtype=torch.float64))
    sizes = (end.square().mean().sqrt(), (end - start).square().mean().sqrt(), along @ end)
    return [float(x) for x in sizes]


def test_every_optimiser_and_kind_is_trained():
    configs = [settings(name) for name in RUNS]
    assert {config.train.optimiser for config in configs} == set(_MAKERS)
    assert {config.model.kind for config in configs} >= {
        kind for kind, builder in _BUILDERS.items() if isinstance(builder, str)
    } - NOT_TRAINED


KNOWN = [(name, bits) for bits in range(1, BITS + 1) for name in RUNS if (name, bits) not in WITHOUT]


@pytest.mark.parametrize(("name", "bits"), KNOWN)
def test_the_figures_are_those_of_their_version(name, bits):
    kept = json.loads(KEPT.read_text())
    assert {(found, int(known)) for known in kept for found in kept[known]} == {*KNOWN}, (
        "the version was raised: keep new figures"
    )
    assert figures(name, bits) == pytest.approx(kept[str(bits)][name], rel=1e-5), (
        "training gives other weights: raise interp._version.BITS and keep new figures"
    )


def test_versions_differ_where_the_rule_does():
    assert figures("transformer, muon", 1) != pytest.approx(figures("transformer, muon", 2), rel=1e-5)


@pytest.mark.parametrize("change", [{"train.lr": 1.01e-3}, {"data_seed": 1}])
def test_a_small_change_is_seen(change, monkeypatch):
    preset, changes = RUNS["linear, adam"]
    before = figures("linear, adam")
    monkeypatch.setitem(RUNS, "linear, adam", (preset, {**changes, **change}))
    assert figures("linear, adam") != pytest.approx(before, rel=1e-5)


if __name__ == "__main__":
    made: dict[str, dict[str, list[float]]] = {}
    for name, bits in KNOWN:
        made.setdefault(str(bits), {})[name] = figures(name, bits)
    KEPT.write_text(json.dumps(made, indent=1) + "\n")
