"""Cases in which the filter verdict must be "indistinguishable": identical iterates, neighbouring steps, prompts whose
S has one eigenvalue.

Owns the cases and how often "indistinguishable" is the verdict on each; setting and noise are those of the confusion
table (`interp.calibration.planted`).

    python -m interp.calibration.ties [--replicates 100] [--prompts 2000] [--queries 20]
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import torch

from interp.calibration import planted_model as planted
from interp.calibration.planted import NOISE, PlantedSetting, asked, draw, truths, typical_top
from probes import filters
from probes.algorithms.iterates import Algorithm, Problems
from probes.families import Observations, candidates
from probes.filters import FilterConfig

MANY, FEW_D = 10_000, 5


@dataclasses.dataclass(frozen=True)
class Tie:
    """Two members at stated steps, sizes free, that the data of `truth` cannot distinguish."""

    first: tuple[str, int]
    second: tuple[str, int]
    truth: Algorithm

    def __str__(self) -> str:
        return "{} {} and {} {}".format(*self.first, *self.second) + f" on {self.truth.label}"


def ties(top: float) -> tuple[Tie, ...]:
    """Identical iterates (Newton from aI at k is gradient descent at 2^k) and neighbouring steps.

    A neighbour needs another size to agree: half the steps, twice the alpha. Where twice the alpha would diverge on
    some prompt, neighbours can be distinguished, so the planted step leaves room.
    """
    identity = Algorithm("newton-identity", 5, "fixed", {"alpha": 0.3 / top})
    newton = Algorithm("newton", 12, "fixed", {"alpha": 0.05 / top**2})
    gd = truths(top)["gd"]
    return (
        Tie(("newton-identity", 5), ("gd", 32), identity),
        Tie(("newton-identity", 4), ("gd", 16), gd),
        Tie(("gd", 16), ("gd", 17), gd),
        Tie(("newton", 11), ("newton", 12), newton),
    )


def tied(tie: Tie, seed: int, setting: PlantedSetting) -> bool:
    """Whether a replicate of a tie is called "indistinguishable"."""
    prompts, problems, gen = draw(seed, setting)
    seen = Observations.of(
        problems, prompts.queries, planted.outputs(problems, tie.truth, prompts.queries, NOISE, gen)
    )
    entries = {f"{name} {k}": candidates(seen, name, ladder=(k,)) for name, k in (tie.first, tie.second)}
    return filters.weigh(seen, entries, FilterConfig()).compare(*entries) == "indistinguishable"


def isotropic_truths(n: int = MANY) -> dict[str, Algorithm]:
    """Members half way at the one eigenvalue n that S has after so many isotropic examples."""
    return {
        "gd": Algorithm("gd", 8, "fixed", {"eta": 0.1 / n}),
        "newton": Algorithm("newton", 3, "fixed", {"alpha": 0.1 / n**2}),
        "ridge": Algorithm("ridge", 0, "fixed", {"mu": 1.0 * n}),
    }


def isotropic(name: str, seed: int, setting: PlantedSetting) -> str:
    """The verdict on a planted family where X'X is distributed as that of `MANY` standard normal examples.

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
    queries = torch.from_numpy(rng.normal(size=(setting.prompts, setting.queries, FEW_D)))
    problems, gen = Problems.of(x, y, (FEW_D,)), torch.Generator().manual_seed(seed)
    outputs = planted.outputs(problems, isotropic_truths()[name], queries, NOISE, gen)
    return filters.judge(Observations.of(problems, queries, outputs), FilterConfig()).verdict


def undecided(setting: PlantedSetting) -> pd.DataFrame:
    """One row per case without a distinguishable family: how often "indistinguishable" was the verdict."""
    seeds = range(setting.replicates)
    found = {
        str(tie): sum(tied(tie, 2000 + seed, setting) for seed in seeds) for tie in ties(typical_top(setting))
    }
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
    setting = asked("Cases in which the filter verdict must be indistinguishable.")
    print(setting)
    print(undecided(setting).to_string(index=False))


if __name__ == "__main__":
    main()
