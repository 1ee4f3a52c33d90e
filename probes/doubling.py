"""Newton or gradient descent across layers: how the residual filter r = 1 - f moves from layer to layer.

Owns: the test that asks whether log |r| doubles or grows by equal additions. With f_l the measured filter of layer l, a
step of Newton's method squares r, so that |r_l| = m^(2^(s i)) at the ith layer that moves (s steps a layer, 1 or 2),
and a step of gradient descent multiplies it by 1 - eta λ, so that |r_l| = m^(a + i), where the first layer has up to
two layers' worth of steps behind it (a of .5 to 2: with any a, GD++ adds as well). m is free at every eigenvalue:
neither answer assumes a size, a start, or a form in λ. Layers whose filter does not move are left out. Both patterns
are fitted to f at nodes of the eigenvalue, each node weighted by its precision, so what lies below the noise floor (r
smaller than it can be measured) decides nothing; f may pass 1. The `misfit` of a pattern is the share of the layers'
outputs by which it differs from the measured filters, the difference by one half of the prompts times that by the
other, so that noise adds nothing; that of a pattern which does not fit grows with precision, as more comes above the
floor.

An answer is given where its misfit is shown to be below tau and that of the other to be larger; else "neither", and
`note` says whether no pattern fits or both do. r needs the scale of f, so readouts are taken as they are, at gain 1.
Only filters are seen: what moves alike by other means answers alike.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from probes import stats
from probes.free_filter import RANK, designs, equations
from probes.observations import Observations
from tasks.errors import UserError

Answer = Literal["doubling", "adding", "neither"]
TAU = 0.0005
NODES = 16
DRAWS = 200
STARTS = (0.5, 1.0, 1.5, 2.0)  # a: layers' worth of steps that the first layer has behind it
STEPS_A_LAYER = (1, 2)
FEWEST = 3  # layers that move
_RATES = torch.cat([torch.zeros(1), torch.logspace(-6, 1.2, 240)]).double()  # -log m


@dataclasses.dataclass(frozen=True)
class Growth:
    """The answer, misfit of both patterns with their 95% CI, their exponents, and the layers that moved."""

    answer: Answer
    doubling: stats.Interval
    adding: stats.Interval
    exponents: dict[str, tuple[float, ...]]
    layers: tuple[int, ...]
    note: str = ""

    def __str__(self) -> str:
        note = f"; {self.note}" if self.note else ""
        return f"{self.answer} (misfit of doubling {self.doubling}, of adding {self.adding}{note})"


def growth(layers: Sequence[Observations], tau: float = TAU, draws: int = DRAWS, seed: int = 0) -> Growth:
    """How r moves over layers that were asked the same queries on the same prompts, in their order.

    Raises UserError for fewer than two layers, or layers that were asked different things.
    """
    if len(layers) < 2:
        raise UserError(f"growth from layer to layer needs two layers or more, got {len(layers)}")
    if any(len(seen) != len(layers[0]) or seen.rows != layers[0].rows for seen in layers):
        raise UserError("layers must be asked the same queries on the same prompts")
    measured = _measure(layers, draws, seed)
    moving = _moving(measured)
    prompts = len(layers[0])
    if len(moving) < FEWEST:
        none = stats.Interval(math.nan, math.nan, math.nan, prompts, "none")
        return Growth("neither", none, none, {}, moving, f"{len(moving)} layers move: {FEWEST} are needed")
    found = {
        "doubling": _fit(measured, moving, [_doubling(len(moving), s) for s in STEPS_A_LAYER]),
        "adding": _fit(measured, moving, [_adding(len(moving), a) for a in STARTS]),
    }
    misfits = {name: stats.percentile(fit[0][0], fit[0][1:], prompts).one() for name, fit in found.items()}
    answer, note = _decide(found, misfits, tau, prompts)
    exponents = {name: fit[1] for name, fit in found.items()}
    return Growth(answer, misfits["doubling"], misfits["adding"], exponents, moving, note)


def _decide(
    found: dict[str, tuple[Tensor, tuple[float, ...]]],
    misfits: dict[str, stats.Interval],
    tau: float,
    prompts: int,
) -> tuple[Answer, str]:
    best, other = sorted(misfits, key=lambda name: misfits[name].value)
    if not misfits[best].high < tau:
        return "neither", "no pattern fits" if misfits[best].low > 0 else "too imprecise: ask more prompts"
    more = found[other][0] - found[best][0]
    if not stats.percentile(more[0], more[1:], prompts).one().low > 0:
        return "neither", "both patterns fit"
    return ("doubling" if best == "doubling" else "adding"), ""


def _doubling(count: int, steps: int) -> tuple[float, ...]:
    return tuple(2.0 ** (steps * i) for i in range(count))


def _adding(count: int, start: float) -> tuple[float, ...]:
    return tuple(start + i for i in range(count))


@dataclasses.dataclass(frozen=True)
class _Measured:
    """f at nodes by each half of the prompts, in the sample and in resamples; its spread; the weight of two nodes in
    the outputs; squared outputs.
    """

    f: Float[Tensor, "2 draw layer node"]
    spread: Float[Tensor, "layer node"]
    gram: Float[Tensor, "node node"]
    size: Float[Tensor, "layer"]

    def product(self, apart: Float[Tensor, "2 draw *layer node"]) -> Float[Tensor, "draw *layer"]:
        """Squared outputs of a difference of filters: one half times the other, so that noise adds nothing."""
        return torch.einsum("d...j,jk,d...k->d...", apart[0], self.gram, apart[1])


def _measure(layers: Sequence[Observations], draws: int, seed: int) -> _Measured:
    columns = {name: c for name, c in designs(layers[0], NODES).items() if name != RANK}
    sums = {name: equations(layers[0], column) for name, column in columns.items()}
    crosses = {
        name: torch.stack([torch.einsum("pdn,pd,pd->pn", c, seen.base, seen.cross) for seen in layers], 1)
        for name, c in columns.items()
    }

    def explained(name: str) -> float:
        gram, cross = sums[name][0].sum(0), crosses[name].sum(0)
        return float((cross * _solve(gram[None], cross[None])[0]).sum())

    name = max(columns, key=explained)
    gram, cross = sums[name][0], crosses[name]
    weights = torch.cat(list(stats.resamples(len(layers[0]), draws, seed)))
    weights = torch.cat([torch.full_like(weights[:1], 1 / len(layers[0])), weights])
    halves = []
    for half in (slice(0, None, 2), slice(1, None, 2)):
        grams = (weights[:, half] @ gram[half].flatten(1)).unflatten(1, gram.shape[1:])
        sides = (weights[:, half] @ cross[half].flatten(1)).unflatten(1, cross.shape[1:])
        halves.append(_solve(grams, sides))
    f = torch.stack(halves)
    size = torch.stack([(seen.size - seen.noise).mean() for seen in layers])
    return _Measured(f, f[:, 1:].std(1).square().mean(0).sqrt(), gram.mean(0), size)


def _solve(gram: Float[Tensor, "draw node node"], cross: Float[Tensor, "draw layer node"]) -> Tensor:
    size = gram.diagonal(dim1=-2, dim2=-1)
    ridge = torch.where(size <= 1e-12 * size.amax(-1, keepdim=True), 1.0, 1e-10 * size)
    return torch.linalg.solve(gram + torch.diag_embed(ridge), cross.mT).mT


def _moving(measured: _Measured) -> tuple[int, ...]:
    """Layers whose filter differs from that of the last one kept (of the first, from 0)."""
    kept: list[int] = []
    for layer in range(measured.f.shape[2]):
        before = measured.f[:, :, kept[-1]] if kept else torch.zeros_like(measured.f[:, :, 0])
        apart = (measured.f[:, :, layer] - before).mean(0)
        squares = torch.einsum("dj,jk,dk->d", apart - apart[0], measured.gram, apart - apart[0])
        chance = squares[1:].mean()
        moved = apart[0] @ measured.gram @ apart[0]
        if moved > 3 * chance and moved > 1e-4 * measured.size[layer]:
            kept.append(layer)
    return tuple(kept)


def _fit(
    measured: _Measured, moving: tuple[int, ...], patterns: Sequence[tuple[float, ...]]
) -> tuple[Float[Tensor, "draw"], tuple[float, ...]]:
    """Misfit of the best of some patterns in the sample and in every resample, and its exponents in the sample."""
    at = list(moving)
    f, spread = measured.f[:, :, at], measured.spread[at]
    sure = 1 / (spread.square() + 1e-12 + 1e-6 * spread.square().max())
    tried = []
    for pattern in patterns:
        powers = (-torch.tensor(pattern, dtype=torch.float64)[:, None] * _RATES).exp()  # [layer, rate]
        apart = torch.stack([_fitted(half, sure, powers) - half for half in f])
        tried.append((measured.product(apart) / measured.size[at]).mean(1))
    every = torch.stack(tried)
    own = int(every[:, 0].argmin())
    return every[own], patterns[own]


def _fitted(
    f: Float[Tensor, "draw layer node"],
    sure: Float[Tensor, "layer node"],
    powers: Float[Tensor, "layer rate"],
) -> Float[Tensor, "draw layer node"]:
    """f of a pattern whose rate at each node comes nearest to the measured |1 - f|, on the measured side of 1."""
    r = (1 - f).abs()
    cost = (sure.T @ powers.square())[None] - 2 * torch.einsum("lj,dlj,lm->djm", sure, r, powers)
    nearest = powers[:, cost.argmin(-1)].permute(1, 0, 2)
    return 1 - nearest * torch.where(f > 1, -1.0, 1.0)
