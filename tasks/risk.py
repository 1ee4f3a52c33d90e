"""Risk of predictors known in closed form: Monte Carlo over prompts of a task's distribution.

For every strategy of a task, on its own prompts or on those of another of its `distributions`: a reference level for
a model's loss ("the risk of always counting symbols"). Cached for the lifetime of a process.
"""

from __future__ import annotations

import functools
import json

import torch

from tasks.base import Level, Task, build, settings_of
from tasks.errors import UserError

PROMPTS = 4096
HELD = 2**22  # numbers of prompts held at a time
STREAM = "risk"


def risk(task: Task, strategy: str, on: str = "", prompts: int = PROMPTS) -> Level:
    """Expected loss at each output position of one of the task's `strategies`, on one of its `distributions` (its own
    prompts, unless named), with its standard error over drawn prompts.

    Raises UserError for a name that the task does not have.
    """
    if on and on not in task.distributions:
        raise UserError(f"task {task.kind!r} has no distribution {on!r}: it has {list(task.distributions)}")
    return _risk(json.dumps(settings_of(task), sort_keys=True), strategy, on, prompts)


@functools.lru_cache(maxsize=256)
def _risk(settings: str, strategy: str, on: str, prompts: int) -> Level:
    task = build(json.loads(settings))
    source = task.distributions[on] if on else task
    size = max(1, min(prompts, HELD // task.interface.n_ctx))
    losses = []
    for step in range(-(-prompts // size)):
        batch = source.sample(0, STREAM, step, size)
        known = task.strategies(batch)
        if strategy not in known:
            raise UserError(f"task {task.kind!r} has no strategy {strategy!r}: it has {list(known)}")
        losses.append(task.loss(known[strategy], batch))
    found = torch.cat(losses).double()
    where = f" on {on}" if on else ""
    return Level(
        found.mean(0), found.std(0) / len(found) ** 0.5, f"{strategy}{where}, Monte Carlo over prompts"
    )
