"""Families of spectral filters and their best members on a readout's outputs.

Owns: what a likelihood needs of the outputs at probe queries (`Observations`), the ladders of steps and
ranges of sizes of each family, and the search for its best members. Sizes are searched in units of the
typical scale of S. "gd++" keeps γ|S| in [0.5, 1]: trained nets sit there (2306.00297: |ab| times the top of
S/n is .5 to .7), and as γ goes to 0 it is gradient descent. The scan interpolates f and only proposes
members; their evidence is computed exactly.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from probes.algorithms.iterates import FAMILIES, Algorithm, conjugate_gradient
from probes.algorithms.problems import STEPS, Problems, Step
from tasks.errors import UserError

NODES = 160
ZOOMS = 5
GD_STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 24, 32, 48, 64, 128, 256, 1024, 4096)
LADDERS: dict[str, tuple[tuple[int, ...], dict[str, tuple[float, float]]]] = {
    "gd": (GD_STEPS, {"eta": (1e-3, 1.98)}),
    "newton": (tuple(range(1, 25)), {"alpha": (1e-4, 1.98)}),
    "newton-identity": (tuple(range(13)), {"alpha": (1e-3, 1.98)}),
    "gd++": (tuple(range(2, 9)), {"eta": (0.05, 8.0), "gamma": (0.5, 1.0)}),
    "ridge": ((0,), {"mu": (1e-5, 1e2)}),
    "ols": ((0,), {}),
}


@dataclasses.dataclass(frozen=True)
class Observations:
    """What the likelihood needs of each prompt, for one context length.

    `base` is V'w of least squares; with coefficients a, outputs o and queries q in the eigenbasis: `gram`
    q'q, `cross` q'o and `size` o'o.
    """

    problems: Problems
    eigenvalues: Float[Tensor, "prompt d"]
    base: Float[Tensor, "prompt d"]
    gram: Float[Tensor, "prompt d d"]
    cross: Float[Tensor, "prompt d"]
    size: Float[Tensor, "prompt"]
    noise: Float[Tensor, "prompt"]
    rows: int

    @classmethod
    def of(
        cls,
        problems: Problems,
        queries: Float[Tensor, "prompt query d"],
        outputs: Float[Tensor, "prompt query"],
    ) -> Observations:
        """Outputs of a readout at probe queries of the one context of `problems`.

        Raises UserError for more than one context, values that are not finite, or outputs that are all 0.
        """
        if len(problems.contexts) != 1:
            raise UserError(f"filters are read at one context length at a time, got {len(problems.contexts)}")
        outputs = outputs.double()
        if not bool(torch.isfinite(outputs).all() and torch.isfinite(queries).all()):
            raise UserError("outputs or queries hold NaN or infinity: no filter can be read from them")
        if not bool((outputs != 0).any()):
            raise UserError("the readout's outputs are all 0: there is no filter to read")
        seen = queries.double() @ problems.root @ problems.basis[:, 0]
        cross = (seen.mT @ outputs[..., None])[..., 0]
        size = outputs.square().sum(1)
        base, eigenvalues = problems.least_squares[:, 0], problems.eigenvalues[:, 0]
        gram = seen.mT @ seen
        noise = _noise(gram, cross, size, outputs.shape[1])
        return cls(problems, eigenvalues, base, gram, cross, size, noise, outputs.numel())

    def terms(
        self, coefficients: Float[Tensor, "member prompt d"]
    ) -> tuple[Float[Tensor, "prompt member"], Float[Tensor, "prompt member"]]:
        """Per prompt: outputs times predictions, and predictions squared, summed over queries."""
        times = torch.einsum("mpd,pd->pm", coefficients, self.cross)
        squared = torch.einsum("mpd,pde,mpe->pm", coefficients, self.gram, coefficients)
        return times, squared


def _noise(gram: Tensor, cross: Tensor, size: Tensor, queries: int) -> Tensor:
    d = cross.shape[-1]
    if queries <= d:
        return torch.full_like(size, torch.nan)
    explained = (cross * torch.linalg.solve(gram, cross)).sum(-1)
    return (size - explained) * queries / (queries - d)


@dataclasses.dataclass(frozen=True)
class Member:
    """One member of a family, with the coefficients V'w it predicts."""

    algorithm: Algorithm
    coefficients: Float[Tensor, "prompt d"]


