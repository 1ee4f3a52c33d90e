"""Two algorithms in one readout: a weighted mean of both, or one of them for each prompt.

Owns: the search for the pair of families (and their steps, sizes and gains) that fits best in either way, and how far
it is from the outputs. Pairs start from a coarse dictionary of members; the best few are tuned in turns, each family on
what the other leaves (mean) or on the prompts that are its own (choice), and scored on prompts they were not tuned on.
A choice is made by the outputs themselves, which flatters it: where the truth is one of the two, by
E max(0, N(-D, 4 σ² D)) at squared distance D of their predictions, which is added back.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from probes.algorithms.iterates import FAMILIES, Algorithm, coefficients
from probes.algorithms.problems import Step
from probes.families import Member, candidates, retuned
from probes.observations import Observations

How = Literal["mean", "choice"]
COMPONENTS = ("gd", "newton", "ridge", "gd++", "cg", "ols", "svd", "ogd")
TRIED = 4  # pairs of families that are tuned, each way
QUICK_TRIED = 2  # with a single fold
ROUNDS = 4
SEARCHED = 2  # rounds that try every number of steps; later ones tune sizes alone
QUICK_ROUNDS = (2, 0)  # with a single fold
FEWEST = 0.05  # of the prompts a choice gives to either
GRID: dict[str, list[tuple[int, dict[str, float]]]] = {
    "gd": [(k, {"eta": e}) for k in (1, 2, 3, 4, 6, 8, 16, 32, 64, 256, 1024) for e in (0.5, 1.0, 1.8)],
    "newton": [(k, {"alpha": a}) for k in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20) for a in (0.3, 1.0)],
    "gd++": [
        (k, {"eta": e, "gamma": g}) for k in (2, 3, 4, 6, 8) for e in (0.7, 1.5, 3.0) for g in (0.5, 0.8)
    ],
    "ridge": [(0, {"mu": m}) for m in torch.logspace(-4, 1, 16).tolist()],
    "ols": [(0, {})],
}
POWER = {"eta": -1, "gamma": -1, "alpha": -2, "mu": 1}


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A pair of members, how they are put together, and what is left unexplained of each prompt's o'o."""

    how: How
    members: tuple[Algorithm, Algorithm]
    families: tuple[str, str]
    gains: tuple[float, float]
    share: float
    left: Float[Tensor, "prompt"]

    def __str__(self) -> str:
        first, second = (member.label for member in self.members)
        if self.how == "mean":
            return f"{self.gains[0]:.2f} {first} + {self.gains[1]:.2f} {second}"
        return f"{first} for {self.share:.0%} of the prompts, {second} for the others"


def search(
    seen: Observations, folds: list[tuple[Tensor, Tensor]], families: tuple[str, ...], how: How
) -> list[Mixture]:
    """The best pairs of different families, ascending by misfit. `folds` as in `probes.filters.split`."""
    start = _dictionary(seen, tuple(f for f in families if f in COMPONENTS))
    pairs = _mean_pairs(seen, start) if how == "mean" else _choice_pairs(seen, start)
    tried = TRIED if len(folds) > 1 else QUICK_TRIED
    best = sorted(pairs, key=lambda pair: pairs[pair][0])[:tried]
    found = []
    for pair in best:
        _, i, j = pairs[pair]
        found.append(_tuned(seen, folds, how, pair, (start[pair[0]].members[i], start[pair[1]].members[j])))
    return sorted((m for m in found if m is not None), key=lambda m: float(m.left.sum()))


@dataclasses.dataclass(frozen=True)
class Entries:
    """Members of one family in the dictionary, their predictions in the queries' inner product, and the squares of
    those for each prompt: of prompts and queries alone.
    """

    members: list[Member]
    flat: Float[Tensor, "member prompt_d"]
    pushed: Float[Tensor, "member prompt_d"]
    squared: Float[Tensor, "prompt member"]

    @classmethod
    def of(cls, seen: Observations, members: list[Member]) -> Entries:
        own = torch.stack([m.coefficients for m in members], 1)
        pushed = seen.gram @ own.mT
        squared = (pushed * own.mT).sum(1)
        return cls(members, own.transpose(0, 1).flatten(1), pushed.permute(2, 0, 1).flatten(1), squared)


