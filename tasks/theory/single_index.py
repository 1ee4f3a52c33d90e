"""Sequence single-index models in closed form: students, targets, population loss and its expansion at the origin.

Owns the functions of local fields that theory, simulators and tasks share, after Arnaboldi et al. (arXiv 2506.02651).
Teacher fields z* = X w* and student fields z = (X + P) w are jointly Gaussian with E z* = 0, E z = e p, identity
covariances and Cov(z*, z) = m I: m is the semantic overlap w.w*/d, e the positional one, p the pattern of the encoding
over tokens (opposite: +1, -1). Losses are squared errors summed over outputs, with no factor 1/2.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from tasks.errors import UserError
from tasks.theory.hermite import (
    Expansion,
    Function,
    Index,
    expand,
    factorial,
    gauss_hermite,
    multi_indices,
    nodes_for,
)

Reduction = Literal["identity", "trace", "projection"]


@dataclasses.dataclass(frozen=True)
class Activation:
    """An activation and its derivative."""

    name: str
    value: Function
    slope: Function


def _relu_slope(s: ndarray) -> ndarray:
    return (s > 0).astype(float)


ACTIVATIONS = {
    a.name: a
    for a in (
        Activation("identity", lambda s: s, np.ones_like),
        Activation("relu", lambda s: np.maximum(s, 0.0), _relu_slope),
        Activation("square", np.square, lambda s: 2.0 * s),
        Activation("tanh", np.tanh, lambda s: 1.0 - np.tanh(s) ** 2),
        Activation("minus-tanh", lambda s: -np.tanh(s), lambda s: np.tanh(s) ** 2 - 1.0),
    )
}


def activation(name: str) -> Activation:
    """The activation of a name. Raises UserError for an unknown one."""
    if name not in ACTIVATIONS:
        raise UserError(f"unknown activation {name!r}: known are {sorted(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def attention_matrix(z: Float[ndarray, "*batch L"]) -> Float[ndarray, "*batch L L"]:
    """softmax over rows of z z^T: the attention of eq. (1) as a function of its fields. Rows sum to 1."""
    scores = z[..., :, None] * z[..., None, :]
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def reduction_weights(reduction: Reduction, length: int) -> Float[ndarray, "L L"] | None:
    """W with R(A) = sum_ij W_ij A_ij: trace / sqrt(L), or a^T A a with a uniform of norm 1; None for the identity."""
    if reduction == "identity":
        return None
    if reduction == "trace":
        return np.eye(length) / math.sqrt(length)
    return np.full((length, length), 1.0 / length)


def attention_student(reduction: Reduction, length: int) -> Function:
    """f(z) = R(softmax(z z^T)) of eq. (1): fields [..., L] to [...] or, under the identity, [..., L, L]."""
    weights = reduction_weights(reduction, length)
    if weights is None:
        return attention_matrix
    return lambda z: (attention_matrix(z) * weights).sum((-1, -2))


def positional_semantic(omega: float | int, a: float | int) -> Function:
    """The target of eq. (18): (1 - omega) softmax(z z^T) + omega softmax([[a^2, -a^2], [-a^2, a^2]]), L = 2.

    Raises UserError for omega outside [0, 1] or a outside (0, 1].
    """
    if not (0 <= omega <= 1 and 0 < a <= 1):
        raise UserError(
            f"positional/semantic target needs omega in [0, 1] and a in (0, 1], got {omega} and {a}"
        )
    fixed = positional_part(a)
    return lambda z: (1 - omega) * attention_matrix(z) + omega * fixed


def encoded_target(omega: float | int, a: float | int) -> Function:
    """The variant of eq. (18) with the encoding inside: softmax(t t^T) with t = (1 - omega) z + omega a (1, -1).

    How the two halves are weighted inside is our reading of the paper's appendix F.3. Raises UserError as
    `positional_semantic` does.
    """
    _ = positional_semantic(omega, a)
    return lambda z: attention_matrix((1 - omega) * z + omega * a * opposite(2))


def shifted(student: Function, shift: Float[ndarray, " L"]) -> Function:
    """A student whose fields carry the constants of injected encodings: f(z + shift)."""
    return lambda z: student(z + shift)


def positional_part(a: float | int) -> Float[ndarray, "2 2"]:
    """softmax([[a^2, -a^2], [-a^2, a^2]]), the positional half of eq. (18)."""
    return attention_matrix(np.array([a, -a]))


def opposite(length: int) -> Float[ndarray, " L"]:
    """The pattern p of opposite encodings: +1, -1, +1, ... over tokens (P_1 = -P_2 for two)."""
    return np.where(np.arange(length) % 2 == 0, 1.0, -1.0)


@dataclasses.dataclass(frozen=True)
class TheoryEstimate:
    """A number, its error (a standard error under Monte Carlo, else the change against a coarser grid), the method."""

    value: float
    error: float
    method: str


def population_loss(
    target: Function,
    student: Function,
    pattern: Float[ndarray, " L"],
    e: float | int,
    m: float | int,
    nodes: int = 17,
    seed: int = 0,
) -> TheoryEstimate:
    """R(e, m) = E |target(z*) - student(z)|^2 over the 2L Gaussian fields (section 2 of the paper).

    L <= 2 by Gauss-Hermite quadrature with `nodes` an axis; longer sequences by Monte Carlo with its standard error.
    Raises UserError for |m| > 1.
    """
    if not abs(m) <= 1:
        raise UserError(f"the semantic overlap m lies in [-1, 1], got {m}")
    length = len(pattern)

    def losses(points: ndarray) -> ndarray:
        teacher, noise = points[:, :length], points[:, length:]
        z = m * teacher + math.sqrt(1 - m * m) * noise + e * pattern
        difference = np.asarray(target(teacher)) - np.asarray(student(z))
        return (difference.reshape(len(points), -1) ** 2).sum(-1)

    if length > 2:
        drawn = losses(np.random.default_rng(seed).standard_normal((200_000, 2 * length)))
        return TheoryEstimate(
            float(drawn.mean()), float(drawn.std() / math.sqrt(len(drawn))), "Monte Carlo, 200000 draws"
        )
    fine, coarse = (
        float(w @ losses(x)) for x, w in (gauss_hermite(2 * length, n) for n in (nodes, nodes - 3))
    )
    return TheoryEstimate(fine, abs(fine - coarse), f"Gauss-Hermite, {nodes} nodes an axis")


@dataclasses.dataclass(frozen=True)
class Taylor:
    """Coefficients t[j, k] of R(e, m) = sum t[j, k] e^j m^k around (0, 0), with their quadrature errors."""

    values: dict[tuple[int, int], float]
    errors: dict[tuple[int, int], float]

    @property
    def hessian(self) -> Float[ndarray, "2 2"]:
        """[[H_ee, H_em], [H_em, H_mm]] at the origin."""
        t = self.values
        return np.array([[2 * t[2, 0], t[1, 1]], [t[1, 1], 2 * t[0, 2]]])


def taylor(target: Function, student: Function, pattern: Float[ndarray, " L"], order: int) -> Taylor:
    """The expansion of the population loss at the uninformed point, term by term from Hermite coefficients.

    Uses E[target(z*) student(z)] = sum_k m^k <C_k(target), C_k(student(. + e p))> / k! and
    E[f(z + e p)] = sum_j e^j C_j(f) x p^j / j!, so only L-dimensional quadrature enters.
    Raises UserError when L is too long for quadrature at this order.
    """
    length = len(pattern)
    if nodes_for(length, order) is None:
        raise UserError(
            f"{length} tokens are too many for quadrature at order {order}: use population_loss (sampled)"
        )

    def square(z: ndarray) -> ndarray:
        return (np.asarray(student(z)).reshape(len(z), -1) ** 2).sum(-1)

    g, f, f2 = (expand(x, length, order) for x in (target, student, square))
    values, errors = {}, {}
    for j, k in [(n - k, k) for n in range(1, order + 1) for k in range(n + 1)]:
        values[j, k], errors[j, k] = _term(g, f, f2, pattern, j, k)
    return Taylor(values, errors)


def _term(g: Expansion, f: Expansion, f2: Expansion, pattern: ndarray, j: int, k: int) -> tuple[float, float]:
    value = error = 0.0
    for beta in multi_indices(len(pattern), j):
        weight = float(np.prod(pattern ** np.array(beta))) / factorial(beta)
        if k == 0:
            value += weight * float(f2.values[beta][0])
            error += abs(weight) * float(f2.errors[beta][0])
        for alpha in multi_indices(len(pattern), k):
            both = cast(Index, tuple(x + y for x, y in zip(alpha, beta, strict=True)))
            scale = -2 * weight / factorial(alpha)
            value += scale * float(g.values[alpha] @ f.values[both])
            error += abs(scale) * float(
                np.abs(g.values[alpha]) @ f.errors[both] + g.errors[alpha] @ np.abs(f.values[both])
            )
    return value, error


@dataclasses.dataclass(frozen=True)
class Flatness:
    """The order kappa of the first non-zero derivative of R at (0, 0), and whether the loss falls along it.

    `descends` is the smallest value of the leading form over unit directions (e, m): escape needs it negative.
    """

    order: int
    form: dict[tuple[int, int], float]
    descends: float

    @property
    def escapes(self) -> bool:
        """Whether the leading form has a direction of descent."""
        return self.descends < 0


def flatness(target: Function, student: Function, pattern: Float[ndarray, " L"], k_max: int = 4) -> Flatness:
    """kappa = min{k >= 1 : the k-th derivative of R at (0, 0) is not zero} (Prop. 1); SIE_pos when pattern is not 0.

    Raises UserError when every derivative up to `k_max` vanishes.
    """
    series = taylor(target, student, pattern, k_max)
    scale = max(expand(target, len(pattern), 1).scale, 1e-12) ** 2
    for order in range(1, k_max + 1):
        terms = {(order - k, k): series.values[order - k, k] for k in range(order + 1)}
        if any(abs(v) > max(1e-6 * scale, 5 * series.errors[at]) for at, v in terms.items()):
            angle = np.linspace(0, 2 * np.pi, 721)
            form = sum(v * np.cos(angle) ** j * np.sin(angle) ** k for (j, k), v in terms.items())
            return Flatness(order, terms, float(np.min(form)))
    raise UserError(
        f"flatness above k_max = {k_max}: every derivative of the loss up to that order vanishes; raise k_max"
    )
