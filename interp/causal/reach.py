"""What a row of attention can still reach: the positions of each layer's writes that some output depends on.

Derived from the graph alone: the mask, the number of layers and the positions that are read. A head of the last layer
changes the outputs through the rows that are read and no others; a head before it through every row that a later
layer's live rows may attend to. Attention in a row that reaches no output cannot matter, however sharp it is, and no
head is named for it. A live row may still carry nothing: that is for ablations to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from interp.analysis.nameable import reachable
from interp.models.components import allowed
from tasks.base import Relation, Task

NOWHERE = torch.device("cpu")


def live_rows(config: Any, n_pos: int, output_positions: Sequence[int]) -> Bool[Tensor, "layer pos"]:
    """Whether what a layer's heads write at a position can change an output at one of `output_positions`.

    >>> from interp.config.model_transformer import TransformerConfig
    >>> live_rows(TransformerConfig(n_layers=2, mask="causal"), 4, [2]).int().tolist()
    [[1, 1, 1, 0], [0, 0, 1, 0]]
    """
    seen = allowed(n_pos, config, NOWHERE)
    alive = torch.zeros(n_pos, dtype=torch.bool)
    alive[list(output_positions)] = True
    rows = []
    for _ in range(config.n_layers):
        rows.append(alive)
        alive = alive | seen[alive].any(0)
    return torch.stack(rows[::-1])


def reaching(config: Any, task: Task, relations: Iterable[Relation]) -> dict[str, list[bool]]:
    """For each relation and layer: whether attending to it there can change any output, on some prompt."""
    live = live_rows(config, task.interface.n_ctx, task.interface.output_positions)
    rows = {r.name: r.dest if r.valid is None else r.dest[r.valid] for r in relations}
    return {name: live[:, dest.flatten().long().cpu()].any(1).tolist() for name, dest in rows.items()}


def without_dead_rows(
    scores: pd.DataFrame, config: Any, task: Task, relations: Iterable[Relation]
) -> pd.DataFrame:
    """Head scores (columns layer, metric, control) less those of trained heads on rows that reach no output."""
    return reachable(scores, reaching(config, task, relations))
