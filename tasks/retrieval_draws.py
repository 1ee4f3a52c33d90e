"""The raw draws behind retrieval prompts: the order of links, their slots, and the two exchanges that make
corrupt prompts.

Symbols are names (vocabulary entries, or rows of a prompt's own table); a slot is a link's place among all
links.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from tasks.base import Batch


@dataclasses.dataclass(frozen=True)
class RetrievalDraws:
    """What determines a prompt: symbol names along every chain and stray link, their table, and each link's
    slot."""

    chains: Int[Tensor, "batch chains all_nodes"]
    slots: Int[Tensor, "batch chains links"]
    stray: Int[Tensor, "batch distractors 2"]
    stray_slots: Int[Tensor, "batch distractors"]
    table: Shaped[Tensor, "batch symbols *width"]
    asked: Int[Tensor, "batch"]

    def exchanged(self, hop: int) -> RetrievalDraws:
        """The first two chains trade everything after symbol s_{hop-1}: only the values of their links `hop`
        move."""
        chains, slots = self.chains.clone(), self.slots.clone()
        chains[:, :2, hop:] = self.chains[:, :2, hop:].flip(1)
        slots[:, :2, hop:] = self.slots[:, :2, hop:].flip(1)
        return dataclasses.replace(self, chains=chains, slots=slots)

    def turned(self) -> RetrievalDraws:
        """The first two chains change places: the other one is queried."""
        swap = [1, 0, *range(2, self.chains.shape[1])]
        return dataclasses.replace(self, chains=self.chains[:, swap], slots=self.slots[:, swap])


def ranked(
    z: Float[Tensor, "batch all_links"], chains: int, stray: int, order: str
) -> Int[Tensor, "batch all_links"]:
    """Slots as ranks of random numbers, sorted along each chain when its order is fixed; stray links come
    last in z."""
    if order != "random":
        chained, loose = z.split([z.shape[1] - stray, stray], dim=1)
        chained = chained.unflatten(1, (chains, chained.shape[1] // chains))
        chained = chained.sort(dim=2, descending=order == "value_first").values
        z = torch.cat([chained.flatten(1), loose], dim=1)
    return z.argsort(dim=1).argsort(dim=1)


def edges(
    chains: Int[Tensor, "batch chains all_nodes"], stray: Int[Tensor, "batch distractors 2"]
) -> Int[Tensor, "batch all_links 2"]:
    """(key, value) of every link, chain by chain, then the stray ones."""
    return torch.cat([torch.stack([chains[..., :-1], chains[..., 1:]], -1).flatten(1, 2), stray], dim=1)


def in_order(
    rows: Int[Tensor, "batch all_links slot"], slots: Int[Tensor, "batch all_links"]
) -> Int[Tensor, "batch all_links slot"]:
    """The same rows, each in its slot."""
    return torch.zeros_like(rows).scatter(1, slots[:, :, None].expand(rows.shape), rows)


@dataclasses.dataclass(frozen=True)
class RetrievalBatch(Batch):
    """Prompts with their chains.

    Symbols are named by vocabulary entry (discrete) or by row of `table` (gaussian). `chain` and `src` are
    those of the queried chain: its symbols s_0..s_D and the positions that hold the values s_1..s_D (the
    link's token, or its value token in the flat layout). `chains` and `links` are the same for every chain,
    the queried one first, with its dangling links. `table` lists the prompt's symbols; `asked` is the hop
    asked for (0-based; the last unless target is "mix").
    """

    src: Int[Tensor, "batch hops"]
    chain: Int[Tensor, "batch nodes"]
    links: Int[Tensor, "batch chains links"]
    chains: Int[Tensor, "batch chains all_nodes"]
    stray: Int[Tensor, "batch distractors"]
    table: Shaped[Tensor, "batch symbols *width"]
    asked: Int[Tensor, "batch"]


def embedded(
    names: Int[Tensor, "batch pos *slot"], draws: RetrievalDraws, announced: int
) -> Float[Tensor, "batch pos d_in"]:
    """Vectors in place of names (zeros for the blank), with `announced` one-hot coordinates for the announced hop."""
    padded = F.pad(draws.table, (0, 0, 0, 1))
    vectors = rows_of(padded, names.flatten(1)).reshape(*names.shape[:2], -1)
    if not announced:
        return vectors
    vectors = F.pad(vectors, (0, announced))
    vectors[:, -2, -announced:] = F.one_hot(draws.asked, announced).to(vectors)
    return vectors


def rows_of(table: Float[Tensor, "batch symbols width"], names: Int[Tensor, "batch some"]) -> Tensor:
    """Rows of each prompt's own table."""
    return table.gather(1, names[:, :, None].expand(-1, -1, table.shape[-1]))
