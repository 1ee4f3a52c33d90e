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

from tasks.algorithms import FAMILIES, Algorithm, conjugate_gradient
from tasks.errors import UserError
from tasks.problems import STEPS, Problems, Step

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

    def left_over(self, family: str, k: int, sizes: dict[str, Tensor]) -> Float[Tensor, "choice"]:
        """Residual sum of squares at the best gain; infinite where the iterate would diverge on a prompt."""
        count = len(next(iter(sizes.values()))) if sizes else 1
        columns = {name: value[None, :] for name, value in sizes.items()}
        f = FAMILIES[family].filter(self.nodes[:, None].expand(-1, count), k, **columns)
        sound = torch.isfinite(f).all(0) & ((f - 1).abs().amax(0) <= 1 + 1e-9)
        f = torch.where(sound, f, 0.0)
        times, squared = self.cross @ f, (f * (self.gram @ f)).sum(0)
        explained = torch.where(squared > 0, times * times.abs() / squared.clamp_min(1e-300), 0.0)
        return torch.where(sound, self.size - explained, torch.inf)


def _absolute(scan: Scan, family: str, relative: dict[str, Tensor]) -> dict[str, Tensor]:
    power = {"eta": -1, "gamma": -1, "mu": 1, "alpha": -2 if family == "newton" else -1}
    return {name: value * scan.typical ** power[name] for name, value in relative.items()}


def _lattice(spans: Sequence[tuple[float, float]], counts: Sequence[int]) -> list[Tensor]:
    axes = [torch.linspace(a, b, n, dtype=torch.float64) for (a, b), n in zip(spans, counts, strict=True)]
    return [axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")] if axes else []


def _best_sizes(scan: Scan, family: str, k: int) -> tuple[float, dict[str, float]]:
    """Residual and sizes of the best member with k steps: a log grid, then zooms around its best point."""
    bounds = LADDERS[family][1]
    names = list(bounds)
    spans = [(math.log(a), math.log(b)) for a, b in bounds.values()]
    window, counts = list(spans), ([64] if len(names) == 1 else [40, 8])[: len(names)]
    best, where = math.inf, [0.0] * len(names)
    for _ in range(ZOOMS + 1 if names else 1):
        points = _lattice(window, counts)
        relative = {name: p.exp() for name, p in zip(names, points, strict=True)}
        left = scan.left_over(family, k, _absolute(scan, family, relative))
        i = int(left.argmin())
        if float(left[i]) < best:
            best, where = float(left[i]), [float(p[i]) for p in points]
        pitch = [(b - a) / (n - 1) for (a, b), n in zip(window, counts, strict=True)]
        window = [
            (max(lo, at - 1.5 * h), min(hi, at + 1.5 * h))
            for (lo, hi), at, h in zip(spans, where, pitch, strict=True)
        ]
        counts = [9] * len(names)
    relative = {name: torch.tensor(value).double().exp() for name, value in zip(names, where, strict=True)}
    return best, {name: float(v) for name, v in _absolute(scan, family, relative).items()}


def candidates(
    seen: Observations,
    family: str,
    steps: Sequence[Step] = STEPS,
    ladder: Sequence[int] | None = None,
    keep: int = 3,
) -> list[Member]:
    """The `keep` best members of a family for each kind of step, sizes tuned for each number of steps.

    `ladder` restricts the numbers of steps. Raises UserError for a family without a ladder of its own.
    """
    if family == "cg":
        path = conjugate_gradient(seen.problems, max(ladder or (seen.eigenvalues.shape[-1],)))[:, :, 0]
        return [Member(Algorithm("cg", k), path[k]) for k in (ladder or range(1, len(path)))]
    if family not in LADDERS:
        raise UserError(f"no filter family {family!r}: known are {sorted([*LADDERS, 'cg'])}")
    found = []
    for step in steps if LADDERS[family][1] else steps[:1]:
        scan = Scan(seen, step)
        tried = [(*_best_sizes(scan, family, k), k) for k in (ladder or LADDERS[family][0])]
        for _, sizes, k in sorted(tried, key=lambda entry: entry[0])[:keep]:
            f = FAMILIES[family].filter(scan.u, k, **sizes)
            found.append(Member(Algorithm(family, k, step, sizes), f * seen.base))
    return found
