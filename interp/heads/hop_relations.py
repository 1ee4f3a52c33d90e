"""From every token of a prompt to the one that lies j hops on, for every j: where heads of a multi-hop task may attend.

Rows of two kinds are kept apart where the task has both: "tokens" and the "query", which stands for the start of the
queried chain.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from tasks import Relation, Task

Rows = Literal["tokens", "query"]


def has_hops(task: Task) -> bool:
    """Whether a task's prompts say where hops lead (`finds`, or `links` of chains), and there are at least two."""
    batch = task.sample(0, "labels", 0, 1)
    finds, links = getattr(batch, "finds", None), getattr(batch, "links", None)
    return (isinstance(finds, Tensor) and finds.shape[1] > 2) or (
        isinstance(links, Tensor) and links.shape[2] > 1
    )


def hop_relations(task: Task, batch: Any) -> dict[tuple[Rows, int], Relation]:
    """The relation of every kind of row and number of hops; pairs that do not exist are not valid."""
    if hasattr(batch, "finds"):
        pos = batch.inputs.shape[1]
        here = torch.arange(pos).expand(len(batch), -1)
        return {
            ("tokens", hop): Relation(f"find^{hop}", here, there.clamp(min=0), there >= 0)
            for hop in range(1, batch.finds.shape[1])
            if bool(((there := batch.finds[:, hop]) >= 0).any())
        }
    links = batch.links
    found: dict[tuple[Rows, int], Relation] = {}
    query = torch.full_like(links[:, 0, :1], task.interface.n_ctx - 1)
    for hop in range(1, links.shape[2] + 1):
        found["query", hop] = Relation(f"find^{hop}", query, links[:, 0, hop - 1 : hop])
        if hop < links.shape[2]:
            before, after = links[:, :, :-hop].flatten(1), links[:, :, hop:].flatten(1)
            found["tokens", hop] = Relation(f"find^{hop}", before, after)
    return found
