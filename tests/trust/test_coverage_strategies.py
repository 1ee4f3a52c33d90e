"""Calibration of the weights of strategies on simulated mixtures, prompts as the unit: coverage of every interval, and
the error of weights where these prompts can tell the candidates apart. Candidates are independent ones, and dMMSE and
ridge of a small pool of tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import torch

from interp.readouts.strategies import linear
from probes.strategy_weights import strategy_weights
from tasks import InContextRegression

FULL = os.environ.get("ALGOSCOPE_FULL") == "1"
COUNT = 1000 if FULL else 50
DMMSE = 0.6
SEPARABLE = 0.05  # least eigenvalue of the candidates' differences, over their mean square
MIXTURE = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def three(seed: int, prompts: int = 256, cells: int = 6, noise: float = 0.5):
    """Three independent candidates, and a noisy mixture of them."""
    gen = torch.Generator().manual_seed(seed)
    g = torch.randn(3, prompts, cells, generator=gen, dtype=torch.float64)
    f = torch.einsum("j,jpc->pc", MIXTURE, g) + noise * torch.randn(prompts, cells, generator=gen)
    return f, dict(zip("abc", g, strict=True))


def pooled(seed: int):
    """dMMSE and ridge of a pool of 8 tasks, and a noisy mixture of them."""
    task = InContextRegression(d=4, n=7, noise=0.5, pool=8)
    known = task.strategies(task.sample(seed, "mixture", 0, 256))
    g = {name: linear(task, values) for name, values in known.items()}
    gen = torch.Generator().manual_seed(seed)
    f = DMMSE * g["dMMSE"] + (1 - DMMSE) * g["ridge"]
    return f + 0.3 * torch.randn(f.shape, generator=gen, dtype=f.dtype), g


def of_a_pool(count: int) -> Iterator[bool]:
    """The interval of dMMSE's weight."""
    for seed in range(count):
        found = strategy_weights(*pooled(seed), draws=300).weights["dMMSE"]
        yield found.low <= DMMSE <= found.high


def residuals(count: int) -> Iterator[bool]:
    """What the mixture leaves over the candidates' mean square: noise variance over 1."""
    for seed in range(count):
        found = strategy_weights(*three(seed), draws=300).residual
        yield found.low <= 0.25 <= found.high


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
    "strategies: residual": residuals,
    "strategies: weight of dMMSE beside ridge": of_a_pool,
}


@pytest.mark.parametrize("name", WORLDS)
def test_an_interval_of_a_mixture_holds_the_truth_95_times_in_100(name, covered) -> None:
    covered(name, list(WORLDS[name](COUNT)))


@pytest.mark.parametrize(
    ("name", "draw", "truth"),
    [("independent candidates", three, MIXTURE.tolist()), ("dMMSE and ridge", pooled, [1 - DMMSE, DMMSE])],
)
def test_weights_are_close_where_the_prompts_tell_the_candidates_apart(name, draw, truth, record_property):
    errors = []
    for seed in range(COUNT // 2):
        found = strategy_weights(*draw(seed), draws=2)
        assert found.separation > SEPARABLE
        errors += [abs(w.value - t) for w, t in zip(found.weights.values(), truth, strict=True)]
    mean = sum(errors) / len(errors)
    row = {"section": "strategies", "what": f"mean error of a weight: {name}", "tried": len(errors)}
    record_property(
        "trust", {**row, "result": f"{mean:.3f}", "remark": "candidates separable on the prompts"}
    )
    assert mean <= 0.03
