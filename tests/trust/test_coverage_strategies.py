"""Coverage of the weights of strategies: separable candidates, a noisy mixture of them, prompts as the unit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import torch

from probes.strategy_weights import strategy_weights

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
MIXTURE = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def three(seed: int, prompts: int = 256, cells: int = 6, noise: float = 0.5):
    """Three independent candidates, and a noisy mixture of them."""
    gen = torch.Generator().manual_seed(seed)
    g = torch.randn(3, prompts, cells, generator=gen, dtype=torch.float64)
    f = torch.einsum("j,jpc->pc", MIXTURE, g) + noise * torch.randn(prompts, cells, generator=gen)
    return f, dict(zip("abc", g, strict=True))


def weights(count: int) -> Iterator[bool]:
    """The interval of every weight, in turn."""
    for seed in range(count):
        found = list(strategy_weights(*three(seed), draws=300).weights.values())[seed % 3]
        yield found.low <= float(MIXTURE[seed % 3]) <= found.high


def unexplained(count: int) -> Iterator[bool]:
    """The share that the mixture leaves: noise variance over the whole, .25 / (.38 + .25)."""
    truth = 0.25 / (float(MIXTURE.square().sum()) + 0.25)
    for seed in range(count):
        found = strategy_weights(*three(seed), draws=300).unexplained
        yield found.low <= truth <= found.high


WORLDS: dict[str, Callable[[int], Iterator[bool]]] = {
    "strategies: weight in a mixture": weights,
    "strategies: share unexplained": unexplained,
}


@pytest.mark.parametrize("name", WORLDS)
def test_an_interval_of_a_mixture_holds_the_truth_95_times_in_100(name, covered) -> None:
    covered(name, list(WORLDS[name](1000 if FULL else 50)))
