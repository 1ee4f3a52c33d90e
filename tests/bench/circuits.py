"""Edges and circuits of a large model, 12 layers of 8 heads without MLPs (13,057 edges), as rows of the table.

EAP and EAP-IG beside as many plain passes forward and back as they have steps, on the untrained model (values do not
change the cost). The search is timed on a model trained for a few hundred steps, since a model without the behaviour is
given an empty circuit at once. Its peer is a loop of whole passes, one for each edge (ACDC visits every edge at least
once), of which some are timed. auto-circuit does not import here.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from interp.causal.attribution import attribute_edges
from interp.causal.behaviour import resampled_pair
from interp.causal.circuits import find_circuit
from interp.causal.metrics import metric_of
from interp.config.run import configure
from interp.models import build_model
from interp.run import load
from interp.train import train
from tests.bench.estimates import NOT_RUN
from tests.bench.rows import Row, compare, cpu_seconds, weighed

PROMPTS, TIMED = 64, 20
LARGE = ["model.n_layers=12", "model.n_heads=8"]
SMALL = ["model.n_layers=3", "model.n_heads=4"]
STEPS = 300  # of training: enough for a behaviour


def estimate_rows(quick: bool) -> list[Row]:
    """EAP and EAP-IG with 8 steps."""
    config = configure("retrieval", overrides=SMALL if quick else LARGE)
    model: Any = build_model(config.model, config.task.interface, 0).eval()
    pair = resampled_pair(config.task, 0, PROMPTS)
    clean, other = pair.clean.inputs, pair.corrupt.inputs
    metric = metric_of(config.task, pair, "loss")

    def passes(count: int) -> None:
        for _ in range(count):
            metric(model(clean)).sum().backward()
            model.zero_grad()

    def row(name: str, steps: int) -> Row:
        def estimate() -> Any:
            return attribute_edges(model, clean, other, metric, ig_steps=steps)

        count, plain = len(estimate().edges), max(1, steps)
        return compare(
            f"{name}, {count:,} edges", estimate, lambda: passes(plain),
            baseline_name=f"{plain} plain passes forward and back", repeats=2 if quick else 7,
            note=f"{PROMPTS} prompts of {clean.shape[1]} tokens; auto-circuit: {NOT_RUN}",
        )  # fmt: skip

    return [row("EAP", 0), row("EAP-IG, 8 steps", 8)]


def search_rows(quick: bool) -> list[Row]:
    """The search by pruning, whole."""
    sizes = [*(SMALL if quick else LARGE), f"train.steps={STEPS}", "train.schedule.log=0"]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train(configure("retrieval", overrides=[*sizes, f"train.schedule.every={STEPS}"]), run)
        model, task = load(run).model(), load(run).task
    found: list[Any] = []

    def search() -> None:
        found.append(find_circuit(model, task, prompts=PROMPTS))

    inputs = resampled_pair(task, 0, PROMPTS).clean.inputs
    own = cpu_seconds(search)
    edges = found[0].settings["edges"]
    passes = cpu_seconds(lambda: [model(inputs) for _ in range(TIMED)]) / TIMED * edges
    kept = len(found[0].edges)
    bare = Row(
        f"circuit search, {edges:,} edges", 0.0, baseline_name="a whole pass an edge",
        note=f"{PROMPTS} prompts; {kept:,} edges kept; {TIMED} of the peer's passes timed",
    )  # fmt: skip
    return [weighed(bare, [(own, passes)])]
