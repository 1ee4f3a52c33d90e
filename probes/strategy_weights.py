"""Weights of strategies: a model's predictions as a mixture of candidate predictors, weights on the simplex.

Owns the least-squares fit of f by sum_j a_j g_j with a >= 0 and sum(a) = 1 (exact, by trying every set of candidates
that takes part), its bootstrap over whole prompts, what the mixture leaves unexplained, and whether these prompts tell
the candidates apart. A candidate that is constant (zero, uniform) makes the rest a shrunken mixture.
A weight says how the outputs are made up, not how the model makes them. Source: notes on Raventos et al., arXiv
2306.15063 and Carroll et al., arXiv 2501.17745 (distances to ideal predictors); weights on the simplex are this
project's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from probes import stats
from probes.interval import Interval
from tasks.errors import UserError

MOST = 8  # candidates: every subset is tried
ALIKE = 0.01  # squared distance of two candidates over their mean square, below which they count as one
JITTER = 1e-12


@dataclass(frozen=True)
class StrategyMix:
    """Weight of each candidate with its interval over prompts, in [0, 1], and how far to trust them.

    `unexplained`: E (f - mixture)^2 / E f^2, at least 0, 0 for an exact mixture. `residual`: the same error over the
    mean square of the candidates, which is small too where f itself is small, as near a constant candidate, and large
    where f is none of them. `separation`: smallest eigenvalue of
    the Gram matrix of the candidates' differences from the first, over the mean square of the candidates (0: some
    candidate is a mixture of others on these prompts). `alike`: pairs that these prompts cannot tell apart.
    """

    weights: dict[str, Interval]
    unexplained: Interval
    residual: Interval
    separation: float
    alike: tuple[tuple[str, str], ...]

    @property
    def leading(self) -> str | None:
        """The candidate whose weight is above one half by its lower confidence limit; None where there is none, and
        where the residual is not below one half: the outputs are then none of the candidates."""
        if not self.residual.high < 0.5:
            return None
        return next((name for name, weight in self.weights.items() if weight.low > 0.5), None)


def strategy_weights(
    outputs: Float[Tensor, "prompt *cell"],
    candidates: Mapping[str, Float[Tensor, "prompt *cell"]],
    *,
    draws: int = 500,
    seed: int = 0,
) -> StrategyMix:
    """Fit `outputs` by a mixture of `candidates`, with 95% intervals by a bootstrap of whole prompts.

    Both are predictions in a space where mixtures are linear (numbers, probabilities). Fewer than 32 prompts have no
    interval. Raises UserError for fewer than 2 or more than `MOST` candidates, and for values that are not finite.
    """
    if not 2 <= len(candidates) <= MOST:
        raise UserError(f"a mixture needs 2 to {MOST} candidates, not {len(candidates)}")
    names = list(candidates)
    f = outputs.double().flatten(1)
    g = torch.stack([candidates[name].double().flatten(1) for name in names], 1)
    moments = _moments(f, g)
    k = len(names)
    found = stats.bootstrap(moments, lambda m: _fitted(m, k), draws=draws, seed=seed)
    limits = found.low.clamp(0, None), found.high.clamp(0, None)
    parts = [
        Interval(float(found.value[j]), float(limits[0][j]), float(limits[1][j].clamp(max=1.0)), found.n, found.method)
        for j in range(k)
    ]  # fmt: skip
    left, residual = (
        Interval(float(found.value[j]), float(limits[0][j]), float(limits[1][j]), found.n, found.method)
        for j in (k, k + 1)
    )
    gram = moments.mean(0)[: k * k].reshape(k, k)
    return StrategyMix(
        dict(zip(names, parts, strict=True)), left, residual, separation(gram), _alike(gram, names)
    )


def _moments(
    f: Float[Tensor, "prompt cell"], g: Float[Tensor, "prompt candidate cell"]
) -> Float[Tensor, "prompt moment"]:
    """Of each prompt: g g', g f, f f, each a mean over cells; the fit is a function of their means over prompts."""
    cells = f.shape[1]
    gram = torch.einsum("pic,pjc->pij", g, g).flatten(1)
    cross = torch.einsum("pic,pc->pi", g, f)
    return torch.cat([gram, cross, f.square().sum(1, keepdim=True)], 1) / cells


def _fitted(means: Float[Tensor, "draw moment"], k: int) -> Float[Tensor, "draw found"]:
    """Weights of the k candidates, the share unexplained and the residual, of each draw."""
    gram, cross, power = means[:, : k * k].reshape(-1, k, k), means[:, k * k : k * k + k], means[:, -1]
    weights = simplex(gram, cross)
    explained = 2 * (weights * cross).sum(1) - torch.einsum("di,dij,dj->d", weights, gram, weights)
    error = (power - explained).clamp_min(0.0)
    size = gram.diagonal(dim1=1, dim2=2).mean(1)
    shares = [error / scale.clamp_min(1e-300) for scale in (power, size)]
    return torch.cat([weights, torch.stack(shares, 1)], 1)


def simplex(gram: Float[Tensor, "draw k k"], cross: Float[Tensor, "draw k"]) -> Float[Tensor, "draw k"]:
    """The minimiser of a'Ga - 2a'b over the simplex, exactly: the best of all faces on which it is feasible."""
    k = cross.shape[1]
    best = torch.full((len(cross),), torch.inf, dtype=cross.dtype)
    found = torch.zeros_like(cross)
    for size in range(1, k + 1):
        for face in itertools.combinations(range(k), size):
            a = _on_face(gram, cross, face)
            loss = torch.einsum("di,dij,dj->d", a, gram, a) - 2 * (a * cross).sum(1)
            better = (a >= -1e-9).all(1) & (loss < best)
            best, found = torch.where(better, loss, best), torch.where(better[:, None], a, found)
    return found.clamp_min(0.0)


def _on_face(
    gram: Float[Tensor, "draw k k"], cross: Float[Tensor, "draw k"], face: tuple[int, ...]
) -> Float[Tensor, "draw k"]:
    """The minimiser with the candidates of a face alone, whose weights sum to 1 and may be negative."""
    at, size = list(face), len(face)
    part = gram[:, at][:, :, at]
    part = part + JITTER * part.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(
        size, dtype=gram.dtype
    )
    system = gram.new_zeros(len(gram), size + 1, size + 1)
    system[:, :size, :size], system[:, size, :size], system[:, :size, size] = part, 1.0, 1.0
    wanted = torch.cat([cross[:, at], cross.new_ones(len(cross), 1)], 1)
    solved, wrong = torch.linalg.solve_ex(system, wanted)
    a = torch.zeros_like(cross)
    a[:, at] = torch.where((wrong == 0)[:, None] & solved.isfinite().all(1, keepdim=True), solved, -1.0)[
        :, :size
    ]
    return a


def separation(gram: Float[Tensor, "k k"]) -> float:
    """Smallest eigenvalue of the Gram matrix of differences from the first candidate, over the mean square."""
    apart = gram[1:, 1:] - gram[1:, :1] - gram[:1, 1:] + gram[0, 0]
    size = float(gram.diagonal().mean())
    return max(float(torch.linalg.eigvalsh(apart)[0]), 0.0) / size if size > 0 else 0.0


def _alike(gram: Float[Tensor, "k k"], names: list[str]) -> tuple[tuple[str, str], ...]:
    square = gram.diagonal()
    apart = square[:, None] + square[None] - 2 * gram
    size = (square[:, None] + square[None]) / 2
    near = apart <= ALIKE * size
    pairs = itertools.combinations(range(len(names)), 2)
    return tuple((names[i], names[j]) for i, j in pairs if bool(near[i, j]))
