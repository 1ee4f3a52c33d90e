"""Families of algorithms and their best members on a readout's outputs.

Owns: the ladders of steps and ranges of sizes of each family, and the search for its best members. Sizes are searched
in units of the typical scale of S. A family that has another for a limit stops short of it, or nothing could ever be
told from it: "gd++" keeps γ|S| in [0.5, 1] (trained nets sit there, 2306.00297: |ab| times the top of S/n is .5 to .7;
as γ goes to 0 it is gradient descent) and "momentum" keeps β at .3 or more. What remains a limit of another
(`LIMITS`) fits wherever that one does. The scan (`probes.scan`) only proposes members; how well they fit is computed
exactly.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from probes.algorithms.iterates import FAMILIES, PATHS, Algorithm, coefficients
from probes.algorithms.problems import STEPS, Step
from probes.observations import Observations
from probes.scan import Scan
from tasks.errors import UserError

ZOOMS = 3
GD_STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 24, 32, 48, 64, 128, 256, 1024, 4096)
FEW_STEPS = (2, 3, 4, 5, 6, 8, 12, 16)
Sizes = dict[str, tuple[float, float]]
LADDERS: dict[str, tuple[tuple[int, ...], Sizes]] = {
    "gd": (GD_STEPS, {"eta": (1e-3, 1.98)}),
    "newton": (tuple(range(1, 25)), {"alpha": (1e-4, 1.98)}),
    "newton-identity": (tuple(range(13)), {"alpha": (1e-3, 1.98)}),
    "gd++": (tuple(range(2, 9)), {"eta": (0.05, 8.0), "gamma": (0.5, 1.0)}),
    "momentum": (FEW_STEPS, {"eta": (0.02, 3.5), "beta": (0.3, 0.95)}),
    "chebyshev": (FEW_STEPS[:-1], {"high": (0.6, 3.0), "low": (1e-3, 0.35)}),
    "flow": ((0,), {"time": (1e-2, 1e5)}),
    "svd": ((0,), {"cut": (1e-4, 2.0)}),
    "ridge": ((0,), {"mu": (1e-5, 1e2)}),
    "ols": ((0,), {}),
}
RICHARDSON = "richardson"  # gradient descent at a share of each prompt's own best step
RUN: dict[str, str] = {"cg": "cg", "svd": "svd-rank"}  # members that are run, a step a dimension, by family
KNOWN = frozenset((*LADDERS, *RUN, RICHARDSON, "ogd"))
CUTS = 48
AROUND = 0.4  # of the logarithm of a size, either way, when it is tuned again
FINE = 72  # a Chebyshev polynomial is steep at the upper end of its interval
SCALE_POWER = {"eta": -1, "gamma": -1, "time": -1, "beta": 0}  # of the typical eigenvalue; 1 for the others
# a family, and those that come as near to it as one likes: where it fits, so do they
LIMITS: dict[str, tuple[str, ...]] = {
    "flow": ("gd",),
    "ols": ("gd", "newton", "ridge", "svd", "cg", "momentum", "chebyshev", "flow"),
}


@dataclasses.dataclass(frozen=True)
class Member:
    """One member of a family, with the coefficients V'w it predicts."""

    algorithm: Algorithm
    coefficients: Float[Tensor, "prompt d"]


def _units(scan: Scan, family: str) -> dict[str, float]:
    """What each size of a family is measured in: a power of the typical largest eigenvalue."""
    power = SCALE_POWER | {"alpha": -2 if family == "newton" else -1}
    return {name: scan.typical ** power.get(name, 1) for name in LADDERS[family][1]}


def _lattice(counts: Sequence[int]) -> Float[Tensor, "choice size"]:
    """A grid over the unit cube."""
    axes = [torch.linspace(0, 1, count, dtype=torch.float64) for count in counts]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], -1)


def _best_sizes(
    scan: Scan, family: str, ladder: Sequence[int], start: Float[Tensor, "step size"] | None = None
) -> tuple[Float[Tensor, "step"], dict[str, Float[Tensor, "step"]]]:
    """Residual and sizes of the best member at each number of steps: a log grid over all sizes (or, with a `start` of
    their logarithms, around that), then zooms around its best point.
    """
    bounds = LADDERS[family][1]
    if not bounds:
        return scan.left_over(scan.frame.curves(family, ladder, {}))[:, 0], {}
    spans = torch.tensor(list(bounds.values()), dtype=torch.float64).log()
    low, high = (end.expand(len(ladder), -1) for end in spans.unbind(1))
    counts = [64] if len(bounds) == 1 else [FINE if family == "chebyshev" else 40, 8]
    if start is not None:
        low, high = torch.maximum(low, start - AROUND), torch.minimum(high, start + AROUND)
        counts = [9] * len(bounds)
    units = _units(scan, family)
    best = torch.full((len(ladder),), torch.inf, dtype=torch.float64)
    where, rows = low, torch.arange(len(ladder))
    for turn in range(ZOOMS + 1):
        points = low[:, None] + _lattice(counts) * (high - low)[:, None]
        kept = scan.frame.first if turn == 0 and start is None else {}
        key = (family, tuple(ladder))
        if key not in kept:
            sizes = zip(units, points.exp().unbind(-1), strict=True)
            kept[key] = scan.frame.curves(family, ladder, {name: v * units[name] for name, v in sizes})
        left = scan.left_over(kept[key])
        i = left.argmin(1)
        better = left[rows, i] < best
        best = torch.where(better, left[rows, i], best)
        where = torch.where(better[:, None], points[rows, i], where)
        reach = 1.5 * (high - low) / (torch.tensor(counts) - 1)
        low, high = torch.maximum(spans[:, 0], where - reach), torch.minimum(spans[:, 1], where + reach)
        counts = [9] * len(bounds)
    found = zip(units, where.exp().unbind(-1), strict=True)
    return best, {name: value * units[name] for name, value in found}


