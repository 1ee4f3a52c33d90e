"""What the study of layers against Newton's method would measure of layers that run Newton's method or descent.

Planted truth in the study's own setting (d, n, isotropic covariates, as many prompts): layers apply Newton's step k, or
gradient descent's step 2^(k/2), which by `c-one-fact` is the nearest, plus noise. Where the question is how layers
follow one another, gradient descent takes equally many steps in each: with twice as many it would double like Newton's
method, which is the same from alpha I. From these come the powers of the criteria that ask which of the two a net runs.
`python -m interp.studies.newton.measure_planted [--nets 40]` writes
`measured/power.json`: for each figure its values over simulated nets when the claim is true and when it is false.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import torch

from interp.calibration import planted_model as planted
from interp.io.files import write_atomically
from interp.studies.newton.runs import BUDGETS
from interp.studies.power import PLANTED
from probes import doubling, matching
from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import Algorithm, Problems
from probes.observations import Observations

STEPS = (3, 5, 7, 9)  # Newton's steps that the climbing layers apply
NOISE = (
    0.05  # of the iterate's prediction variance: SimE to the iterate itself is then about .95, as measured
)
GD_A_LAYER = 6
LADDER = tuple(range(1, 21)), tuple(sorted({round(2 ** (j / 2)) for j in range(21)}))


def layers_of(side: str) -> list[Algorithm]:
    """The algorithm of every climbing layer: Newton's ("true") or gradient descent's ("false")."""
    if side == "true":
        return [Algorithm("newton", k, "norm", {"alpha": 1.0}) for k in STEPS]
    return [Algorithm("gd", round(2 ** (k / 2)), "norm", {"eta": 1.0}) for k in STEPS]


def growth_of(side: str, seed: int) -> doubling.Growth:
    """How the filters of one simulated net's layers follow one another."""
    return _growth(side, torch.Generator().manual_seed(seed))


def _growth(side: str, gen: torch.Generator) -> doubling.Growth:
    sizes = BUDGETS["quick"]
    d = sizes.main.d
    drawn = planted.prompts([1.0] * d, d, sizes.filter_prompts, 2 * d + 2, 0.0, gen)
    problems = Problems.of(drawn.x, drawn.y, (d,))  # filters are read at as many examples as dimensions
    layers = layers_of(side)
    if side == "false":
        layers = [Algorithm("gd", GD_A_LAYER * (i + 1), "norm", {"eta": 1.0}) for i in range(len(STEPS))]
    seen: list[Observations] = []
    for layer in layers:
        outputs = planted.outputs(problems, layer, drawn.queries, NOISE, gen)
        seen.append(seen[0].answering(outputs) if seen else Observations.of(problems, drawn.queries, outputs))
    return doubling.growth(seen)


def figures(side: str, seed: int) -> dict[str, float]:
    """The figures of one simulated net."""
    sizes, gen = BUDGETS["quick"], torch.Generator().manual_seed(seed)
    found = _growth(side, gen)
    return {
        "filter-growth": float(found.answer == "doubling"),
        "growth-difference": found.adding.value - found.doubling.value,
        "table-order": _lead(side, sizes.main.d, sizes.main.n, 256 * sizes.chunks // 4, gen),
    }


def _lead(side: str, d: int, n: int, prompts: int, gen: torch.Generator) -> float:
    """Similarity of errors of the last layer to Newton's best step, less that to gradient descent's."""
    drawn = planted.prompts([1.0] * d, n, prompts, 1, 0.0, gen)
    problems, answers = Problems.of(drawn.x, drawn.y, range(n + 1)), drawn.y.double()
    clean = algorithms.predictions(problems, layers_of(side)[-1:])
    noise = torch.randn(clean.shape, generator=gen, dtype=torch.float64)
    output = clean + noise * (NOISE * clean.var()).sqrt()
    peaks = []
    for family, ladder, size in (("newton", LADDER[0], "alpha"), ("gd", LADDER[1], "eta")):
        steps = [Algorithm(family, k, "norm", {size: 1.0}) for k in ladder]
        scores = matching.similarity_of_errors(output, algorithms.predictions(problems, steps), answers)
        peaks.append(float(scores.values.mean(-1).max()))
    return peaks[0] - peaks[1]


def simulated(nets: int, seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """Figures of so many nets of either truth, by name of the figure."""
    sides = {side: [figures(side, seed + k) for k in range(nets)] for side in ("true", "false")}
    return {
        name: {side: [round(net[name], 6) for net in found] for side, found in sides.items()}
        for name in sides["true"][0]
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, and keep the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m interp.studies.newton.measure_planted", description=__doc__
    )
    parser.add_argument("--nets", type=int, default=40)
    nets = parser.parse_args(arguments).nets
    torch.set_num_threads(1)
    document = {"nets": nets, "figures": simulated(nets)}
    write_atomically(PLANTED, (json.dumps(document, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
