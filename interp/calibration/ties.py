"""Where the filter verdict must tell nothing apart: identical iterates, neighbouring steps, limits of one another,
prompts whose S has one eigenvalue.

Owns the cases and how often "indistinguishable" is the answer to each; prompts are those of the hardest law of the
confusion table (`interp.calibration.planted`).

    python -m interp.calibration.ties [--replicates 100] [--prompts 512]
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
import pandas as pd
import torch

from interp.calibration.planted import DISTRIBUTIONS, Setting, conclude, noisy
from interp.calibration.truths import World
from probes import filters, verdict
from probes.algorithms.iterates import Algorithm, Problems
from probes.families import candidates
from probes.filters import FilterConfig
from probes.observations import Observations

MANY, FEW_D = 10_000, 5
DISTRIBUTION = DISTRIBUTIONS[-1]


@dataclasses.dataclass(frozen=True)
class Tie:
    """Two members at stated steps, sizes free, that the data of `truth` cannot distinguish."""

    first: tuple[str, int]
    second: tuple[str, int]
    truth: Algorithm

    def __str__(self) -> str:
        return "{} {} and {} {}".format(*self.first, *self.second) + f" on {self.truth.label}"


def ties(top: float) -> tuple[Tie, ...]:
    """Identical iterates (Newton from aI at k is gradient descent at 2^k), neighbouring steps, and limits of one
    another: gradient flow of many small steps, least squares of weak shrinkage.

    A neighbour needs another size to agree: half the steps, twice the alpha. Where twice the alpha would diverge on
    some prompt, neighbours can be distinguished, so the planted step leaves room.
    """
    identity = Algorithm("newton-identity", 5, "fixed", {"alpha": 0.3 / top})
    newton = Algorithm("newton", 12, "fixed", {"alpha": 0.05 / top**2})
    gd = Algorithm("gd", 16, "fixed", {"eta": 0.6 / top})
    flow = Algorithm("flow", 0, "fixed", {"time": 8 / top})
    return (
        Tie(("newton-identity", 5), ("gd", 32), identity),
        Tie(("newton-identity", 4), ("gd", 16), gd),
        Tie(("gd", 16), ("gd", 17), gd),
        Tie(("newton", 11), ("newton", 12), newton),
        Tie(("flow", 0), ("gd", 1024), flow),
        Tie(("ols", 0), ("ridge", 0), Algorithm("ols")),
    )


def tied(tie: Tie, seed: int, setting: Setting) -> bool:
    """Whether both members of a tie are in the set that a replicate returns."""
    world = DISTRIBUTION.world(seed, setting.prompts)
    outputs = noisy(world, world.answers(world.run(tie.truth)), DISTRIBUTION.noise)
    seen = Observations.of(world.problems, world.queries, outputs)
    entries = {f"{name} {k}": candidates(seen, name, ladder=(k,)) for name, k in (tie.first, tie.second)}
    found = verdict.decide(filters.weigh(seen, entries, FilterConfig(tests=setting.tests)))
    return found.kind == "indistinguishable" and set(found.families) == set(entries)


def isotropic_truths(n: int = MANY) -> dict[str, Algorithm]:
    """Members half way at the one eigenvalue n that S has after so many isotropic examples."""
    return {
        "gd": Algorithm("gd", 8, "fixed", {"eta": 0.1 / n}),
        "newton": Algorithm("newton", 3, "fixed", {"alpha": 0.1 / n**2}),
        "ridge": Algorithm("ridge", 0, "fixed", {"mu": 1.0 * n}),
    }


def isotropic(name: str, seed: int, setting: Setting) -> str:
    """The kind of verdict on a planted family where X'X is distributed as that of `MANY` standard normal examples.

    Prompts of d rows stand for them: Bartlett's factor of a Wishart matrix has the same X'X.
    """
    rng = np.random.default_rng(seed)
    factor = np.tril(rng.normal(size=(setting.prompts, FEW_D, FEW_D)), -1)
    factor[:, range(FEW_D), range(FEW_D)] = np.sqrt(
        rng.chisquare(MANY - np.arange(FEW_D), size=(setting.prompts, FEW_D))
    )
    rows = [factor.transpose(0, 2, 1), rng.normal(size=(setting.prompts, 1, FEW_D))]
    x = torch.from_numpy(np.concatenate(rows, 1))
    y = (x @ torch.from_numpy(rng.normal(size=(setting.prompts, FEW_D, 1))))[..., 0]
    queries = torch.from_numpy(rng.normal(size=(setting.prompts, 2 * FEW_D + 2, FEW_D)))
    world = World(Problems.of(x, y, (FEW_D,)), queries, torch.Generator().manual_seed(seed))
    clean = world.answers(world.run(isotropic_truths()[name]))
    return conclude(world, noisy(world, clean, DISTRIBUTION.noise), setting.tests).kind


def undecided(setting: Setting) -> pd.DataFrame:
    """One row per case without a distinguishable family: how often "indistinguishable" was the verdict."""
    seeds = range(setting.replicates)
    top = DISTRIBUTION.world(0, 2000).top
    found = {str(tie): sum(tied(tie, 2000 + seed, setting) for seed in seeds) for tie in ties(top)}
    for name in isotropic_truths():
        verdicts = [isotropic(name, 3000 + seed, setting) for seed in seeds]
        found[f"isotropic, n = {MANY}, d = {FEW_D}, {name} planted"] = verdicts.count("indistinguishable")
    return pd.DataFrame(
        [
            {"case": case, "indistinguishable": count, "replicates": setting.replicates}
            for case, count in found.items()
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Cases in which the filter verdict must be indistinguishable."
    )
    for field in dataclasses.fields(Setting):
        parser.add_argument(f"--{field.name}", type=int, default=field.default)
    torch.set_num_threads(1)
    setting = Setting(**vars(parser.parse_args()))
    print(setting)
    print(undecided(setting).to_string(index=False))


if __name__ == "__main__":
    main()
