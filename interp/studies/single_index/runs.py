"""Sizes of the single-index study by scale: replicas of the chains, dimensions, and ordinary runs."""

from __future__ import annotations

import dataclasses

from interp.config.run import RunConfig, configure, parse_config
from interp.studies.context import StudyContext
from interp.studies.ledger import Scale
from interp.studies.single_index.claims import ENDS, LAYERS, REPLICAS, RUNS

NAME = "single-index"


@dataclasses.dataclass(frozen=True)
class ChainBudget:
    """Replicas and dimensions of a scale; `wide` gains are measured at d = 1000; seeds of the ordinary runs of index
    networks (`runs`) and of one attention layer (`layers`).
    """

    replicas: int
    linear: tuple[int, ...]
    square: tuple[int, ...]
    cubic: tuple[int, ...]
    lengths: tuple[int, ...]
    semantic: int
    wide: bool
    runs: int
    layers: int = 8


BUDGETS = {
    "quick": ChainBudget(
        REPLICAS, (100, 400, 1600), (200, 400, 800, 1600), (25, 50, 100), (1, 2, 4, 8), ENDS, False, RUNS, LAYERS
    ),
    "cpu": ChainBudget(
        384, (100, 400, 1600, 6400), (200, 400, 800, 1600, 3200), (25, 50, 100, 200), (1, 2, 4, 8, 16), 96, True, 12
    ),
    "paper": ChainBudget(
        576, (100, 400, 1600, 6400, 25600), (200, 400, 800, 1600, 3200, 6400), (25, 50, 100, 200, 400),
        (1, 2, 4, 8, 16, 32), 256, True, 24,
    ),
}  # fmt: skip

Study = StudyContext[ChainBudget]


ANALYSES = ("overlaps",)
LENGTHS = (1, 2, 4, 8)
LAYER = {
    "task": {"kind": "single-index", "d": 32, "link": "sum(z)/sqrt(L)"},
    "model": {
        "kind": "transformer", "n_layers": 1, "n_heads": 1, "d_model": 32, "mask": "full", "mlp": "none",
        "positions": "none", "init": "fan_in", "layer_norm": "none",
    },
    "train": {
        "steps": 1500, "batch": 16, "optimiser": "sgd", "lr": 0.05, "eval_batch": 512, "save_every": 1500,
        "log_every": 100, "max_loss": 0.0, "schedule": {"every": 10},
    },
}  # fmt: skip


def _seeded(config: RunConfig, seed: int) -> RunConfig:
    return parse_config({**config.settings, "seed": seed, "init_seed": seed, "data_seed": seed})


def net_config(seed: int) -> RunConfig:
    """An ordinary run of an index network at batch 1."""
    changes = {"task.d": 32, "model.start": 32**-0.5, "train.steps": 4000}
    return _seeded(configure("single-index", changes=changes), seed)


def layer_config(length: int, seed: int) -> RunConfig:
    """An ordinary run of one attention layer on so many tokens."""
    settings = {**LAYER, "task": {**LAYER["task"], "length": length}}
    return _seeded(parse_config({**settings, "seed": seed}), seed)


def configs(scale: Scale) -> dict[str, RunConfig]:
    """The ordinary runs of a scale by the names of their folders."""
    sizes = BUDGETS[scale]
    nets = {f"net-{seed}": net_config(seed) for seed in range(sizes.runs)}
    layers = {f"layer-{n}-{seed}": layer_config(n, seed) for n in LENGTHS for seed in range(sizes.layers)}
    return {**nets, **layers}


def planned(scale: Scale) -> dict[str, str]:
    """Settings hashes of the ordinary runs, by name, and the sizes of the chains."""
    return {**{name: config.hash for name, config in configs(scale).items()}, "chains": str(BUDGETS[scale])}
