"""Hermite coefficients of functions of Gaussian fields, and the Sequence Information Exponent (SIE).

Conventions: probabilists' polynomials, He_2 = z^2 - 1, E[He_k^2] = k!. A coefficient is c_a(g) = E[g(z) He_a(z)] with
He_a = prod_l He_{a_l}(z_l) for a multi-index a, so the order-k entries are those of the tensor C_k of Arnaboldi et al.
(arXiv 2506.02651, section 3). Functions take fields [..., L] and give labels [...] or [..., k outputs].
Up to `MAX_POINTS` nodes the expectations are Gauss-Hermite sums (exact for polynomials of low degree); beyond, Monte
Carlo, and then every coefficient comes with a standard error.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import eval_hermitenorm
from scipy.stats import norm

from tasks.errors import UserError

Index = tuple[int, ...]
Function = Callable[[ndarray], ndarray]
MAX_POINTS, SAMPLES = 300_000, 200_000
RELATIVE_ZERO = 1e-6


def gauss_hermite(axes: int, nodes: int) -> tuple[Float[ndarray, "points axes"], Float[ndarray, " points"]]:
    """Tensor-product nodes and weights (summing to 1) of E[f(z)] for z ~ N(0, I)."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    points = np.stack(np.meshgrid(*[x] * axes, indexing="ij"), -1).reshape(-1, axes)
    weights = np.stack(np.meshgrid(*[w / w.sum()] * axes, indexing="ij"), -1).reshape(-1, axes).prod(-1)
    return points, weights


def nodes_for(axes: int, order: int) -> int | None:
    """Nodes an axis for coefficients up to `order`: as many as fit, at most 40; None when fewer than 2 order + 4 do."""
    most = min(40, int(MAX_POINTS ** (1 / axes) + 1e-9))
    return most if most >= 2 * order + 4 else None


def multi_indices(length: int, order: int) -> list[Index]:
    """Every multi-index over `length` tokens of total degree `order`.

    >>> multi_indices(2, 2)
    [(2, 0), (1, 1), (0, 2)]
    """
    tallies = itertools.combinations_with_replacement(range(length), order)
    return [tuple(chosen.count(token) for token in range(length)) for chosen in tallies]


def factorial(index: Index) -> int:
    """a! = prod_l a_l!."""
    return math.prod(math.factorial(k) for k in index)


@dataclasses.dataclass(frozen=True)
class Expansion:
    """Hermite coefficients of a function up to an order.

    `values[a]` is c_a, one number an output; `errors[a]` its standard error under Monte Carlo, and under quadrature the
    change against a coarser grid (large for kinked functions); `scale` the root mean square about the mean.
    """

    length: int
    order: int
    values: dict[Index, Float[ndarray, " k"]]
    errors: dict[Index, Float[ndarray, " k"]]
    scale: float
    method: str

    def relative(self, index: Index) -> float:
        """|c_a| / (sqrt(a!) scale): the correlation of the function with the normalised polynomial, in [0, 1]."""
        return float(np.linalg.norm(self.values[index])) / (math.sqrt(factorial(index)) * self.scale)

    def threshold(self, index: Index) -> float:
        """The relative size above which c_a counts as non-zero: 1e-6, or the size that Gaussian noise of the stated
        error exceeds at any index of the expansion with probability 1e-4."""
        noise = float(np.linalg.norm(self.errors[index])) / (math.sqrt(factorial(index)) * self.scale)
        return max(RELATIVE_ZERO, noise * float(norm.isf(0.5e-4 / len(self.values))))

    def nonzero(self, order: int) -> dict[Index, Float[ndarray, " k"]]:
        """Coefficients of one order that count as non-zero."""
        chosen = multi_indices(self.length, order)
        return {a: self.values[a] for a in chosen if self.relative(a) > self.threshold(a)}


@dataclasses.dataclass(frozen=True)
class _Values:
    """A function on the nodes (or draws) at which its expectations are taken."""

    points: Float[ndarray, "points L"]
    weights: Float[ndarray, " points"]
    labels: Float[ndarray, "points k"]
    scale: float
    method: str
    coarse: _Values | None


