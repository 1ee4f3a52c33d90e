"""Planted stacks of layers for the test of doubling: Newton's method, gradient descent, and what moves otherwise.

Owns the stacks, their right answers, and the count of answers.

    python -m interp.calibration.stacks [--replicates 100] [--prompts 512]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter

import pandas as pd
import torch

from interp.calibration.planted import DISTRIBUTIONS, Distribution, noisy, observed
from probes import doubling
from probes.algorithms.iterates import Algorithm
from probes.doubling import Answer
from probes.observations import Observations


@dataclasses.dataclass(frozen=True)
class Stack:
    """Iterates of consecutive layers and the answer that is due."""

    answer: Answer
    layers: tuple[Algorithm, ...]

    def observed(self, distribution: Distribution, seed: int, prompts: int = 512) -> list[Observations]:
        """Every layer at the same probe queries, each with noise of its own."""
        world = distribution.world(seed, prompts)
        outputs = [noisy(world, world.answers(world.run(a)), distribution.noise) for a in self.layers]
        return [observed(world, out) for out in outputs]


def stacks(top: float) -> dict[str, Stack]:
    """Stacks by name; `top` is the typical largest eigenvalue of S, the unit of their sizes."""

    def newton(*ks: int) -> Stack:
        return Stack("doubling", tuple(Algorithm("newton", k, "fixed", {"alpha": 0.2 / top**2}) for k in ks))

    def gd(*ks: int, eta: float = 0.6) -> Stack:
        return Stack("adding", tuple(Algorithm("gd", k, "fixed", {"eta": eta / top}) for k in ks))

    def neither(family: str, ks: range, **sizes: float | int) -> Stack:
        return Stack("neither", tuple(Algorithm(family, k, "norm", sizes) for k in ks))

    def ridge(*strengths: float | int) -> Stack:
        return Stack("neither", tuple(Algorithm("ridge", 0, "fixed", {"mu": s * top}) for s in strengths))

    over_norm = tuple(Algorithm("newton", k, "norm", {"alpha": 1.0}) for k in range(1, 7))
    return {
        "Newton": newton(*range(1, 8)),
        "Newton from step 3": newton(*range(3, 9)),
        "Newton, two steps a layer": newton(1, 3, 5, 7, 9),
        "Newton, skipped layers": newton(1, 2, 2, 3, 4, 4, 5, 6),
        "Newton over |S|": Stack("doubling", over_norm),
        "gradient descent": gd(*range(1, 8)),
        "gradient descent, fast": gd(*range(1, 7), eta=0.8),
        "gradient descent, two steps a layer": gd(2, 4, 6, 8, 10),
        "gradient descent, skipped layers": gd(1, 2, 2, 3, 4, 4, 5, 6),
        "gradient descent, eight steps a layer": gd(8, 16, 24, 32, 40),
        "GD++": neither("gd++", range(1, 7), eta=1.5, gamma=0.7),
        "GD++, slow": neither("gd++", range(1, 7), eta=0.8, gamma=0.5),
        "conjugate gradient": Stack("neither", tuple(Algorithm("cg", k) for k in range(1, 6))),
        "ridge path by halves": ridge(1, 0.5, 0.25, 0.125, 0.06, 0.03),
        "ridge path by quarters": ridge(1, 0.25, 0.06, 0.015, 0.004),
    }


def answers(distribution: Distribution, stack: Stack, replicates: int, prompts: int = 512) -> Counter[str]:
    """How often each answer is given."""
    return Counter(
        doubling.growth(stack.observed(distribution, 500 + seed, prompts)).answer
        for seed in range(replicates)
    )


def power(replicates: int, prompts: int) -> pd.DataFrame:
    """One row a law and stack."""
    rows = []
    for distribution in DISTRIBUTIONS:
        for name, stack in stacks(distribution.world(0, 2000).top).items():
            found = answers(distribution, stack, replicates, prompts)
            shown = {answer: found[answer] for answer in ("doubling", "adding", "neither")}
            rows.append({"distribution": str(distribution), "stack": name, "due": stack.answer, **shown})
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Power of the test of doubling on planted stacks.")
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=512)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(power(asked.replicates, asked.prompts).to_string(index=False))


if __name__ == "__main__":
    main()
