"""Truths for the filter verdict: members of its families, and algorithms that are in none of them.

Owns what each predicts at probe queries, before noise. On the list: one member of every family, its filter between .2
and .8 at the median eigenvalue where it has one, and other members that a net could run. Off the list: filters of no
family, means of two, a choice for each prompt, functions of the examples that are no filter of X'X, and functions of
the query that are not linear. Sizes are in units of the typical largest eigenvalue of S.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from probes.algorithms import iterates as algorithms
from probes.algorithms.iterates import FAMILIES, Algorithm, Problems
from probes.observations import Observations

Kind = Literal["filter", "mixture", "no filter"]
Make = Callable[["World"], Float[Tensor, "prompt query"]]


@dataclasses.dataclass(frozen=True)
class World:
    """Prompts, probe queries and what a truth may draw on; `memory` is shared by worlds of the same draw."""

    problems: Problems
    queries: Float[Tensor, "prompt query d"]
    gen: torch.Generator
    memory: dict[str, Observations] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def top(self) -> float:
        """Typical largest eigenvalue of S."""
        return float(self.problems.eigenvalues[:, 0, -1].mean())

    @property
    def x(self) -> Float[Tensor, "prompt example d"]:
        return self.problems.x[:, : self.problems.contexts[0]]

    @property
    def y(self) -> Float[Tensor, "prompt example"]:
        return self.problems.y[:, : self.problems.contexts[0]]

    def answers(self, w: Float[Tensor, "prompt d"]) -> Float[Tensor, "prompt query"]:
        """What weights predict at the queries."""
        return (self.queries @ w[..., None])[..., 0]

    def run(self, algorithm: Algorithm) -> Float[Tensor, "prompt d"]:
        """Weights of an algorithm."""
        return algorithms.weights(self.problems, [algorithm])[0, :, 0]

    def filtered(self, f: Callable[[Tensor], Tensor]) -> Float[Tensor, "prompt d"]:
        """Weights of a filter f of λ over its typical largest value."""
        u = self.problems.eigenvalues / self.top
        return self.problems.weights(f(u) * self.problems.least_squares)[:, 0]


@dataclasses.dataclass(frozen=True)
class Stranger:
    """A truth that is in no family."""

    name: str
    kind: Kind
    make: Make


def listed(top: float, d: int) -> dict[str, tuple[str, Algorithm]]:
    """Name of a truth to its family and member."""
    gd = {"eta": 0.6 / top}
    return {
        "gd, 2 steps": ("gd", Algorithm("gd", 2, "fixed", gd)),
        "gd, 16 steps": ("gd", Algorithm("gd", 16, "fixed", gd)),
        "gd, 4 steps over |S|": ("gd", Algorithm("gd", 4, "norm", {"eta": 1.5})),
        "newton, 4 steps": ("newton", Algorithm("newton", 4, "fixed", {"alpha": 0.2 / top**2})),
        "newton, 8 steps": ("newton", Algorithm("newton", 8, "fixed", {"alpha": 0.2 / top**2})),
        "newton, 10 steps over tr S": ("newton", Algorithm("newton", 10, "trace", {"alpha": 1.0})),
        "gd++, 4 steps": ("gd++", Algorithm("gd++", 4, "fixed", {"eta": 0.5 / top, "gamma": 0.5 / top})),
        "gd++, 4 steps over |S|": ("gd++", Algorithm("gd++", 4, "norm", {"eta": 1.5, "gamma": 0.7})),
        "cg, 2 steps": ("cg", Algorithm("cg", 2)),
        "cg, 3 steps": ("cg", Algorithm("cg", 3)),
        "ridge": ("ridge", Algorithm("ridge", 0, "fixed", {"mu": 0.04 * top})),
        "ridge, strong": ("ridge", Algorithm("ridge", 0, "fixed", {"mu": 0.5 * top})),
        "least squares": ("ols", Algorithm("ols")),
        "heavy ball, 6 steps": ("momentum", Algorithm("momentum", 6, "norm", {"eta": 1.0, "beta": 0.8})),
        "chebyshev, 3 steps": ("chebyshev", Algorithm("chebyshev", 3, "norm", {"low": 0.03, "high": 1.0})),
        "chebyshev, 6 steps": ("chebyshev", Algorithm("chebyshev", 6, "norm", {"low": 0.01, "high": 1.0})),
        "truncated SVD, cut": ("svd", Algorithm("svd", 0, "fixed", {"cut": 0.1 * top})),
        "truncated SVD, rank": ("svd", Algorithm("svd-rank", d // 2)),
        "gradient flow": ("flow", Algorithm("flow", 0, "fixed", {"time": 8 / top})),
        "richardson, 3 steps": ("richardson", Algorithm("gd", 3, "middle", {"eta": 0.95})),
        "online gd": ("ogd", Algorithm("ogd")),
    }


def _gd(w: World, k: int, eta: float = 0.6) -> Tensor:
    return w.run(Algorithm("gd", k, "fixed", {"eta": eta / w.top}))


def _newton(w: World, k: int) -> Tensor:
    return w.run(Algorithm("newton", k, "fixed", {"alpha": 0.2 / w.top**2}))


def _ridge(w: World, mu: float = 0.04) -> Tensor:
    return w.run(Algorithm("ridge", 0, "fixed", {"mu": mu * w.top}))


def _ols(w: World) -> Tensor:
    return w.run(Algorithm("ols"))


def _either(w: World, first: Tensor, second: Tensor, share: float = 0.5) -> Tensor:
    mine = torch.rand(len(first), generator=w.gen, dtype=torch.float64) < share
    return w.answers(torch.where(mine[:, None], first, second))


def _filter(f: Callable[[Tensor], Tensor]) -> Make:
    return lambda w: w.answers(w.filtered(f))


def _plateaus(u: Tensor) -> Tensor:
    return 0.4 * (u > 0.02) + 0.6 * torch.sigmoid(6 * (u / 0.4).log())


def _saturated(w: World) -> Tensor:
    answers = w.answers(_ridge(w))
    return torch.tanh(1.5 * answers / answers.std())


def _softmax(w: World, sharpness: float) -> Tensor:
    scores = w.queries @ w.x.mT * sharpness / w.x.shape[-1] ** 0.5
    return (torch.softmax(scores, -1) @ w.y[..., None])[..., 0]


def _rbf(w: World) -> Tensor:
    """Kernel ridge regression with a Gaussian kernel of width 2 sqrt(d)."""
    wide = 8 * w.x.shape[-1]
    inner = (-torch.cdist(w.x, w.x).square() / wide).exp() + 0.1 * torch.eye(
        w.x.shape[1], dtype=torch.float64
    )
    return ((-torch.cdist(w.queries, w.x).square() / wide).exp() @ torch.linalg.solve(inner, w.y[..., None]))[
        ..., 0
    ]


def _weighted(w: World, weight: Tensor, mu: float) -> Tensor:
    """Ridge regression with a weight an example."""
    x = w.x * weight[..., None]
    eye = mu * w.top * torch.eye(x.shape[-1], dtype=torch.float64)
    return w.answers(torch.linalg.solve(w.x.mT @ x + eye, (x.mT @ w.y[..., None])[..., 0]))


def _recent(w: World) -> Tensor:
    count = w.x.shape[1]
    weight = 0.7 ** torch.arange(count, dtype=torch.float64).flip(0)
    return _weighted(w, weight.expand(len(w.x), count), 0.02)


def _half(w: World) -> Tensor:
    count = w.x.shape[1]
    return _weighted(w, (torch.arange(count) < (count + 1) // 2).double().expand(len(w.x), count), 0.02)


def _other_prior(w: World) -> Tensor:
    """Ridge regression with a prior covariance that falls along the coordinates."""
    d = w.x.shape[-1]
    prior = torch.diag(torch.logspace(0, 1.5, d, dtype=torch.float64))
    gram = w.x.mT @ w.x + 0.05 * w.top * prior
    return w.answers(torch.linalg.solve(gram, (w.x.mT @ w.y[..., None])[..., 0]))


def _diagonal(w: World) -> Tensor:
    """Each coordinate's own regression (Jacobi's first step)."""
    return w.answers((w.x.mT @ w.y[..., None])[..., 0] / w.x.square().sum(1))


def _soft_threshold(w: World) -> Tensor:
    v = _ridge(w)
    cut = 0.5 * v.abs().median()
    return w.answers(v.sign() * (v.abs() - cut).clamp_min(0))


def _kaczmarz(w: World, passes: int) -> Tensor:
    v = torch.zeros_like(w.x[:, 0])
    for _ in range(passes):
        for i in range(w.x.shape[1]):
            a = w.x[:, i]
            v = v + ((w.y[:, i] - (v * a).sum(1)) / a.square().sum(1))[:, None] * a
    return w.answers(v)


def _own_rate(w: World) -> Tensor:
    """Gradient descent at a random rate of each prompt's own."""
    eta = 10 ** (-2 + 2 * torch.rand(len(w.x), 1, generator=w.gen, dtype=torch.float64))
    u = w.problems.eigenvalues[:, 0] / w.problems.eigenvalues[:, 0, -1:]
    return w.answers(
        w.problems.weights(((1 - (1 - eta * u) ** 6) * w.problems.least_squares[:, 0])[:, None])[:, 0]
    )


