"""Token labels of retrieval prompts, and the relations that head scores use (which position attends where)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from tasks.base import Relation

MARGIN = 100.0  # logit of the right symbol in `exact`: its cross entropy is 0 in float32


def hop_loss(
    read: Float[Tensor, "batch output symbol"], targets: Shaped[Tensor, "batch output *symbol"]
) -> Float[Tensor, "batch output"]:
    """Cross entropy in nats against entries of a vocabulary, or mean squared error per coordinate against vectors."""
    if targets.is_floating_point():
        return ((read - targets) ** 2).mean(-1)
    return F.cross_entropy(read.transpose(1, 2), targets, reduction="none")


def hop_score(
    read: Float[Tensor, "batch output symbol"],
    names: Int[Tensor, "batch output"],
    table: Shaped[Tensor, "batch symbols *width"],
) -> Float[Tensor, "batch output"]:
    """1 where the best guess is right: the largest logit, or the nearest row of the prompt's own table of vectors."""
    vectors = table.is_floating_point()
    guess = torch.cdist(read, table.to(read)).argmin(-1) if vectors else read.argmax(-1)
    return (guess == names).to(read)


def exact(
    targets: Shaped[Tensor, "batch output *symbol"], n_ctx: int, symbol_width: int
) -> Float[Tensor, "batch pos d_out"]:
    """Outputs that give the targets at the last position: their vectors, or a margin on the right logits."""
    right = targets if targets.is_floating_point() else MARGIN * F.one_hot(targets, symbol_width).float()
    out = right.new_zeros(len(right), n_ctx, right.shape[1] * symbol_width)
    out[:, -1] = right.flatten(1)
    return out


def guesses(symbols: int, ends: int, hops: int, last_alone: bool) -> str:
    """Why chance is what it is: `ends` symbols can be the answer of the last hop, `symbols` that of any before.

    >>> guesses(16, 4, 3, last_alone=True)
    'hop 3 ends at one of the 4 symbols that are never a key: a guess is right 1 time in 4'
    """
    inner = f"a guess among the prompt's {symbols} symbols is right 1 time in {symbols}"
    last = f"hop {hops} ends at one of the {ends} symbols that are never a key: a guess is right 1 time in {ends}"
    if ends == symbols:
        return inner
    return last if last_alone else f"{inner}; {last}"


def chain_relations(
    links: Int[Tensor, "batch chains hops"], query: int, flat_links: int
) -> tuple[Relation, ...]:
    """Relations among the query and the links (row 0: the queried chain); `flat_links` value tokens at 1, 3,
    5, ..."""
    src, rivals = links[:, 0], links[:, 1:]
    asker = torch.full_like(src[:, :1], query)
    hops = src.shape[1]
    found = [Relation(f"query -> link_{k + 1}", asker, src[:, k : k + 1]) for k in range(hops)]
    for k in range(hops - 1):
        here, there = src[:, k : k + 1], src[:, k + 1 : k + 2]
        found.append(Relation(f"link_{k + 1} -> link_{k + 2}", here, there))
        found.append(Relation(f"link_{k + 2} -> link_{k + 1}", there, here))
    if hops > 1 and rivals.shape[1]:
        before, after = rivals[..., :-1].flatten(1), rivals[..., 1:].flatten(1)
        found.append(Relation("rival link -> next", before, after))
        found.append(Relation("rival link -> previous", after, before))
    if flat_links:
        values = torch.arange(1, 2 * flat_links, 2, device=links.device).expand(len(links), -1)
        found.append(Relation("value -> key", values, values - 1))
    return tuple(found)


def token_labels(
    links: list[list[list[int]]], announced: list[int], queries: list[int], flat: bool
) -> list[list[str]]:
    """Labels of every token; `announced` holds the hop asked for (0-based) of each prompt, or nothing."""
    out = []
    for i, (row, query) in enumerate(zip(links, queries, strict=True)):
        tokens = [str(symbol) for link in row for symbol in link] if flat else [f"{k}>{v}" for k, v in row]
        hop = [f"hop {announced[i] + 1}"] if announced else []
        out.append(tokens + hop + [str(query) if flat else f"{query}>_"])
    return out