def _dictionary(seen: Observations, families: tuple[str, ...]) -> dict[str, Entries]:
    """The coarse dictionary, kept with the prompts and queries for every output at them."""
    key = f"mixtures of {', '.join(families)}"
    if key not in seen.frames:
        found = {family: _entries(seen, family) for family in families}
        seen.frames[key] = {family: Entries.of(seen, own) for family, own in found.items() if own}
    return seen.frames[key]


def _entries(seen: Observations, family: str) -> list[Member]:
    if family not in GRID:
        return candidates(seen, family, ("norm",)) if family != "svd" else _ranks(seen)
    found: list[Member] = []
    for step in ("fixed", "norm") if GRID[family][0][1] else ("fixed",):
        u = seen.eigenvalues / seen.problems.scale(step)[:, 0]
        typical = float(u[:, -1].mean())
        for k, sizes in GRID[family]:
            own = {name: v * typical ** _power(family, name) for name, v in sizes.items()}
            f = FAMILIES[family].filter(u, k, **own)
            if bool(((f - 1).abs() <= 1 + 1e-9).all()):
                found.append(Member(Algorithm(family, k, step, own), f * seen.base))
    return found


def _power(family: str, name: str) -> int:
    return -1 if name == "alpha" and family != "newton" else POWER[name]


def _ranks(seen: Observations) -> list[Member]:
    ranks = [Algorithm("svd-rank", r) for r in range(1, seen.eigenvalues.shape[1])]
    return [Member(a, c[:, 0]) for a, c in zip(ranks, coefficients(seen.problems, ranks), strict=True)]


Pairs = dict[tuple[str, str], tuple[float, int, int]]


def _mean_pairs(seen: Observations, entries: dict[str, Entries]) -> Pairs:
    """For each pair of families the members whose best positive combination leaves least, and how much."""
    cross = {f: own.flat @ seen.cross.flatten() for f, own in entries.items()}
    square = {f: own.squared.sum(0) for f, own in entries.items()}
    total, found = float(seen.size.sum()), {}
    for a, b in itertools.combinations(entries, 2):
        aa, bb = square[a][:, None], square[b][None]
        ab, oa, ob = entries[a].flat @ entries[b].pushed.T, cross[a][:, None], cross[b][None]
        det = aa * bb - ab**2
        first, second = (oa * bb - ob * ab) / det, (ob * aa - oa * ab) / det
        sound = (det > 1e-9 * aa * bb) & (first > 0) & (second > 0)
        left = torch.where(sound, total - first * oa - second * ob, torch.inf)
        found[a, b] = _least(left)
    return {pair: cell for pair, cell in found.items() if math.isfinite(cell[0])}


def _choice_pairs(seen: Observations, entries: dict[str, Entries]) -> Pairs:
    """For each pair of families the members of which the better one for each prompt leaves least, and how much."""
    left = {f: _left_by_member(seen, own) for f, own in entries.items()}
    found = {}
    for a, b in itertools.combinations(entries, 2):
        sums = torch.stack([torch.minimum(column[:, None], left[b]).sum(0) for column in left[a].mT])
        found[a, b] = _least(sums)
    return found


def _least(left: Tensor) -> tuple[float, int, int]:
    at = int(left.argmin())
    return float(left.flatten()[at]), at // left.shape[1], at % left.shape[1]


def _left_by_member(seen: Observations, entries: Entries) -> Float[Tensor, "prompt member"]:
    predicted = entries.flat.unflatten(1, seen.cross.shape)
    times = torch.einsum("mpd,pd->pm", predicted, seen.cross)
    gains = times.sum(0).clamp_min(0) / entries.squared.sum(0).clamp_min(1e-300)
    return seen.size[:, None] - 2 * gains * times + gains**2 * entries.squared


def _tuned(
    seen: Observations,
    folds: list[tuple[Tensor, Tensor]],
    how: How,
    families: tuple[str, str],
    start: tuple[Member, Member],
) -> Mixture | None:
    """The pair tuned on all prompts, and what pairs tuned on the prompts of a fold leave of the others."""
    tune = _tune_mean if how == "mean" else _tune_choice
    first = (start[0].algorithm, start[1].algorithm)
    thorough = len(folds) > 1
    rounds = (ROUNDS, SEARCHED) if thorough else QUICK_ROUNDS
    whole = tune(seen, families, (first, None), *rounds)
    if whole is None:
        return None
    members, gains = whole
    left, share = _score(seen, how, members, gains)
    if how == "choice" and not FEWEST <= share <= 1 - FEWEST:
        return None
    if thorough:
        for train, test in folds:
            again = tune(seen.part(train), families, whole, 1, 0) or whole
            left[test] = _score(seen.part(test), how, *again)[0]
    return Mixture(how, members, families, gains, share, left)


