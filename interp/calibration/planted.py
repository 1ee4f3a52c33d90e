"""The confusion table of the filter verdict: which algorithm is planted, and which is identified.

Owns the planted ground truths (one member a family, its filter between .2 and .8 at the median eigenvalue) and the
counts. The setting is hard on purpose: condition number 100, twice as many examples as dimensions, noise of a tenth of
the iterate's prediction variance. What the counts do not show: the verdict on a readout that applies no family's
filter.

    python -m interp.calibration.planted [--replicates 100] [--prompts 2000] [--queries 20]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from interp.calibration import planted_model as planted
from probes import filters
from probes.algorithms.iterates import Algorithm, Problems
from probes.families import Observations
from probes.filters import FilterConfig
from tasks.errors import UserError

D, KAPPA, NOISE = 10, 100.0, 0.1


@dataclasses.dataclass(frozen=True)
class PlantedSetting:
    """Replicates per planted family, prompts per replicate, probe queries per prompt."""

    replicates: int = 100
    prompts: int = 2000
    queries: int = 2 * D

    def __post_init__(self) -> None:
        if min(self.replicates, self.queries) < 1 or self.prompts < 2:
            raise UserError(f"{self}: replicates and queries must be 1 or more, prompts 2 or more")


def spectrum(d: int = D, kappa: float = KAPPA) -> list[float]:
    """Covariance eigenvalues, even on a log scale, that sum to d."""
    values = np.geomspace(1, 1 / kappa, d)
    return (d * values / values.sum()).tolist()


def truths(top: float) -> dict[str, Algorithm]:
    """The planted member of each family; `top` is the typical largest eigenvalue of S, the unit of its sizes."""
    return {
        "gd": Algorithm("gd", 16, "fixed", {"eta": 0.6 / top}),
        "newton": Algorithm("newton", 10, "fixed", {"alpha": 0.2 / top**2}),
        "ridge": Algorithm("ridge", 0, "fixed", {"mu": 0.04 * top}),
        "gd++": Algorithm("gd++", 4, "fixed", {"eta": 1.5 / top, "gamma": 0.7 / top}),
        "cg": Algorithm("cg", 3),
    }


def draw(seed: int, setting: PlantedSetting) -> tuple[planted.Prompts, Problems, torch.Generator]:
    gen = torch.Generator().manual_seed(seed)
    prompts = planted.prompts(spectrum(), 2 * D, setting.prompts, setting.queries, 0.0, gen)
    return prompts, Problems.of(prompts.x, prompts.y, (2 * D,)), gen


def confusion(setting: PlantedSetting) -> pd.DataFrame:
    """One row per planted family: how often each family was identified, and the rival with which it failed most often.

    A pair fails where the planted family is not identified over the rival (the rival is, or "indistinguishable").
    """
    found = truths(typical_top(setting))
    return pd.DataFrame([_row(name, found, setting) for name in found])


def _row(name: str, found: Mapping[str, Algorithm], setting: PlantedSetting) -> dict[str, object]:
    named, failed, config = Counter(), Counter({rival: 0 for rival in found if rival != name}), FilterConfig()
    for seed in range(setting.replicates):
        prompts, problems, gen = draw(1000 + seed, setting)
        outputs = planted.outputs(problems, found[name], prompts.queries, NOISE, gen)
        evidence = filters.judge(Observations.of(problems, prompts.queries, outputs), config)
        named[evidence.verdict] += 1
        failed.update(rival for rival in failed if evidence.compare(name, rival) != name)
    worst, times = failed.most_common(1)[0]
    columns = {verdict: named[verdict] for verdict in (*found, "indistinguishable")}
    return {"truth": name, **columns, "worst pair": f"{worst} {times}", "replicates": setting.replicates}


def typical_top(setting: PlantedSetting) -> float:
    """The typical largest eigenvalue of S."""
    return float(draw(0, setting)[1].eigenvalues[:, 0, -1].mean())


def asked(what: str) -> PlantedSetting:
    """The setting given at the command line; torch is set to one thread."""
    parser = argparse.ArgumentParser(description=what)
    for field in dataclasses.fields(PlantedSetting):
        parser.add_argument(f"--{field.name}", type=int, default=field.default)
    torch.set_num_threads(1)
    return PlantedSetting(**vars(parser.parse_args()))


def main() -> None:
    setting = asked("Confusion table of the filter verdict on planted ground truth.")
    print(setting)
    print(confusion(setting).to_string(index=False))


if __name__ == "__main__":
    main()
