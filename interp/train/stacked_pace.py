"""A stack of runs against the same runs one after the other: CPU seconds, by batch size.

Baseline: each run alone, with torch's own optimisers and autograd, as the training loop does it. Both conditions draw
the same data and take the same steps; they alternate, and the faster repetition of each counts. CPU time of this
process, with the number of threads torch has when called. `ratio` is the baseline's time over the stack's: above 1,
stacking is faster.

    python -m interp.train.stacked_pace [PRESET] [--members N] [--steps N] [--set key=value ...]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence

import pandas as pd

from interp.config.run import RunConfig, configure
from interp.models import build_model
from interp.train.optimisers import Optimisers
from interp.train.stacked import train_stack

BATCHES = (16, 64, 256, 1000)
TURNS = 2


def stacked_table(
    config: RunConfig, batches: Sequence[int] = BATCHES, *, members: int = 4, steps: int = 10
) -> pd.DataFrame:
    """CPU milliseconds per step and member, stacked (`project_ms`) and one by one (`baseline_ms`), and their ratio."""
    return pd.DataFrame([_row(config, batch, members, steps) for batch in batches])


def members_of(config: RunConfig, batch: int, members: int, steps: int) -> list[RunConfig]:
    train = config.train.model_copy(update={"batch": batch, "steps": steps})
    return [
        config.model_copy(update={"train": train, "seed": s, "init_seed": s, "data_seed": s})
        for s in range(members)
    ]


def _row(config: RunConfig, batch: int, members: int, steps: int) -> dict[str, int | float]:
    runs = members_of(config, batch, members, steps)
    conditions = {"project": lambda: train_stack(runs), "baseline": lambda: [alone(run) for run in runs]}
    best = dict.fromkeys(conditions, float("inf"))
    for _ in range(TURNS):
        for name, work in conditions.items():
            best[name] = min(best[name], _cpu_seconds(work))
    share = 1e3 / (steps * members)
    return {
        "batch": batch,
        "members": members,
        "project_ms": best["project"] * share,
        "baseline_ms": best["baseline"] * share,
        "ratio": best["baseline"] / best["project"],
    }


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def alone(config: RunConfig) -> None:
    """One run without its folder; as many losses as the stack takes, the one after the last update included."""
    model = build_model(config.model, config.task.interface, config.init_seed)
    optimisers = Optimisers(model, config.train)
    for step in range(config.train.steps + 1):
        batch = config.task.sample(config.data_seed, "train", step, config.train.batch)
        config.task.loss(model(batch.inputs), batch).mean().backward()
        if step < config.train.steps:
            optimisers.update(step)


def main() -> None:
    """Print one JSON object a row."""
    parser = argparse.ArgumentParser(
        description="stacked runs compared with the same runs one after the other"
    )
    parser.add_argument("preset", nargs="?", default="retrieval")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    asked = parser.parse_args()
    config = configure(asked.preset, overrides=asked.settings)
    for row in stacked_table(config, members=asked.members, steps=asked.steps).to_dict("records"):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