def candidates(
    seen: Observations,
    family: str,
    steps: Sequence[Step] = STEPS,
    ladder: Sequence[int] | None = None,
    keep: int = 3,
    scans: dict[Step, Scan] | None = None,
) -> list[Member]:
    """The `keep` best members of a family for each kind of step, sizes tuned for each number of steps.

    `ladder` restricts the numbers of steps; `scans` of these observations serve every family that shares them.
    Raises UserError for a family without a ladder of its own.
    """
    if family not in KNOWN:
        raise UserError(f"no filter family {family!r}: known are {sorted(KNOWN)}")
    if family == RICHARDSON:
        return candidates(seen, "gd", ("middle",), ladder, keep, scans)
    found = _run(seen, family, ladder)
    if family not in LADDERS:
        return found
    scans = {} if scans is None else scans
    for step in steps if LADDERS[family][1] else steps[:1]:
        scan = scans[step] = scans.get(step) or Scan(seen, step)
        for algorithm in _tuned(scan, family, ladder or LADDERS[family][0], keep):
            f = FAMILIES[family].filter(scan.u, algorithm.k, **algorithm.sizes)
            found.append(Member(dataclasses.replace(algorithm, step=step), f * seen.base))
        if family == "svd":
            found[-1:] = _cuts(seen, scan, found[-1].algorithm)
    return found


def retuned(seen: Observations, members: Sequence[Member], scans: dict[Step, Scan]) -> list[Member]:
    """Members with the same kinds and numbers of steps, their sizes tuned to these observations from where they are.

    Members without sizes to tune are taken as they are, so they must be those of these observations. A cut of the
    spectrum is kept like a number of steps: the prompts between two cuts are too few to tune it on.
    """
    tuned = [m.algorithm for m in members if LADDERS.get(m.algorithm.family, ((), {}))[1]]
    tuned = [a for a in tuned if a.family != "svd"]
    found = [m for m in members if m.algorithm not in tuned]
    kinds: list[Step] = list(dict.fromkeys(a.step for a in tuned))
    for step in kinds:
        own = [a for a in tuned if a.step == step]
        scan = scans[step] = scans.get(step) or Scan(seen, step)
        units = _units(scan, own[0].family)
        start = torch.tensor([[a.sizes[name] / unit for name, unit in units.items()] for a in own]).double()
        _, sizes = _best_sizes(scan, own[0].family, [a.k for a in own], start.log())
        for i, a in enumerate(own):
            again = dataclasses.replace(a, sizes={name: float(value[i]) for name, value in sizes.items()})
            f = FAMILIES[a.family].filter(scan.u, a.k, **again.sizes)
            found.append(Member(again, f * seen.base))
    return found


def _tuned(scan: Scan, family: str, ladder: Sequence[int], keep: int) -> list[Algorithm]:
    left, sizes = _best_sizes(scan, family, ladder)
    best = left.argsort(stable=True)[:keep].tolist()
    return [
        Algorithm(family, ladder[i], "fixed", {name: float(value[i]) for name, value in sizes.items()})
        for i in best
    ]


def _cuts(seen: Observations, scan: Scan, near: Algorithm) -> list[Member]:
    """Truncated SVD cut half way between neighbouring eigenvalues, near a cut that the scan found: between two of its
    nodes the scan sees no jump.
    """
    live = scan.u[scan.u > 0].log().unique()
    middles = (live[1:] + live[:-1]) / 2
    reach, centre = 1.5 * float((scan.nodes[1] / scan.nodes[0]).log()), math.log(near.sizes["cut"])
    inside = middles[(middles - centre).abs() <= reach]
    if len(inside) == 0:
        return [Member(near, FAMILIES["svd"].filter(scan.u, 0, **near.sizes) * seen.base)]
    every = torch.linspace(0, len(inside) - 1, min(CUTS, len(inside))).round().long()
    best = _best_cut(seen, scan, inside[every])
    around = (inside - best).abs().argsort()[:CUTS]
    best = _best_cut(seen, scan, inside[around].sort().values)
    own = dataclasses.replace(near, sizes={"cut": math.exp(best)})
    return [Member(own, FAMILIES["svd"].filter(scan.u, 0, **own.sizes) * seen.base)]


def _best_cut(seen: Observations, scan: Scan, logs: Float[Tensor, "cut"]) -> float:
    """The best of some cuts, computed exactly; the middle one of equals."""
    kept = (scan.u.log()[None] > logs[:, None, None]) * seen.base
    times, squared = (terms.sum(0) for terms in seen.terms(kept))
    explained = times.clamp_min(0).square() / squared.clamp_min(1e-300)
    top = (explained >= explained.max() * (1 - 1e-12)).nonzero()[:, 0]
    return float(logs[top[len(top) // 2]])


def _run(seen: Observations, family: str, ladder: Sequence[int] | None) -> list[Member]:
    """Members that are run; without a ladder they are kept with the prompts."""
    if ladder is not None:
        return _members(seen, family, ladder)
    if family not in seen.frames:
        seen.frames[family] = _members(seen, family, ladder)
    return list(seen.frames[family])


def _members(seen: Observations, family: str, ladder: Sequence[int] | None) -> list[Member]:
    if family == "ogd":
        own = Algorithm("ogd")
        return [Member(own, coefficients(seen.problems, [own])[0, :, 0])]
    if family not in RUN:
        return []
    path = PATHS[RUN[family]](seen.problems, max(ladder or (seen.eigenvalues.shape[-1],)))[:, :, 0]
    return [Member(Algorithm(RUN[family], k), path[k]) for k in (ladder or range(1, len(path)))]
