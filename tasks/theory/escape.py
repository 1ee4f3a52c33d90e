"""Drift, escape time, stable learning rates and gains of networks that learn a sequence single-index link.

Students: tied f = sigma(sum_l x_l.w / sqrt L) and untied f = sigma(sum_l x_l.w_l / sqrt L), spherical SGD with batch
1 on (y - f)^2. Overlaps m_l lie in [-1, 1]; time is counted in steps, which are samples. The equations are the
drift of Arnaboldi et al. (arXiv 2506.02651, section 4) without its noise, with the gradient's second moment held at
its value at m = 0: predictions of order and constant, not of the distribution of escape times.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.integrate import solve_ivp
from scipy.special import eval_hermitenorm

from tasks.errors import UserError
from tasks.theory.hermite import Expansion, Exponent, Function, contract, expand, factorial, operator_norm
from tasks.theory.single_index import Activation, activation


class UnstableRate(UserWarning):
    """The learning rate exceeds the bound under which the drift still points to the teacher."""


@dataclasses.dataclass(frozen=True)
class Net:
    """A tied or untied network, the link it learns, and the number of tokens."""

    target: Function
    length: int
    activation: str
    tied: bool

    @property
    def sigma(self) -> Activation:
        """The activation and its derivative."""
        return activation(self.activation)

    @functools.cached_property
    def landscape(self) -> Landscape:
        """The drift of this network, from Hermite coefficients up to order 6 (4 beyond three tokens)."""
        return landscape(self, 6 if self.length <= 3 else 4)


def _line() -> tuple[ndarray, ndarray]:
    """Nodes and N(0, 1) weights of a rule that is exact for kinks at 0 (Gauss-Legendre on both half lines)."""
    x, w = np.polynomial.legendre.leggauss(120)
    half, weights = 6.5 * (x + 1), 6.5 * w
    nodes = np.concatenate([-half[::-1], half])
    return nodes, np.concatenate([weights[::-1], weights]) * np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)


def activation_coefficients(name: str, order: int) -> Float[ndarray, " order"]:
    """c_k(sigma) = E[sigma(s) He_k(s)] for k = 0 ... order.

    >>> activation_coefficients("square", 3).round(6).tolist()
    [1.0, 0.0, 2.0, 0.0]
    """
    nodes, weights = _line()
    values = activation(name).value(nodes)
    return np.array([float(weights @ (values * eval_hermitenorm(k, nodes))) for k in range(order + 1)])


@dataclasses.dataclass(frozen=True)
class Landscape:
    """R(m) = const - 2 sum_a w_a m^a over multi-indices a, and the noise G = E[(dl/ds)^2] at m = 0."""

    net: Net
    indices: Float[ndarray, "terms L"]
    weights: Float[ndarray, " terms"]
    noise: float
    method: str

    def pull(self, m: Float[ndarray, " L"]) -> Float[ndarray, " L"]:
        """-(1 - m_l^2) dR/dm_l at overlaps m: the part of the drift linear in the rate, times d / rate."""
        slopes = np.empty(len(m))
        for token in range(len(m)):
            lowered = self.indices.copy()
            lowered[:, token] = np.maximum(lowered[:, token] - 1, 0)
            slopes[token] = (self.weights * self.indices[:, token]) @ np.prod(m**lowered, -1)
        return 2 * (1 - m**2) * slopes

    def drift(self, m: Float[ndarray, " L"], rate: float) -> Float[ndarray, " L"]:
        """d E[dm_l] in one step: rate * pull - rate^2 * inhibition (section 4). Tied: m has equal entries."""
        if self.net.tied:
            pulled = np.full_like(m, self.pull(m).sum())
            return rate * pulled - rate**2 * self.noise * m / 2
        return rate * self.pull(m) - rate**2 * self.noise * m / (2 * self.net.length)

    def stable_rate(self, start: float, threshold: float) -> float:
        """The rate up to which the drift increases |m| along the whole path from `start` to `threshold`.

        Taken along overlaps of equal size; untied ones with the signs towards which they are pulled. 0 where the pull
        itself points inwards somewhere on that way, so that no rate escapes without luck.
        """
        signs = np.ones(self.net.length)
        if not self.net.tied:
            pulled = self.pull(start * signs)
            signs = np.where(pulled < 0, -1.0, 1.0)
        sizes = np.geomspace(start, threshold, 60)
        return max(0.0, min(2 * float(self.pull(s * signs) @ signs) / (self.noise * s) for s in sizes))

    def escape_time(self, d: int, rate: float, start: float, threshold: float, horizon: float = 1e9) -> float:
        """Steps until the drift carries all overlaps from `start` to |m| / sqrt L = `threshold`; inf if never."""

        def reached(_: float, m: ndarray) -> float:
            return float(np.linalg.norm(m)) / math.sqrt(self.net.length) - threshold

        reached.terminal = True  # type: ignore[attr-defined]
        first = np.full(self.net.length, start)
        found = solve_ivp(
            lambda _, m: self.drift(m, rate),
            (0.0, horizon / d),
            first,
            events=reached,
            method="LSODA",
            rtol=1e-7,
        )
        return float(found.t_events[0][0]) * d if len(found.t_events[0]) else math.inf


@functools.lru_cache(maxsize=32)
def _expansion(target: Function, length: int, order: int) -> Expansion:
    """Many settings share one link, and for several tokens its coefficients cost more than a short simulation."""
    return expand(target, length, order)


def landscape(net: Net, order: int) -> Landscape:
    """The population loss of a network as a polynomial in its overlaps, up to `order`.

    w_a = c_|a|(sigma) L^(-|a|/2) c_a(g) / a!; coefficients of g that do not differ from zero are left out.
    """
    series = _expansion(net.target, net.length, order)
    inner = activation_coefficients(net.activation, order)
    kept = {a: c for k in range(1, order + 1) for a, c in series.nonzero(k).items()}
    if not kept:
        raise UserError(
            f"the link has no Hermite component up to order {order}: no drift to speak of at that order"
        )
    weights = [
        float(c[0]) * inner[sum(a)] * net.length ** (-sum(a) / 2) / factorial(a) for a, c in kept.items()
    ]
    mean = float(series.values[(0,) * net.length][0])
    nodes, density = _line()
    value, slope = net.sigma.value(nodes), net.sigma.slope(nodes)
    noise = 4 * float(density @ (slope**2 * (series.scale**2 + (mean - value) ** 2)))
    return Landscape(net, np.array(list(kept), float), np.array(weights), noise, series.method)


def check_rate(net: Net, rate: float, start: float, threshold: float) -> float:
    """The stability bound of the rate; warns with UnstableRate, naming the bound, when the rate exceeds it."""
    bound = net.landscape.stable_rate(start, threshold)
    if rate > bound:
        warnings.warn(
            f"learning rate {rate:g} exceeds the stability bound {bound:.3g}: expect escape times with heavy tails, or "
            "no escape at all",
            UnstableRate,
            stacklevel=3,
        )
    return bound


def predicted_gain(exponent: Exponent, length: int, rate_ratio: float = 1.0) -> float:
    """tau_untied / tau_tied to leading order (Theorem 2).

    (rate_tied / rate_untied) x (C x (1..1)) / |C|, times sqrt(L) if the exponent is 1: exact up to constants for
    exponents up to 2 or a separable link, a lower bound in general; 0 means that the tied network does not learn.
    Raises UserError for a link with several outputs.
    """
    if any(len(c) != 1 for c in exponent.coefficients.values()):
        raise UserError("gains are stated for links with one output")
    tied = abs(float(contract(exponent.coefficients, np.ones(length))[0]))
    root = math.sqrt(length) if exponent.order == 1 else 1.0
    return rate_ratio * tied / operator_norm(exponent.coefficients) * root


def saturated_gain(exponent: Exponent, length: int) -> float:
    """The gain when both rates saturate the paper's own bounds: ((C x (1..1)) / |C|)^2 x sqrt(L)^[SIE = 1]."""
    ratio = predicted_gain(exponent, length) / (math.sqrt(length) if exponent.order == 1 else 1.0)
    return predicted_gain(exponent, length, rate_ratio=ratio)


def asymptotic_steps(order: int, d: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """Theorem 1's sample complexity up to a constant: d for SIE 1, d log d for 2, d^(SIE - 1) beyond."""
    if order < 1:
        raise UserError(f"an information exponent is at least 1, got {order}")
    if order == 2:
        return d * np.log(d)
    return d ** float(max(order - 1, 1))
