"""Spherical SGD on sequence single-index models with d-dimensional weights: the oracle of the reduced chains.

Replicas are rows. The teacher is sqrt(d) times the first axis and the encoding lies along the second, which costs no
generality because tokens are isotropic. Slow by a factor of about d: for checks, not for curves.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from tasks.theory.escape import Net
from tasks.theory.escapes import Escapes
from tasks.theory.hermite import Function
from tasks.theory.reduced import EscapeSetting, Randoms, attention_slopes, drive, norm, starting_overlaps
from tasks.theory.single_index import Reduction, reduction_weights

DRAWN_AT_ONCE = 2_000_000


def simulate_net_direct(net: Net, setting: EscapeSetting, replicas: int, steps: int, seed: int) -> Escapes:
    """As `reduced.simulate_net` with the threshold on |m| (tied) or |m| / sqrt L (untied); `final` holds overlaps."""
    rng = np.random.default_rng(seed)
    weights = _vectors(
        starting_overlaps(setting, rng, (replicas, 1 if net.tied else net.length)), setting.d, rng
    )
    root = math.sqrt(setting.d)

    def step(w: ndarray, x: ndarray) -> ndarray:
        return net_step(net, setting.rate, w, x)

    def measure(overlaps: ndarray) -> ndarray:
        return norm(overlaps) / math.sqrt(overlaps.shape[-1])

    tokens = _tokens(setting.d, replicas, net.length, rng)
    return drive(weights, tokens, step, measure, setting, steps, 0, lambda w: w[..., 0] / root)


def net_step(
    net: Net, rate: float, w: Float[ndarray, "replica row d"], x: Float[ndarray, "replica L d"]
) -> Float[ndarray, "replica row d"]:
    """One step w <- sqrt(d) (w - rate grad) / |w - rate grad| of a net; one row of weights if tied, L if not."""
    root_l, root_d = math.sqrt(net.length), math.sqrt(x.shape[-1])
    s = np.einsum("rld,rld->r", x, np.broadcast_to(w, x.shape)) / root_l
    h = 2 * (net.target(root_d * x[..., 0]) - net.sigma.value(s)) * net.sigma.slope(s)
    pulls = x.sum(1, keepdims=True) if net.tied else x
    return _on_sphere(w + (rate / root_l) * h[:, None, None] * pulls)


def simulate_attention_direct(
    target: Function,
    setting: EscapeSetting,
    pattern: Float[ndarray, " L"],
    reduction: Reduction,
    replicas: int,
    steps: int,
    seed: int,
    shift: Float[ndarray, " L"] | None = None,
) -> Escapes:
    """As `reduced.simulate_attention`, with w in full; `final` holds (m, e)."""
    rng = np.random.default_rng(seed)
    root = math.sqrt(setting.d)
    start = starting_overlaps(setting, rng, (replicas, 2), joint=True)
    head = np.concatenate([start, np.zeros((replicas, setting.d - 2))], -1)
    tail = rng.standard_normal((replicas, setting.d - 2))
    free = np.sqrt(np.maximum(1 - (start**2).sum(-1, keepdims=True), 0.0))
    head[:, 2:] = free * tail / np.linalg.norm(tail, axis=-1, keepdims=True)
    weights = reduction_weights(reduction, len(pattern))

    def step(w: ndarray, x: ndarray) -> ndarray:
        return attention_step(target, setting.rate, pattern, weights, w, x, shift)

    tokens = _tokens(setting.d, replicas, len(pattern), rng)
    return drive(head * root, tokens, step, norm, setting, steps, 0, lambda w: w[:, :2] / root)


def attention_step(
    target: Function,
    rate: float,
    pattern: Float[ndarray, " L"],
    weights: Float[ndarray, "L L"] | None,
    w: Float[ndarray, "replica d"],
    x: Float[ndarray, "replica L d"],
    shift: Float[ndarray, " L"] | None = None,
) -> Float[ndarray, "replica d"]:
    """One step of eq. (1) under spherical SGD; the encoding is pattern times the second axis over sqrt(d), `shift` the
    constants of injected ones."""
    root = math.sqrt(x.shape[-1])
    placed = x.copy()
    placed[..., 1] += pattern / root
    fields = np.einsum("rld,rd->rl", placed, w) + (0.0 if shift is None else shift)
    c = attention_slopes(fields, target(root * x[..., 0]), weights)
    return _on_sphere(w - rate * np.einsum("rl,rld->rd", c, placed))


def _on_sphere(w: ndarray) -> ndarray:
    return w * (math.sqrt(w.shape[-1]) / np.linalg.norm(w, axis=-1, keepdims=True))


def _vectors(overlaps: ndarray, d: int, rng: np.random.Generator) -> ndarray:
    rest = rng.standard_normal((*overlaps.shape, d - 1))
    rest *= (np.sqrt(1 - overlaps**2) / np.linalg.norm(rest, axis=-1))[..., None]
    return math.sqrt(d) * np.concatenate([overlaps[..., None], rest], -1)


def _tokens(d: int, replicas: int, length: int, rng: np.random.Generator) -> Callable[[], Randoms]:
    block = max(1, DRAWN_AT_ONCE // (replicas * length * d))
    return lambda: (rng.standard_normal((block, replicas, length, d)) / math.sqrt(d),)
