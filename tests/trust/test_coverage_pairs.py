"""Simulated coverage of a mean over all pairs of seeds: overlaps of circuits that are random sets of edges.

Each of 30 edges is in a seed's circuit with probability 1/2 or 0.7, whichever the seed has. Of two such circuits an
edge in either is in both with probability pq / (p + q - pq), which is the expected overlap, whatever the union's
size.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from probes.seeds import over_pairs

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
COUNT = 1000 if FULL else 50
EDGES, SHARES = 30, (0.5, 0.7)
TRUTH = float(np.mean([p * q / (p + q - p * q) for p, q in itertools.product(SHARES, SHARES)]))


def overlaps(rng: np.random.Generator, seeds: int) -> np.ndarray:
    circuits = rng.random((seeds, EDGES)) < rng.choice(SHARES, size=(seeds, 1))
    both = (circuits[:, None] & circuits[None]).sum(-1)
    return both / (circuits[:, None] | circuits[None]).sum(-1)


def held(seeds: int, count: int) -> Iterator[bool]:
    rng = np.random.default_rng(29)
    for _ in range(count):
        found = over_pairs(overlaps(rng, seeds), 0, 1)
        yield found.low <= TRUTH <= found.high


WORLDS: dict[str, Callable[[int], Iterator[bool]]] = {
    "over pairs, overlap of the circuits of 5 seeds": partial(held, 5),
    "over pairs, overlap of the circuits of 8 seeds": partial(held, 8),
}


@pytest.mark.parametrize("name", WORLDS)
def test_an_interval_over_pairs_holds_the_truth_95_times_in_100(name, covered) -> None:
    covered(name, list(WORLDS[name](COUNT)))


def test_few_seeds_have_no_interval_over_pairs() -> None:
    values = np.array([[1, 0.2, 0.4], [0.2, 1, 0.6], [0.4, 0.6, 1]])
    found = over_pairs(values, 0, 1)
    assert found.is_range
    assert (found.low, found.value, found.high) == (0.2, pytest.approx(0.4), 0.6)
    assert np.isnan(over_pairs(values[:2, :2], 0, 1).low)