def _own_gain(w: World) -> Tensor:
    """Ridge regression shrunk to unit norm."""
    v = _ridge(w)
    return w.answers(v / v.norm(dim=-1, keepdim=True))


def strangers() -> tuple[Stranger, ...]:
    """Truths off the list."""
    gdpp = FAMILIES["gd++"].filter
    return (
        Stranger("newton with 15% of least squares", "mixture",
                 lambda w: w.answers(0.85 * _newton(w, 8) + 0.15 * _ols(w))),
        Stranger("mean of newton(8) and ridge", "mixture", lambda w: w.answers((_newton(w, 8) + _ridge(w, 1.0)) / 2)),
        Stranger("mean of gd(1) and least squares", "mixture", lambda w: w.answers((_gd(w, 1) + _ols(w)) / 2)),
        Stranger("mean of cg(2) and strong ridge", "mixture",
                 lambda w: w.answers((w.run(Algorithm("cg", 2)) + _ridge(w, 1.0)) / 2)),
        Stranger("mean of online gd and ridge", "mixture",
                 lambda w: w.answers((w.run(Algorithm("ogd")) + _ridge(w)) / 2)),
        Stranger("newton(6) or ridge by prompt", "mixture", lambda w: _either(w, _newton(w, 6), _ridge(w, 1.0))),
        Stranger("gd(2) or least squares by prompt", "mixture", lambda w: _either(w, _gd(w, 2), _ols(w))),
        Stranger("cg(2) or gd++(4) by prompt, 1 to 2", "mixture",
                 lambda w: _either(w, w.run(Algorithm("cg", 2)), w.filtered(lambda u: gdpp(u, 4, 1.5, 0.3)), 0.33)),
        Stranger("high pass", "filter", _filter(lambda u: 1 - u / (u + 0.1))),
        Stranger("band pass", "filter", _filter(lambda u: u / (u + 0.03) * (0.6 / (u + 0.6)) ** 2)),
        Stranger("two plateaus", "filter", _filter(_plateaus)),
        Stranger("root filter", "filter", _filter(lambda u: (u / (u + 1)) ** 0.35)),
        Stranger("wave", "filter", _filter(lambda u: 0.6 + 0.4 * torch.sin(2 * u.clamp_min(1e-12).log()))),
        Stranger("sign flip of small eigenvalues", "filter", _filter(lambda u: torch.tanh(2 * (u / 0.1).log()) * 0.7)),
        Stranger("softmax smoother", "no filter", lambda w: _softmax(w, 1.0)),
        Stranger("sharp softmax smoother", "no filter", lambda w: _softmax(w, 3.0)),
        Stranger("gaussian kernel regression", "no filter", _rbf),
        Stranger("saturated ridge", "no filter", _saturated),
        Stranger("recent examples count more", "no filter", _recent),
        Stranger("first half of the examples", "no filter", _half),
        Stranger("ridge of another prior", "no filter", _other_prior),
        Stranger("coordinates apart", "no filter", _diagonal),
        Stranger("soft threshold", "no filter", _soft_threshold),
        Stranger("two passes of online gd", "no filter", lambda w: _kaczmarz(w, 2)),
        Stranger("bfgs, 3 steps", "no filter", lambda w: w.answers(w.run(Algorithm("bfgs", 3)))),
        Stranger("l-bfgs, 3 steps", "no filter", lambda w: w.answers(w.run(Algorithm("lbfgs", 3)))),
        Stranger("gd at random rates", "no filter", _own_rate),
        Stranger("weights of unit norm", "no filter", _own_gain),
    )  # fmt: skip