def _evaluate(g: Function, length: int, order: int, seed: int) -> _Values:
    nodes = nodes_for(length, order)
    if nodes is None:
        points = np.random.default_rng(seed).standard_normal((SAMPLES, length))
        return _values(g, points, np.full(SAMPLES, 1 / SAMPLES), f"Monte Carlo, {SAMPLES} draws", None)
    coarse = _values(g, *gauss_hermite(length, max(order + 2, 3 * nodes // 4)), "a coarser grid", None)
    return _values(g, *gauss_hermite(length, nodes), f"Gauss-Hermite, {nodes} nodes an axis", coarse)


def _values(g: Function, points: ndarray, weights: ndarray, method: str, coarse: _Values | None) -> _Values:
    labels = np.asarray(g(points), float).reshape(len(points), -1)
    if not np.isfinite(labels).all():
        raise UserError("the link gives values that are not finite: its expectations do not exist")
    scale = math.sqrt(float(weights @ ((labels - weights @ labels) ** 2).sum(-1)))
    return _Values(points, weights, labels, scale, method, coarse)


def expand(g: Function, length: int, order: int, seed: int = 0) -> Expansion:
    """Hermite expansion of `g` on `length` tokens up to total degree `order`.

    Raises UserError for a function that is not finite everywhere.
    """
    return _moments(_evaluate(g, length, order, seed), length, range(order + 1))


def _moments(at: _Values, length: int, orders: range) -> Expansion:
    ladder = [eval_hermitenorm(k, at.points) for k in range(max(orders) + 1)]
    coarse = _moments(at.coarse, length, orders).values if at.coarse else {}
    values, errors = {}, {}
    for index in itertools.chain.from_iterable(multi_indices(length, k) for k in orders):
        basis = at.weights
        for token, k in enumerate(index):
            basis = basis * ladder[k][:, token] if k else basis
        values[index] = basis @ at.labels
        errors[index] = np.abs(values[index] - coarse[index]) if coarse else _sampling_error(basis, at.labels)
    return Expansion(length, max(orders), values, errors, at.scale, at.method)


def _sampling_error(basis: ndarray, labels: ndarray) -> ndarray:
    second = (basis * basis * len(basis)) @ labels**2
    return np.sqrt(np.maximum(second - (basis @ labels) ** 2, 0) / len(basis))


@dataclasses.dataclass(frozen=True)
class Exponent:
    """A Sequence Information Exponent, the coefficients that make it, and how it was found."""

    order: int
    coefficients: dict[Index, Float[ndarray, " k"]]
    method: str

    def __int__(self) -> int:
        return self.order


def information_exponent(g: Function, length: int, k_max: int = 6, seed: int = 0) -> Exponent:
    """SIE(g) = min{k >= 1 : C_k(g) != 0} (Arnaboldi et al., arXiv 2506.02651, section 3).

    >>> information_exponent(lambda z: z[..., 0] * z[..., 1], 2).order
    2

    Raises UserError when no coefficient of order 1 ... k_max differs from zero ("exponent above k_max").
    """
    if k_max < 1:
        raise UserError(f"k_max must be at least 1, got {k_max}")
    values, largest = _evaluate(g, length, k_max, seed), 0.0
    if values.scale <= 1e-12 * math.sqrt(float(values.weights @ (values.labels**2).sum(-1))):
        raise UserError("the link is constant: it has no Hermite component, so no information exponent")
    for order in range(1, k_max + 1):
        expansion = _moments(values, length, range(order, order + 1))
        found = expansion.nonzero(order)
        if found:
            return Exponent(order, found, expansion.method)
        largest = max(largest, *(expansion.relative(a) for a in expansion.values))
    raise UserError(
        f"exponent above k_max = {k_max}: the largest correlation with a Hermite polynomial of order 1 to {k_max} is "
        f"{largest:.1e} ({values.method}); raise k_max"
    )


def contract(coefficients: dict[Index, ndarray], direction: Float[ndarray, " L"]) -> Float[ndarray, " k"]:
    """C_k x (v, ..., v) = sum_a k!/a! c_a v^a for coefficients of one order k."""
    terms = [
        math.factorial(sum(a)) / factorial(a) * np.prod(direction ** np.array(a)) * c
        for a, c in coefficients.items()
    ]
    return np.sum(terms, axis=0)


def operator_norm(coefficients: dict[Index, ndarray], seed: int = 0, starts: int = 32) -> float:
    """max over unit v of |C_k x (v, ..., v)| for a symmetric tensor with one output.

    Shifted symmetric power iterations from random and axis starts (Kolda & Mayo 2011): for k <= 2 the maximum, for
    k > 2 the best of the local maxima found, a lower bound.
    """
    length, order = len(next(iter(coefficients))), sum(next(iter(coefficients)))
    rng = np.random.default_rng(seed)
    v = np.concatenate([np.eye(length), np.ones((1, length)), rng.standard_normal((starts, length))])
    return max(
        _climb(coefficients, order, sign * start / np.linalg.norm(start))
        for start in v
        for sign in (1.0, -1.0)
    )


def _climb(coefficients: dict[Index, ndarray], order: int, v: ndarray, iterations: int = 200) -> float:
    indices = np.array(list(coefficients))
    weight = np.array([math.factorial(order) / factorial(a) * float(c[0]) for a, c in coefficients.items()])
    shift = 1.1 * order * float(np.abs(weight).sum())
    for _ in range(iterations):
        slopes = np.stack([_slope(indices, weight, v, token) for token in range(len(v))])
        new = slopes + shift * v
        new = new / np.linalg.norm(new)
        if np.abs(new - v).max() < 1e-12:
            break
        v = new
    return abs(float(weight @ np.prod(v**indices, -1)))


def _slope(indices: ndarray, weight: ndarray, v: ndarray, token: int) -> float:
    lowered = indices.copy()
    lowered[:, token] = np.maximum(lowered[:, token] - 1, 0)
    return float((weight * indices[:, token]) @ np.prod(v**lowered, -1))