Two = tuple[Algorithm, Algorithm]
Tuned = tuple[Two, tuple[float, float]]
Start = tuple[Two, tuple[float, float] | None]


def _score(
    seen: Observations, how: How, members: Two, gains: tuple[float, float]
) -> tuple[Float[Tensor, "prompt"], float]:
    """What is left of each prompt, and the share of prompts that are the first member's (of a mean: 1)."""
    a, b = (g * c for g, c in zip(gains, coefficients(seen.problems, members)[:, :, 0], strict=True))
    if how == "mean":
        return seen.without(a + b).size, 1.0
    first, second = seen.without(a).size, seen.without(b).size
    apart = torch.einsum("pd,pde,pe->p", a - b, seen.gram, a - b)
    noise = seen.noise.mean() * len(seen) / seen.rows
    spread = (4 * noise.clamp_min(0) * apart).sqrt().clamp_min(1e-300)
    place = -apart / spread
    density = (-place.square() / 2).exp() / math.sqrt(2 * math.pi)
    flattered = -apart * torch.special.ndtr(place) + spread * density
    return torch.minimum(first, second) + flattered, float((first <= second).double().mean())


def _tune_mean(
    seen: Observations, families: tuple[str, str], start: Start, rounds: int, searched: int
) -> Tuned | None:
    """Each member in turn tuned to what the other leaves; after `searched` rounds its steps stay as they are."""
    members = list(start[0])
    gains = _both_gains(seen, members)
    for turn in range(rounds):
        for i in (0, 1):
            other = coefficients(seen.problems, [members[1 - i]])[0, :, 0]
            rest = seen.without(gains[1 - i] * other)
            members[i] = _single(rest, families[i], members[i], turn >= searched)[0]
            gains = _both_gains(seen, members)
    return ((members[0], members[1]), gains) if min(gains) > 0 else None


def _both_gains(seen: Observations, members: list[Algorithm]) -> tuple[float, float]:
    a, b = coefficients(seen.problems, members)[:, :, 0]
    design = torch.stack([a, b], -1)
    gram = (design.mT @ (seen.gram @ design)).sum(0)
    cross = (design.mT @ seen.cross[..., None]).sum(0)[:, 0]
    first, second = (torch.linalg.pinv(gram, hermitian=True) @ cross).tolist()
    return first, second


def _tune_choice(
    seen: Observations, families: tuple[str, str], start: Start, rounds: int, searched: int
) -> Tuned | None:
    """Each member tuned to the prompts that it fits better; None where one of them is left with hardly any."""
    members = list(start[0])
    pair = coefficients(seen.problems, members)[:, :, 0]
    gains = list(start[1] or explained_gains(seen, pair))
    for turn in range(rounds):
        first, second = (seen.without(g * c).size for g, c in zip(gains, pair, strict=True))
        own = first <= second
        for i, mine in enumerate((own, ~own)):
            if int(mine.sum()) < max(2, FEWEST / 2 * len(seen)):
                return None
            part = seen.part(mine.nonzero()[:, 0])
            members[i], gains[i] = _single(part, families[i], members[i], turn >= searched)
        pair = coefficients(seen.problems, members)[:, :, 0]
    return (members[0], members[1]), (gains[0], gains[1])


def explained_gains(seen: Observations, coefficients: Float[Tensor, "member prompt d"]) -> list[float]:
    """The best gain of each member (0 where its outputs would have to be turned round)."""
    times, squared = seen.terms(coefficients)
    return (times.sum(0).clamp_min(0) / squared.sum(0).clamp_min(1e-300)).tolist()


def _single(seen: Observations, family: str, member: Algorithm, fixed: bool) -> tuple[Algorithm, float]:
    """The best member of one family (of the same kind and number of steps, if `fixed`) and its gain."""
    steps: tuple[Step, ...] = ("fixed", "norm")
    tried = (
        retuned(seen, [Member(member, coefficients(seen.problems, [member])[0, :, 0])], {})
        if fixed
        else candidates(seen, family, steps)
    )
    times, squared = seen.terms(torch.stack([m.coefficients for m in tried]))
    gains = times.sum(0).clamp_min(0) / squared.sum(0).clamp_min(1e-300)
    i = int((gains * times.sum(0)).argmax())
    return tried[i].algorithm, float(gains[i])
