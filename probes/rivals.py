"""Ladders of rival iterates: every family at growing numbers of steps, its step size tuned and stated.

Owns: which steps a layer is compared with, and the tuning of each family's sizes to the labels of prompts the
comparison does not use. Sizes are normalised by |S| of each prompt (largest eigenvalue), so no iterate
diverges on a prompt that tuning did not see; and they are at most 1/|S| (1/|S|^2 for Newton): beyond, the top
direction overshoots, so that early steps predict worse than none and match nothing. One size serves all of a
family's steps: with a size a step, k would not count steps. A ridge path has no steps; its `k` counts along
the path, from strong to weak shrinkage. Least squares and one-pass online descent are a single rung.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems
from probes.families import LADDERS
from probes.filters import CORE
from tasks.errors import UserError

RIVALS = (*CORE, "bfgs", "lbfgs")
UP_TO_ONE = (0.125, 0.25, 0.5, 0.75, 1.0)
SIZES: dict[str, dict[str, tuple[float, ...]]] = {
    "gd": {"eta": UP_TO_ONE},
    "newton": {"alpha": UP_TO_ONE},
    "newton-identity": {"alpha": UP_TO_ONE},
    "gd++": {"eta": UP_TO_ONE, "gamma": (0.5, 0.7, 1.0)},
    "momentum": {"eta": UP_TO_ONE, "beta": (0.2, 0.4, 0.6, 0.8)},
    "chebyshev": {"low": (0.001, 0.003, 0.01, 0.03, 0.1), "high": (1.0,)},
}
RUN_STEPS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64)  # of families whose filter is a recurrence
SINGLE = ("ols", "ogd")
LADDERED = (*RIVALS, "newton-identity", "momentum", "chebyshev", *SINGLE)
RIDGE_NODES = 15
# conjugate gradient ends after d steps; the others go on while their model of S forms
PER_DIMENSION = {"cg": 1, "bfgs": 2, "lbfgs": 4}


@dataclasses.dataclass(frozen=True)
class Ladder:
    """One family's iterates by ascending `k`."""

    family: str
    k: tuple[int, ...]
    members: tuple[Algorithm, ...]

    @property
    def counts_steps(self) -> bool:
        """Whether k is a number of steps (not a place on a ridge path, nor a rung that stands alone)."""
        return self.family != "ridge" and len(self.k) > 1


def ladder(problems: Problems, labels: Float[Tensor, "prompt context"], family: str) -> Ladder:
    """A family's ladder, its sizes those of smallest error on `labels` at the middle step of the ladder.

    Raises UserError for a family without a ladder.
    """
    if family in PER_DIMENSION:
        steps = tuple(range(1, PER_DIMENSION[family] * problems.eigenvalues.shape[-1] + 1))
        return Ladder(family, steps, tuple(Algorithm(family, k) for k in steps))
    if family == "ridge":
        return _ridge_path()
    if family in SINGLE:
        return Ladder(family, (0,), (Algorithm(family),))
    if family not in SIZES:
        raise UserError(f"no ladder for family {family!r}: known are {sorted(LADDERED)}")
    steps = tuple(k for k in LADDERS[family][0] if k > 0) if family in LADDERS else RUN_STEPS
    names, values = list(SIZES[family]), itertools.product(*SIZES[family].values())
    middle = steps[len(steps) // 2]
    tried = [Algorithm(family, middle, "norm", dict(zip(names, chosen, strict=True))) for chosen in values]
    best = algorithms.tuned(problems, labels, tried)
    return Ladder(family, steps, tuple(dataclasses.replace(best, k=k) for k in steps))


def _ridge_path() -> Ladder:
    low, high = LADDERS["ridge"][1]["mu"]
    strengths = torch.logspace(math.log10(high), math.log10(low), RIDGE_NODES, dtype=torch.float64).tolist()
    members = tuple(Algorithm("ridge", k, "norm", {"mu": mu}) for k, mu in enumerate(strengths, 1))
    return Ladder("ridge", tuple(range(1, RIDGE_NODES + 1)), members)
