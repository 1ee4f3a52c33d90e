"""Random circuits to hold a found one against: as many edges of every kind, and how often they carry as much.

A circuit of edges drawn from all alike is too easy to beat, for half of its edges lie on no way from `embed` to
`output`. A matched one has, for every layer (or embedding) that writes and every layer and slot that reads, as many
edges as the found circuit, among other heads. Sign: p is the share of draws, the found circuit counted among them, that
carry at least as much; its least value is 1 / (draws + 1).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import torch

from interp.causal.graph import Edge, connected, site_of
from tasks.streams import generator

Kind = Callable[[Edge], tuple]
ALONE = "no other circuit has as many edges of each kind: there is no random control"
LEAST_OTHERS = 20  # circuits to draw from, below which there is no p value
MOST_COUNTED = 500  # circuits that are gone through one by one
MAX_DRAWN = 50  # tries for a circuit through which anything can flow


def kind_of(edge: Edge) -> tuple[str, int | None, str, int | None]:
    """What a matched edge has in common with one: what kind of sender in which layer, which slot in which layer.

    >>> kind_of(("L0H1", "L1H3.q"))
    ('z', 0, 'q', 1)
    """
    sender, receiver = site_of(edge[0]), site_of(edge[1])
    return sender.component, sender.layer, receiver.component, receiver.layer


def band_of(layers: int) -> Kind:
    """What a matched edge among a few nodes has in common with one: the kinds of sender and slot, and in which third of
    the layers each is. The layers themselves leave nothing to draw where a layer has one such node.
    """

    def kind(edge: Edge) -> tuple:
        sender, of, receiver, into = kind_of(edge)
        return sender, _third(of, layers), receiver, _third(into, layers)

    return kind


def _third(layer: int | None, layers: int) -> int | None:
    return None if layer is None else 3 * layer // layers


def matched_circuit(
    every: Collection[Edge], circuit: Collection[Edge], seed: int, draw: int, kind: Kind = kind_of
) -> frozenset[Edge]:
    """As many edges of every kind as in `circuit`, drawn at random from `every`; one through which something flows from
    `embed` to `output` if a few tries find one.
    """
    pools, wanted = _pools(every, kind), Counter(map(kind, circuit))
    source = generator(seed, "random circuit", draw)
    picked: frozenset[Edge] = frozenset()
    for _ in range(MAX_DRAWN):
        drawn = []
        for which, pool in pools.items():
            order = torch.randperm(len(pool), generator=source)[: wanted[which]]
            drawn += [pool[i] for i in order.tolist()]
        picked = frozenset(drawn)
        if connected(picked):
            break
    return picked


def other_circuits(every: Collection[Edge], circuit: Collection[Edge], kind: Kind = kind_of) -> int:
    """How many other circuits a matched one can be: as many edges of every kind, and something flows through it (which
    is not looked at where there are more than `MOST_COUNTED`).
    """
    pools, wanted = _pools(every, kind), Counter(map(kind, circuit))
    count = math.prod(math.comb(len(pool), wanted[which]) for which, pool in pools.items())
    if count > MOST_COUNTED:
        return count - 1
    choices = [itertools.combinations(pool, wanted[which]) for which, pool in pools.items()]
    found = (frozenset(itertools.chain(*parts)) for parts in itertools.product(*choices))
    return sum(bool(connected(one)) for one in found if one != frozenset(circuit))


def _pools(every: Collection[Edge], kind: Kind) -> dict[tuple, list[Edge]]:
    """Edges by their kind, in order."""
    pools: dict[tuple, list[Edge]] = {}
    for edge in sorted(every):
        pools.setdefault(kind(edge), []).append(edge)
    return pools


def empirical_p(value: float, drawn: Sequence[float]) -> float:
    """Share of draws, the found circuit counted among them, that carry at least as much as it does.

    >>> empirical_p(0.9, [0.1, 0.95, 0.3])
    0.5
    """
    return (1 + sum(other >= value for other in drawn)) / (1 + len(drawn))


def jaccard_of(a: Collection[Edge], b: Collection[Edge]) -> float:
    """Edges shared over edges of either; two empty circuits agree."""
    return len(set(a) & set(b)) / len(set(a) | set(b)) if a or b else 1.0


def chance_overlap(
    every: Collection[Edge], circuits: Sequence[Collection[Edge]], seed: int = 0, draws: int = 50
) -> float:
    """Mean overlap of every two circuits, were each one a matched random one of its own size and kinds."""
    found = []
    for draw in range(draws):
        some = [matched_circuit(every, c, seed, draw * len(circuits) + i) for i, c in enumerate(circuits)]
        found += [jaccard_of(a, b) for a, b in itertools.combinations(some, 2)]
    return sum(found) / len(found)
