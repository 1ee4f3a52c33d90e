"""How many attention layers a retrieval chain needs: information closure, simulated exactly.

Assumption (arXiv 2411.12118, Assumption 1): position i can read position j only if what the two know shares
an atom, a symbol or (flat layout) the fact that a key and a value are neighbours. A layer lets every position
read every visible position it shares an atom with, all at once. Rival chains share nothing with the queried
one and are left out. The result is a lower bound on depth: what an idealised network could know, not what a
trained one learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tasks.errors import UserError

Layout = Literal["pair", "flat"]


def bound(hops: int) -> int:
    """ceil(log_3(2·hops)): layers below which no unmasked network can know the answer (2411.12118, Theorem
    1)."""
    _check_hops(hops)
    layers = 0
    while 3**layers < 2 * hops:
        layers += 1
    return layers


def doubling_bound(hops: int) -> int:
    """floor(log_2(hops)) + 2: layers that suffice for k-hop induction under a causal mask, where reach doubles with
    every layer behind the first (Sanford et al. 2402.09268; that fewer do not rests on a conjecture). 1 for no
    hop: the answer is the token itself.
    """
    if hops < 0:
        raise UserError(f"hops must not be negative, got {hops}")
    return hops.bit_length() + 1


def layers_needed(
    hops: int,
    layout: Layout = "pair",
    causal: bool = False,
    order: Sequence[int] | None = None,
    heads: int | None = None,
) -> int:
    """Layers after which the query first knows the last symbol of its chain; arguments as in
    `earliest_layers`."""
    return earliest_layers(hops, layout, causal, order, heads)[-1]


def earliest_layers(
    hops: int,
    layout: Layout = "pair",
    causal: bool = False,
    order: Sequence[int] | None = None,
    heads: int | None = None,
) -> tuple[int, ...]:
    """For each symbol s_0..s_D, the number of layers after which the query first knows it (s_0: 0).

    `order` lists the links 1..hops from first to last position (default: link 1 first); the query comes last.
    `heads` limits how many positions each position reads per layer; it then takes the one with most to add,
    again and again, ties going to the earlier position. That choice is greedy: with one head the count can
    depend on the order. Raises UserError for an order that is not a permutation of the links, or fewer than
    one hop or head.
    """
    _check_hops(hops)
    links = list(range(1, hops + 1)) if order is None else [int(link) for link in order]
    if sorted(links) != list(range(1, hops + 1)):
        raise UserError(f"order must list each of the links 1..{hops} once")
    if heads is not None and heads < 1:
        raise UserError(f"heads must be at least 1, not {heads}")
    known = _tokens(links, layout)
    first: dict[int, int] = {}
    layer = 0
    while True:
        first |= {s: layer for s in range(hops + 1) if s not in first and known[-1] >> s & 1}
        if hops in first:
            return tuple(first[s] for s in range(hops + 1))
        known = [_read(i, known[: i + 1] if causal else known, heads) for i in range(len(known))]
        layer += 1


def _check_hops(hops: int) -> None:
    if hops < 1:
        raise UserError(f"hops must be at least 1, not {hops}")


def _tokens(links: list[int], layout: Layout) -> list[int]:
    """Atoms of each position as bits: symbol s is bit s; flat keys and values of link k share bit hops +
    k."""
    hops = len(links)
    if layout == "pair":
        return [(1 << (k - 1)) | (1 << k) for k in links] + [1]
    return [(1 << symbol) | (1 << (hops + k)) for k in links for symbol in (k - 1, k)] + [1]


def _read(i: int, visible: list[int], heads: int | None) -> int:
    """What position i knows after one layer."""
    own = visible[i]
    readable = [known for known in visible if known & own]
    gathered = own
    if heads is None:
        for known in readable:
            gathered |= known
        return gathered
    for _ in range(heads):
        gathered |= max(readable, key=lambda known: (known & ~gathered).bit_count())
    return gathered
