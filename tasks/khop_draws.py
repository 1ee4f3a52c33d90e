"""Letters of k-hop prompts, where each hop leads, and the corrupt versions of a prompt.

Letters are 0..n-1 and no two neighbours are alike. `find(i)` is the place after the last earlier occurrence of the
letter at i; where the letter is new there is none (-1).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def draw_letters(gen: torch.Generator, batch: int, count: int, letters: int) -> Int[Tensor, "batch place"]:
    """Uniform among all words without equal neighbours."""
    first = torch.randint(letters, (batch, 1), generator=gen)
    steps = torch.randint(1, letters, (batch, count - 1), generator=gen)
    return torch.cat([first, steps], dim=1).cumsum(1) % letters


def find_all(word: Int[Tensor, "batch place"], letters: int, hops: int) -> Int[Tensor, "batch hop place"]:
    """find^k of every place for k = 0..hops; -1 where it does not exist."""
    batch, count = word.shape
    last = torch.full((batch, letters), -2, device=word.device)
    found = torch.empty_like(word)
    for t in range(count):
        here = word[:, t : t + 1]
        found[:, t] = last.gather(1, here)[:, 0] + 1
        last.scatter_(1, here, t)
    one = found
    every = [torch.arange(count, device=word.device).expand(batch, -1)]
    for _ in range(hops):
        before = every[-1]
        every.append(one.gather(1, before.clamp(min=0)).masked_fill(before < 0, -1))
    return torch.stack(every, dim=1)


def half_replaced(
    gen: torch.Generator, word: Int[Tensor, "batch place"], letters: int
) -> Int[Tensor, "batch place"]:
    """The first half drawn again, such that its last letter is not the one that follows it."""
    batch, count = word.shape
    middle = count // 2
    fresh = draw_letters(gen, batch, middle, letters)
    clash = fresh[:, -1:] == word[:, middle : middle + 1]
    turn = torch.randint(
        1, letters, (batch, 1), generator=gen
    )  # every letter turned alike keeps neighbours unlike
    return torch.cat([(fresh + turn * clash) % letters, word[:, middle:]], dim=1)


def binding_replaced(
    gen: torch.Generator,
    word: Int[Tensor, "batch place"],
    finds: Int[Tensor, "batch hop place"],
    asked: Int[Tensor, "batch"],
    letters: int,
) -> Int[Tensor, "batch place"]:
    """One letter on the last place's way to its answer, the end of a random hop up to the asked one, made another
    letter than it, the one before and the one behind. Prompts whose way has no hop stay as they are."""
    batch = len(word)
    way = finds[:, 1:, -1]
    hop = torch.arange(1, way.shape[1] + 1, device=word.device)
    open_ = (way >= 0) & (hop <= asked[:, None])
    lottery = torch.rand(way.shape, generator=gen) * open_
    at = way.gather(1, lottery.argmax(1, keepdim=True)).clamp(min=0)
    free = _free(word, at, letters)
    new = (torch.rand(batch, letters, generator=gen) * free).argmax(1, keepdim=True)
    return torch.where(open_.any(1, keepdim=True), word.scatter(1, at, new), word)


def _free(
    word: Int[Tensor, "batch place"], at: Int[Tensor, "batch 1"], letters: int
) -> Bool[Tensor, "batch letter"]:
    """Letters that may stand at a place: neither its own nor a neighbour's."""
    free = torch.ones(len(word), letters, dtype=torch.bool, device=word.device)
    for near in (at - 1, at, at + 1):
        free.scatter_(1, word.gather(1, near.clamp(0, word.shape[1] - 1)), False)
    return free
