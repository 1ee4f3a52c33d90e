"""Which steps a run saves, evaluates and logs: pure functions of its settings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp.config.train import TrainConfig


def checkpoint_steps(schedule: Any, steps: int) -> tuple[int, ...]:
    """The realised schedule (`interp.config.train.Schedule`, or its numbers): strictly increasing, from 0 to `steps`,
    without repeats."""
    kept = {0, steps, *schedule.explicit, *_log_spaced(schedule.log, steps)}
    if schedule.every:
        kept.update(range(0, steps, schedule.every))
    return tuple(sorted(step for step in kept if step <= steps))


def _log_spaced(count: int, steps: int) -> list[int]:
    """`count` steps from 1 to `steps`, evenly spaced in their logarithm, rounded (repeats included)."""
    if count < 2 or steps == 1:
        return [steps] * min(count, 1)
    return [round(math.exp(i / (count - 1) * math.log(steps))) for i in range(count)]


def is_evaluated(train: TrainConfig, step: int) -> bool:
    """Whether the held-out batch is evaluated at a step that is not a checkpoint."""
    return train.eval_every > 0 and step % train.eval_every == 0


def is_logged(train: TrainConfig, step: int) -> bool:
    """Whether a line of metrics is due at a step that is not a checkpoint."""
    return step % train.log_every == 0 or is_evaluated(train, step)


def rate(train: TrainConfig, step: int) -> float:
    """The share of the full learning rate used for the update that follows weights `step`, in [0, 1]."""
    if step < train.warmup:
        return (step + 1) / train.warmup
    if train.decay == "none":
        return 1.0
    done = (step - train.warmup) / max(1, train.steps - train.warmup)
    return train.final_lr + (1 - train.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
