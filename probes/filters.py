"""Which spectral filter a readout applies: families of algorithms compared by likelihood, or declared
undecidable.

Owns: the model output = gain * sum_i f(λ_i) c_i q_i + noise over prompts and probe queries (c least squares
and q the query, both in the eigenbasis of S = X'X), the best member of each family (steps, sizes, and a step
that is fixed or normalised by each prompt's trace or norm), the measured f(λ) and its log-log slope at small
λ. The gain is free because a readout can hold any multiple of an iterate. Differences are log-likelihoods in
nats; their spread is a bootstrap of whole prompts, so a family is named only if resampled prompts would name
it too. "gd++" keeps γ|S| in [0.5, 1]: trained nets sit there (2306.00297: |ab| times the top of S/n is .5 to
.7), and as γ goes to 0 it is gradient descent.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from probes import stats, tables
from tasks.algorithms import FAMILIES, STEPS, Algorithm, Problems, Step, conjugate_gradient
from tasks.errors import UserError

NODES = 256
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
VERDICT_FAMILIES = ("gd", "newton", "ridge", "gd++", "cg")


class FilterConfig(BaseModel):
    """How a verdict is reached: A is named over B when the `tail` quantile of the bootstrapped log-likelihood
    difference exceeds `margin` nats (log 20: twenty to one)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    families: tuple[str, ...] = VERDICT_FAMILIES
    steps: tuple[Step, ...] = STEPS
    draws: int = 400
    tail: float = 0.05
    margin: float = math.log(20)
    seed: int = 0


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


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Log-likelihoods (nats, at the best gain and noise) of the best member of each family.

    `draws` holds the same in resamples of whole prompts, where each family again puts its best candidate
    forward.
    """

    families: tuple[str, ...]
    best: tuple[Algorithm, ...]
    gain: tuple[float, ...]
    unexplained: tuple[float, ...]
    point: Float[Tensor, "family"]
    draws: Float[Tensor, "draw family"]
    misfit: tuple[stats.Interval, ...]
    prompts: int
    config: FilterConfig

    def difference(self, a: str, b: str) -> stats.Interval:
        """Log-likelihood of family a minus that of b, in nats, with its bootstrap interval."""
        i, j = self.families.index(a), self.families.index(b)
        both = self.draws[:, i] - self.draws[:, j]
        return stats.percentile(self.point[i] - self.point[j], both, self.prompts).one()

    def named(self, a: str, b: str) -> bool:
        """Whether a is told from b, in a's favour."""
        i, j = self.families.index(a), self.families.index(b)
        both = self.draws[:, i] - self.draws[:, j]
        return float(torch.quantile(both, self.config.tail)) > self.config.margin

    def compare(self, a: str, b: str) -> str:
        """The one of two families the data name, or "indistinguishable"."""
        return a if self.named(a, b) else b if self.named(b, a) else "indistinguishable"

    @property
    def posterior(self) -> Float[Tensor, "family"]:
        """Family posterior under equal priors, averaged over resamples of prompts (Huggins & Miller
        1912.07104): families that fit alike share it, and a family that wins by luck of the prompts does not
        get it all."""
        return torch.softmax(self.draws, dim=1).mean(0)

    @property
    def verdict(self) -> str:
        """The family told from every other, else "indistinguishable"."""
        for a in self.families:
            if all(self.named(a, b) for b in self.families if b != a):
                return a
        return "indistinguishable"

    @property
    def standing(self) -> tuple[str, ...]:
        """Families that no other is named over: what the readout could be."""
        return tuple(a for a in self.families if not any(self.named(b, a) for b in self.families if b != a))

    def table(self) -> pd.DataFrame:
        """One row a family: its best member, log-likelihood below the best, posterior, verdict."""
        rows = []
        top = float(self.point.max())
        leader = self.families[int(self.point.argmax())]
        for i, family in enumerate(self.families):
            behind = self.difference(family, leader)
            rows.append(
                {
                    "metric": "log-likelihood below the best",
                    "algorithm": family,
                    "k": self.best[i].k,
                    "unit": "nats",
                    **behind.row(),
                    "value": float(self.point[i]) - top,
                    "member": self.best[i].label,
                    "gain": self.gain[i],
                    "unexplained": self.unexplained[i],
                    "misfit": self.misfit[i].value,
                    "misfit_low": self.misfit[i].low,
                    "misfit_high": self.misfit[i].high,
                    "posterior": float(self.posterior[i]),
                    "verdict": self.verdict,
                    "standing": ", ".join(self.standing),
                }
            )
        return tables.frame(rows)


def weigh(seen: Observations, entries: dict[str, list[Member]], config: FilterConfig) -> Evidence:
    """Evidence for named lists of members (families, or one family at different numbers of steps)."""
    members = list(itertools.chain.from_iterable(entries.values()))
    owner = [name for name, group in entries.items() for _ in group]
    times, squared = seen.terms(torch.stack([member.coefficients for member in members]))
    sums = torch.cat([times, squared, seen.size[:, None]], 1)
    weights = torch.cat(list(stats.resamples(len(sums), config.draws, config.seed)))
    table = torch.cat([sums.mean(0, keepdim=True), weights @ sums])
    count = len(members)
    explained = table[:, :count].clamp_min(0).square() / table[:, count:-1].clamp_min(1e-300)
    left = 1 - explained / table[:, -1:]
    likelihood = -seen.rows / 2 * left.clamp_min(1e-15).log()
    groups = [[i for i, o in enumerate(owner) if o == name] for name in entries]
    best = [max(group, key=lambda i: float(likelihood[0, i])) for group in groups]
    by_family = torch.stack([likelihood[:, group].amax(1) for group in groups], 1)
    return Evidence(
        families=tuple(entries),
        best=tuple(members[i].algorithm for i in best),
        gain=tuple(float(table[0, i] / table[0, count + i].clamp_min(1e-300)) for i in best),
        unexplained=tuple(float(left[0, i]) for i in best),
        point=by_family[0],
        draws=by_family[1:],
        misfit=tuple(_misfit(seen, times[:, i], squared[:, i], config) for i in best),
        prompts=len(sums),
        config=config,
    )


def _misfit(seen: Observations, times: Tensor, squared: Tensor, config: FilterConfig) -> stats.Interval:
    value = float(seen.noise.sum())
    if math.isnan(value):
        return stats.Interval(
            math.nan, math.nan, math.nan, len(times), "none: too few queries to know the noise"
        )
    columns = torch.stack([times, squared, seen.size, seen.noise], 1)

    def share(means: Tensor) -> Tensor:
        cross, square, size, noise = means.unbind(1)
        return 1 - cross.square() / (square.clamp_min(1e-300) * size) - noise / size

    return stats.bootstrap(columns, share, draws=config.draws, seed=config.seed).one()


def judge(seen: Observations, config: FilterConfig) -> Evidence:
    """Evidence for every family of `config`, each at its best steps and sizes."""
    return weigh(seen, {name: candidates(seen, name, config.steps) for name in config.families}, config)
