"""Text prompts as tensors: a batch with what is known of it, what is drawn for it, and its relations."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.base import Batch, Relation

PAD = -(2**30)


@dataclasses.dataclass(frozen=True)
class PromptBatch(Batch):
    """Prompts with their ground truth.

    `targets` and `choices` number the interface's outputs. `src` and `keys`: positions of the value and of the key of
    each asked link, hop by hop; `rivals` and `rival_keys` those of the other chains; `asked`: position of the name in
    the question. `tokens` are the tokens of the choices.
    """

    choices: Int[Tensor, "batch choice"]
    tokens: Int[Tensor, "batch choice"]
    src: Int[Tensor, "batch hops"]
    keys: Int[Tensor, "batch hops"]
    rivals: Int[Tensor, "batch rivals hops"]
    rival_keys: Int[Tensor, "batch rivals hops"]
    asked: Int[Tensor, "batch"]


class PromptDraw(NamedTuple):
    """The names in every column, and the rank of every sentence in the text."""

    columns: Int[Tensor, "batch column"]
    ranks: Float[Tensor, "batch sentence"]


class Template(NamedTuple):
    """Sentences as rows of token numbers, or -(column + 1), padded; and how many tokens all of them have."""

    rows: Int[Tensor, "sentence word"]
    question: Int[Tensor, "word"]
    length: int


def relations(batch: PromptBatch, last: int, order: str) -> tuple[Relation, ...]:
    """Relations of a batch of prompts whose last token is at `last`, with sentences in this `order`."""
    src, hops = batch.src, batch.src.shape[1]
    query = torch.full_like(batch.asked, last)[:, None]
    found = [Relation(f"query -> link_{k + 1}", query, src[:, k : k + 1]) for k in range(hops)]
    for k in range(hops - 1):
        here, there = src[:, k : k + 1], src[:, k + 1 : k + 2]
        if order != "query_first":
            found.append(Relation(f"link_{k + 1} -> link_{k + 2}", here, there))
        if order != "value_first":
            found.append(Relation(f"link_{k + 2} -> link_{k + 1}", there, here))
    rivals = batch.rivals
    if hops > 1 and order != "query_first":
        found.append(Relation("rival link -> next", rivals[..., :-1].flatten(1), rivals[..., 1:].flatten(1)))
    every, keys = (
        torch.cat([a[:, None], b], 1).flatten(1) for a, b in ((src, rivals), (batch.keys, batch.rival_keys))
    )
    found.append(Relation("value -> key", every, keys))
    if int(batch.asked[0]) != int(query[0, 0]):
        found.append(Relation("query -> name", query, batch.asked[:, None]))
    return tuple(found)
