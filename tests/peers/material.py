"""What peers and this project are both given: a small trained net and its prompts, written as plain arrays.

The formats stand in `tests.peers.given`, which the peers' own Python reads them with. The metric is the logit of the
first hop's answer less that of the corrupt prompt's, at the last position.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from interp.causal.metrics import Metric
from interp.config.run import RunConfig, parse_config
from interp.importers.lens_export import lens_config, lens_weights
from interp.models import build_model
from interp.run import load
from interp.train import train
from tasks.base import Pair

TASK = {
    "kind": "retrieval",
    "hops": 2,
    "chains": 2,
    "vocab": 12,
    "layout": "flat",
    "order": "query_first",
    "weights": [1.0, 0.0],
}
SMALL = {"kind": "transformer", "n_layers": 2, "n_heads": 4, "d_model": 32}
TRAINED = {"steps": 300, "batch": 64, "lr": 5e-3, "optimiser": "adam", "log_every": 100}
LONG = {**TASK, "hops": 3, "chains": 6, "vocab": 32, "weights": []}
LARGE = {"kind": "transformer", "n_layers": 12, "n_heads": 8, "d_model": 64, "mlp": "none"}
PROMPTS, LOSSES = 32, 512
LLC: dict[str, Any] = {
    "step": 1e-4, "gamma": 1e3, "chains": 4, "draws": 100, "burn_in": 40, "minibatch": 32, "still": 20,
}  # fmt: skip
SIZE = 10_000  # sample size that the coefficient refers to


class Material(NamedTuple):
    """A net as this project has it, and what is asked of it."""

    model: Any
    config: RunConfig
    pair: Pair
    metric: Metric


def trained(folder: Path) -> Material:
    """The small net, trained once into the folder to answer one hop."""
    config = parse_config({"task": TASK, "model": SMALL, "train": TRAINED})
    train(config, folder)
    return _asked(load(str(folder)).model("last"), config)


def untrained() -> Material:
    """A net of 13,057 edges without MLPs, for timing, where values do not matter."""
    config = parse_config({"task": LONG, "model": LARGE, "train": {"steps": 1, "batch": 1, "lr": 1e-3}})
    return _asked(build_model(config.model, config.task.interface, 0).eval(), config)


def _asked(model: Any, config: RunConfig) -> Material:
    pair = config.task.pair("swap-hop-1", 0, "peers", 0, PROMPTS)
    right, wrong = (batch.targets[:, :1] for batch in (pair.clean, pair.corrupt))  # type: ignore[attr-defined]
    (last,) = config.task.interface.output_positions

    def apart(outputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        at = outputs[:, last]
        return (at.gather(1, right[rows]) - at.gather(1, wrong[rows]))[:, 0]

    return Material(model, config, pair, Metric("logit difference", "hop 1", "logit", (last,), apart))


def write(material: Material, folder: Path) -> None:
    """Settings, weights and prompts for the peers; what the learning coefficient is to be measured with."""
    folder.mkdir(parents=True, exist_ok=True)
    model, config, pair, _ = material
    weights = {name: value.detach() for name, value in model.state_dict().items()}
    named = lens_weights(weights, config.model)  # type: ignore[arg-type]
    (folder / "net.json").write_text(json.dumps(lens_config(config.model, config.task.interface)))  # type: ignore[arg-type]
    np.savez(folder / "net.npz", **{name: value.numpy() for name, value in named.items()})  # type: ignore[arg-type]
    losses = [config.task.sample(0, "llc", k, LLC["minibatch"]) for k in range(LOSSES // LLC["minibatch"])]
    arrays = {
        "clean": pair.clean.inputs, "corrupt": pair.corrupt.inputs,
        "right": pair.clean.targets[:, :1], "wrong": pair.corrupt.targets[:, :1],  # type: ignore[attr-defined]
        "losses/inputs": torch.cat([batch.inputs for batch in losses]),
        "losses/targets": torch.cat([batch.targets for batch in losses]),  # type: ignore[attr-defined]
    }  # fmt: skip
    np.savez(folder / "prompts.npz", **{name: value.numpy() for name, value in arrays.items()})  # type: ignore[arg-type]
    own = [name for name, value in named.items() if bool(value.abs().any()) or "b_U" not in name]
    more = {"beta_n": SIZE / math.log(SIZE), "weights": own, "outputs": TASK["weights"]}
    (folder / "llc.json").write_text(json.dumps({**LLC, **more}))
