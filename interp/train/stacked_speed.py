"""How much faster a stack of runs is than the same runs one by one: a measurement, to decide by, never asserted."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pandas as pd

from interp.config import RunConfig
from interp.models import build_model
from interp.train.optimisers import Optimisers
from interp.train.stacked import train_stack


def speed_table(config: RunConfig, batches: Sequence[int], members: int, steps: int = 30) -> pd.DataFrame:
    """Milliseconds of wall clock per step of one member, alone and in a stack of `members` seeds, by batch size.

    Data included. Both arms run twice and the faster run counts.
    """
    rows = []
    for batch in batches:
        train = config.train.model_copy(update={"batch": batch, "steps": steps})
        runs = [
            config.model_copy(update={"train": train, "seed": s, "init_seed": s, "data_seed": s})
            for s in range(members)
        ]
        stacked = min(_seconds(lambda runs=runs: train_stack(runs)) for _ in range(2)) / members
        single = min(_seconds(lambda runs=runs: _alone(runs[0])) for _ in range(2))
        row = {"batch": batch, "members": members, "single_ms": 1e3 * single / steps}
        rows.append(row | {"stacked_ms": 1e3 * stacked / steps, "speedup": single / stacked})
    return pd.DataFrame(rows)


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _alone(config: RunConfig) -> None:
    model = build_model(config.model, config.task.interface, config.init_seed)
    optimisers = Optimisers(model, config.train)
    for step in range(config.train.steps):
        batch = config.task.sample(config.data_seed, "train", step, config.train.batch)
        config.task.loss(model(batch.inputs), batch).mean().backward()
        optimisers.update(step)
