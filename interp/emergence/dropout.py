"""Loss and score of a model with its dropout on, as some published figures were taken (no call of `.eval()`).

A network with dropout on is a random one: every prompt is answered by another draw of its masks. The figures are means
over prompts and masks at once, with intervals over prompts, beside those of the same prompts with dropout off. What
analyses measure is the network with dropout off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from interp.emergence.scores import ScoreAccumulator
from tasks import Task, UserError

CHUNK = 64
ON, OFF = "none", "dropout off"


@contextmanager
def dropping(model: nn.Module, seed: int) -> Iterator[None]:
    """The model with its dropout on, masks drawn from a state of their own; its mode is as before behind.

    Raises UserError for a model without dropout, and for one whose training mode changes more than that.
    """
    parts = [part for part in model.modules() if isinstance(part, nn.modules.dropout._DropoutNd)]
    if not any(part.p > 0 for part in parts):
        raise UserError("this model has no dropout to turn on")
    if any(isinstance(part, _BatchNorm) for part in model.modules()):
        raise UserError(
            "this model has batch norms, which another mode changes, too: its dropout alone cannot be on"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inside = [
            part for part in model.modules() if part is not model
        ]  # adopted models refuse the mode themselves
        was = [part.training for part in inside]
        for part in inside:
            part.training = True
        try:
            yield
        finally:
            for part, before in zip(inside, was, strict=True):
                part.training = before


def dropout_scores(model: Any, task: Task, *, prompts: int = 512, seed: int = 0) -> pd.DataFrame:
    """Loss and score at each output position of held-out prompts, dropout on ("none") and off, as a table.

    Columns are those of `scores`. Raises UserError as `dropping` does, and for fewer than 2 prompts.
    """
    if prompts < 2:
        raise UserError(f"{prompts} prompts give no interval: take 2 or more")
    on, off = ScoreAccumulator(task), ScoreAccumulator(task)
    for chunk, first in enumerate(range(0, prompts, CHUNK)):
        batch = task.sample(seed, "dropout", chunk, min(CHUNK, prompts - first))
        with torch.no_grad():
            with dropping(model, seed + chunk):
                on.add(chunk, batch, model(batch.inputs), None)
            off.add(chunk, batch, model(batch.inputs), None)
    tables = [each.table().assign(control=control) for each, control in ((on, ON), (off, OFF))]
    return pd.concat(tables, ignore_index=True)