class Scan:
    """Likelihood of any filter of λ / scale at the cost of a small matrix product.

    f is carried by `NODES` values, linear in log u between them, so prompts enter through one matrix only.
    """

    def __init__(self, seen: Observations, step: Step) -> None:
        scale = seen.problems.scale(step)[:, 0]
        self.u = seen.eigenvalues / scale
        self.typical = float(self.u[:, -1].mean())
        live = self.u[self.u > 0].log()
        low, high = float(live.min()), float(live.max()) + 1e-9
        place = ((self.u.clamp_min(math.exp(low)).log() - low) / (high - low) * (NODES - 1)).clamp(
            0, NODES - 1.000001
        )
        left = place.floor().long()
        share = place - left
        self.nodes = torch.linspace(low, high, NODES, dtype=torch.float64).exp()
        sides = ((left, (1 - share) * seen.base), (left + 1, share * seen.base))
        self.gram = torch.zeros(NODES * NODES, dtype=torch.float64)
        self.cross = torch.zeros(NODES, dtype=torch.float64)
        for i, a in sides:
            self.cross.index_add_(0, i.flatten(), (a * seen.cross).flatten())
            for j, b in sides:
                cell = i[:, :, None] * NODES + j[:, None, :]
                self.gram.index_add_(0, cell.flatten(), (a[:, :, None] * seen.gram * b[:, None, :]).flatten())
        self.gram = self.gram.reshape(NODES, NODES)
        self.size = float(seen.size.sum())

    def left_over(
        self, family: str, ladder: Sequence[int], sizes: dict[str, Float[Tensor, "step choice"]]
    ) -> Float[Tensor, "step choice"]:
        """Residual sum of squares at the best gain; infinite where the iterate would diverge on a prompt."""
        nodes = self.nodes[:, None]
        curves = []
        for i, k in enumerate(ladder):
            own = {name: value[i, None, :] for name, value in sizes.items()}
            curves.append(FAMILIES[family].filter(nodes, k, **own))
        f = torch.stack(curves, 1)
        shape, f = f.shape[1:], f.flatten(1)
        sound = (f - 1).abs().amax(0) <= 1 + 1e-9  # NaN and infinity are not
        f = torch.where(sound, f, 0.0)
        times, squared = self.cross @ f, (f * (self.gram @ f)).sum(0)
        explained = torch.where(squared > 0, times * times.abs() / squared.clamp_min(1e-300), 0.0)
        return torch.where(sound, self.size - explained, torch.inf).reshape(shape)


def _absolute(scan: Scan, family: str, relative: dict[str, Tensor]) -> dict[str, Tensor]:
    power = {"eta": -1, "gamma": -1, "mu": 1, "alpha": -2 if family == "newton" else -1}
    return {name: value * scan.typical ** power[name] for name, value in relative.items()}


def _lattice(counts: Sequence[int]) -> Float[Tensor, "choice size"]:
    """A grid over the unit cube."""
    axes = [torch.linspace(0, 1, count, dtype=torch.float64) for count in counts]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], -1)


def _best_sizes(
    scan: Scan, family: str, ladder: Sequence[int]
) -> tuple[Float[Tensor, "step"], dict[str, Float[Tensor, "step"]]]:
    """Residual and sizes of the best member at each number of steps: a log grid, then zooms around its best point."""
    bounds = LADDERS[family][1]
    if not bounds:
        return scan.left_over(family, ladder, {})[:, 0], {}
    spans = torch.tensor(list(bounds.values()), dtype=torch.float64).log()
    low, high = (end.expand(len(ladder), -1) for end in spans.unbind(1))
    best = torch.full((len(ladder),), torch.inf, dtype=torch.float64)
    where, rows = low, torch.arange(len(ladder))
    counts = [64] if len(bounds) == 1 else [40, 8]
    for _ in range(ZOOMS + 1):
        points = low[:, None] + _lattice(counts) * (high - low)[:, None]
        relative = dict(zip(bounds, points.exp().unbind(-1), strict=True))
        left = scan.left_over(family, ladder, _absolute(scan, family, relative))
        i = left.argmin(1)
        better = left[rows, i] < best
        best = torch.where(better, left[rows, i], best)
        where = torch.where(better[:, None], points[rows, i], where)
        reach = 1.5 * (high - low) / (torch.tensor(counts) - 1)
        low, high = torch.maximum(spans[:, 0], where - reach), torch.minimum(spans[:, 1], where + reach)
        counts = [9] * len(bounds)
    return best, _absolute(scan, family, dict(zip(bounds, where.exp().unbind(-1), strict=True)))


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
    if family == "cg":
        path = conjugate_gradient(seen.problems, max(ladder or (seen.eigenvalues.shape[-1],)))[:, :, 0]
        return [Member(Algorithm("cg", k), path[k]) for k in (ladder or range(1, len(path)))]
    if family not in LADDERS:
        raise UserError(f"no filter family {family!r}: known are {sorted([*LADDERS, 'cg'])}")
    found, scans = [], {} if scans is None else scans
    tried = ladder or LADDERS[family][0]
    for step in steps if LADDERS[family][1] else steps[:1]:
        scan = scans[step] = scans.get(step) or Scan(seen, step)
        left, sizes = _best_sizes(scan, family, tried)
        for i in left.argsort(stable=True)[:keep].tolist():
            own = {name: float(value[i]) for name, value in sizes.items()}
            f = FAMILIES[family].filter(scan.u, tried[i], **own)
            found.append(Member(Algorithm(family, tried[i], step, own), f * seen.base))
    return found
