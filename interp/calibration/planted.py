"""The confusion table of the filter verdict: which truth is planted, and what is concluded.

Owns the settings and the counts, in two halves. Truths on the list: how often the set that is returned holds the truth,
and how often the truth alone is identified; beside them the `distance` of the nearest rival, the misfit of its best
member on 3,000 prompts without noise (a rival nearer than 2 tau need not be told from it). Truths off the list: how
often they are given the name of a listed family, identified or among those called indistinguishable; `distance` is then
that of the nearest family, and holds what of the truth is not linear in the query. Level as in a run of 7 sites and 32
checkpoints.

    python -m interp.calibration.planted [--replicates 100] [--prompts 512] [--half on]
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import torch

from interp.calibration import planted_model as planted
from interp.calibration.truths import World, listed, strangers
from probes import filters, verdict
from probes.algorithms.iterates import Algorithm, Problems
from probes.filters import FilterConfig
from probes.observations import Observations
from tasks.errors import UserError
from tasks.renamed import names_of

D, KAPPA, NOISE = 10, 100.0, 0.1
MANY = 3000
TESTS = 7 * 32
Half = Literal["on", "off"]
NAMED = ("identified", "indistinguishable")


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Prompts: dimensions, examples, condition number of x, noise as a share of the iterate's prediction variance."""

    d: int
    n: int
    kappa: float
    noise: float

    def __str__(self) -> str:
        return f"d {self.d}, n {self.n}, kappa {self.kappa:g}, noise {self.noise:g}"

    def world(self, seed: int, prompts: int, queries: int | None = None) -> World:
        """Prompts and probe queries (2d + 2 a prompt unless given)."""
        number = 2 * self.d + 2 if queries is None else queries
        problems, asked, state, memory = _drawn(self, seed, prompts, number)
        gen = torch.Generator()
        gen.set_state(state)
        return World(problems, asked, gen, memory)


@functools.lru_cache(maxsize=1)
def _drawn(
    distribution: Distribution, seed: int, prompts: int, queries: int
) -> tuple[Problems, torch.Tensor, torch.Tensor, dict[str, Observations]]:
    """Prompts and queries, the generator's state after them, and room for what all truths on them share."""
    gen = torch.Generator().manual_seed(seed)
    drawn = planted.prompts(
        spectrum(distribution.d, distribution.kappa), distribution.n, prompts, queries, 0.0, gen
    )
    return Problems.of(drawn.x, drawn.y, (distribution.n,)), drawn.queries, gen.get_state(), {}


DISTRIBUTIONS = (
    Distribution(5, 5, 1.0, 0.02),
    Distribution(5, 5, 1.0, 0.1),
    Distribution(D, 2 * D, KAPPA, NOISE),
)


@dataclasses.dataclass(frozen=True)
class Setting:
    """Replicates a truth, prompts a replicate, comparisons that are corrected for."""

    replicates: int = 100
    prompts: int = 512
    tests: int = TESTS

    def __post_init__(self) -> None:
        if min(self.replicates, self.tests) < 1 or self.prompts < 2:
            raise UserError(f"{self}: replicates and tests must be 1 or more, prompts 2 or more")


@dataclasses.dataclass(frozen=True)
class Truth:
    """A truth by name: the family it is in ("" if none), and its answers to the queries of a world."""

    name: str
    family: str
    make: Callable[[World], torch.Tensor]


def spectrum(d: int = D, kappa: float = KAPPA) -> list[float]:
    """Covariance eigenvalues, even on a log scale, that sum to d."""
    values = np.geomspace(1, 1 / kappa, d)
    return (d * values / values.sum()).tolist()


def truths(distribution: Distribution, half: Half) -> list[Truth]:
    """The truths of one half."""
    if half == "off":
        return [Truth(found.name, "", found.make) for found in strangers()]
    members = listed(distribution.world(0, MANY).top, distribution.d)
    return [Truth(name, family, _running(own)) for name, (family, own) in members.items()]


def _running(algorithm: Algorithm) -> Callable[[World], torch.Tensor]:
    return lambda world: world.answers(world.run(algorithm))


def noisy(world: World, clean: torch.Tensor, share: float) -> torch.Tensor:
    """Answers with noise of a share of their variance."""
    noise = torch.randn(clean.shape, generator=world.gen, dtype=torch.float64)
    return clean + noise * (share * clean.var()).sqrt()


def observed(world: World, outputs: torch.Tensor) -> Observations:
    """Outputs at the queries of a world; what worlds of the same draw share is computed once."""
    if "seen" not in world.memory:
        world.memory["seen"] = Observations.of(world.problems, world.queries, outputs)
        return world.memory["seen"]
    return world.memory["seen"].answering(outputs)


def conclude(world: World, outputs: torch.Tensor, tests: int) -> verdict.Verdict:
    """The verdict on outputs at the queries of a world."""
    seen = observed(world, outputs)
    return verdict.decide(filters.judge(seen, FilterConfig(tests=tests)))


def distance(distribution: Distribution, truth: Truth) -> tuple[float, str]:
    """Misfit of the best member of any other family without noise, what is not linear in the query included."""
    world = distribution.world(99, MANY)
    seen = observed(world, truth.make(world))
    evidence = filters.judge(seen, FilterConfig(folds=1))
    nearest = next(family for family in evidence.order if family != truth.family)
    return float(evidence.of(nearest).left.sum() / seen.size.sum()), nearest


def rows(setting: Setting, half: Half) -> Iterator[dict[str, object]]:
    """One row a law and truth."""
    for distribution in DISTRIBUTIONS:
        for truth in truths(distribution, half):
            yield row(distribution, truth, setting)


def replicate(distribution: Distribution, truth: Truth, k: int, setting: Setting) -> verdict.Verdict:
    """What is concluded of a truth at the kth draw of prompts and noise."""
    world = distribution.world(1000 + k, setting.prompts)
    return conclude(world, noisy(world, truth.make(world), distribution.noise), setting.tests)


def row(distribution: Distribution, truth: Truth, setting: Setting) -> dict[str, object]:
    """How often each verdict was the answer to a truth, and how often it was right."""
    away, nearest = distance(distribution, truth)
    found = [replicate(distribution, truth, k, setting) for k in range(setting.replicates)]
    kinds = Counter(v.kind for v in found)
    named = [v.families if v.kind in NAMED else () for v in found]
    right = {
        "covered": sum(truth.family in families for families in named),
        "alone": sum(families == (truth.family,) for families in named),
    }
    wrong = {"identified": sum(bool(families) for families in named)}
    return {
        "distribution": str(distribution),
        "truth": truth.name,
        "distance": round(away, 4),
        "nearest": nearest,
        **(right if truth.family else wrong),
        "verdicts": ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()),
        "replicates": setting.replicates,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Confusion table of the filter verdict on planted truths.")
    for field in dataclasses.fields(Setting):
        parser.add_argument(f"--{field.name}", type=int, default=field.default)
    parser.add_argument("--half", choices=("on", "off", "both"), default="both")
    asked = vars(parser.parse_args())
    half = asked.pop("half")
    torch.set_num_threads(1)
    setting = Setting(**asked)
    print(setting)
    for each in ("on", "off"):
        if half in (each, "both"):
            for found in rows(setting, each):
                print(pd.DataFrame([found]).to_csv(index=False, header=False).strip())
                sys.stdout.flush()


if __name__ == "__main__":
    main()


if not TYPE_CHECKING:
    __getattr__ = names_of(__name__)  # of version 0.1
