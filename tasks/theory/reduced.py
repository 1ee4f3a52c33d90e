"""Spherical SGD on sequence single-index models, run exactly in its overlaps: no d-dimensional vector is needed.

With isotropic Gaussian tokens, one-pass SGD on the sphere is a Markov chain in the overlaps alone (the norm of a
gradient needs one more chi-squared draw), so the dimension costs nothing. Replicas are rows and independent.
State: m [replica] for a tied network, m_l [replica, L] for an untied one, (m, e) for attention with an encoding.
A crossing time t is the number of steps after which the overlap first is at least the threshold; infinite means
censored at the horizon.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from tasks.errors import UserError
from tasks.theory.escape import Net, check_rate
from tasks.theory.escapes import Escapes
from tasks.theory.hermite import Function
from tasks.theory.single_index import (
    Reduction,
    attention_matrix,
    attention_student,
    opposite,
    reduction_weights,
    taylor,
)

DRAWN_AT_ONCE, MOST_STEPS = 400_000, 64
Randoms = tuple[ndarray, ...]
Chain = tuple[Callable[[], Randoms], Callable[..., ndarray]]


@dataclasses.dataclass(frozen=True)
class EscapeSetting:
    """How a chain is run: dimension, rate, overlap at the start (a number, or "random" on the sphere), threshold."""

    d: int
    rate: float
    threshold: float
    start: float | Literal["random"] = "random"

    def __post_init__(self) -> None:
        if self.d < 4:
            raise UserError(f"the reduced chain needs a dimension of at least 4, got {self.d}")
        if not (self.rate > 0 and math.isfinite(self.rate)):
            raise UserError(f"the learning rate must be positive and finite, got {self.rate}")
        if not 0 < self.threshold < 1:
            raise UserError(f"the threshold lies in (0, 1), got {self.threshold}")
        if self.start != "random" and not -1 < float(self.start) < 1:
            raise UserError(f"an overlap to start from lies in (-1, 1), got {self.start}")

    @property
    def typical_start(self) -> float:
        """The size of the overlap at the start: 1/sqrt(d) for a random one."""
        return 1 / math.sqrt(self.d) if self.start == "random" else abs(float(self.start))


def simulate_net(
    net: Net,
    setting: EscapeSetting,
    replicas: int,
    steps: int,
    seed: int,
    by_token: bool = False,
    every: int = 0,
) -> Escapes:
    """Escape of a tied or untied network; stops early once every replica has crossed.

    The threshold is met by |m| (tied), by |m| / sqrt L (untied), or by each |m_l| of its own under `by_token`.
    `every` keeps the overlaps at each multiple of that many steps. Warns with UnstableRate beyond the stability bound.
    """
    if net.tied and by_token:
        raise UserError("a tied network has one overlap, not one a token: ask for by_token=False")
    check_rate(net, setting.rate, setting.typical_start, setting.threshold)
    rng = np.random.default_rng(seed)
    shape = (replicas, 1 if net.tied else net.length)
    state = starting_overlaps(setting, rng, shape)
    draw, step = (_tied if net.tied else _untied)(net, setting, replicas, rng)
    if by_token or net.tied:
        return drive(state, draw, step, np.abs, setting, steps, every)
    root = math.sqrt(net.length)
    return drive(state, draw, step, lambda m: norm(m) / root, setting, steps, every)


def simulate_attention(
    target: Function,
    setting: EscapeSetting,
    pattern: Float[ndarray, " L"],
    reduction: Reduction,
    replicas: int,
    steps: int,
    seed: int,
    every: int = 0,
    shift: Float[ndarray, " L"] | None = None,
) -> Escapes:
    """Escape of eq. (1), softmax((X+P) w w^T (X+P)^T) reduced.

    States are (m, e), the threshold meets |(m, e)|.
    `target` maps fields [replica, L] to labels of the reduction's shape; `pattern` is p with P_l = p_l (unit
    direction) / sqrt(d), zeros for no encoding. A `start` that is a number is m, with e = 0. `shift` are the constants
    that injected encodings (P_l = shift_l w / d, without a gradient of their own) add to the student's fields.
    """
    rng = np.random.default_rng(seed)
    state = starting_overlaps(setting, rng, (replicas, 2), joint=True)
    added = np.zeros(len(pattern)) if shift is None else shift
    draw, step = _attention(target, setting, pattern, reduction, replicas, rng, added)
    return drive(state, draw, step, norm, setting, steps, every)


def norm(state: ndarray) -> ndarray:
    return np.sqrt(np.einsum("rs,rs->r", state, state))[:, None]


def starting_overlaps(
    setting: EscapeSetting, rng: np.random.Generator, shape: tuple[int, int], joint: bool = False
) -> ndarray:
    """Overlaps at step 0; joint: two coordinates of one random vector instead of one of each of several."""
    if setting.start != "random":
        state = np.full(shape, float(setting.start))
        state[:, 1:] = 0.0 if joint else state[:, 1:]
        return state
    head = rng.standard_normal(shape)
    if joint:
        return head / np.sqrt((head**2).sum(-1, keepdims=True) + rng.chisquare(setting.d - 2, (shape[0], 1)))
    return head / np.sqrt(head**2 + rng.chisquare(setting.d - 1, shape))


def drive(
    state: ndarray,
    draw: Callable[[], Randoms],
    step: Callable[..., ndarray],
    measure: Callable[[ndarray], ndarray],
    setting: EscapeSetting,
    steps: int,
    every: int,
    overlaps: Callable[[ndarray], ndarray] = lambda state: state,
) -> Escapes:
    """Run a chain until every column of `measure(overlaps(state))` has crossed the threshold, or to the horizon."""
    if steps < 1:
        raise UserError(f"a simulation needs at least 1 step, got {steps}")
    done = measure(overlaps(state)) >= setting.threshold
    times = np.where(done, 0.0, np.inf)
    kept, path, at = [0], [overlaps(state).copy()], 0
    while at < steps and not done.all():
        for draws in zip(*draw(), strict=True):
            state = step(state, *draws)
            at += 1
            hit = measure(overlaps(state)) >= setting.threshold
            if (hit > done).any():
                times[hit & ~done] = at
                done |= hit
            if every and at % every == 0:
                kept.append(at)
                path.append(overlaps(state).copy())
            if at == steps:
                break
    return Escapes(times, at if done.all() else steps, overlaps(state), np.array(kept), np.array(path))


def _block(numbers: int) -> int:
    """Steps to draw for at once: many, because a call costs more than a number, but not without bound."""
    return max(1, min(MOST_STEPS, DRAWN_AT_ONCE // numbers))


def _tied(net: Net, setting: EscapeSetting, replicas: int, rng: np.random.Generator) -> Chain:
    d, rate, length = setting.d, setting.rate, net.length
    root, value, slope, target = 1 / math.sqrt(length), net.sigma.value, net.sigma.slope, net.target

    def draw() -> Randoms:
        shape = (_block(replicas * length), replicas)
        return rng.standard_normal((*shape, length)), rng.standard_normal(shape), rng.chisquare(d - 2, shape)

    def step(m: ndarray, teacher: ndarray, across: ndarray, rest: ndarray) -> ndarray:
        m = m[:, 0]
        s_star = teacher.sum(-1) * root
        s = m * s_star + np.sqrt(1 - m * m) * across
        h = (2 * rate / d) * (target(teacher) - value(s)) * slope(s)
        size = s_star * s_star + across * across + rest
        return ((m + h * s_star) / np.sqrt(1 + 2 * h * s + h * h * size))[:, None]

    return draw, step


def _untied(net: Net, setting: EscapeSetting, replicas: int, rng: np.random.Generator) -> Chain:
    d, rate, length = setting.d, setting.rate, net.length
    root, value, slope, target = 1 / math.sqrt(length), net.sigma.value, net.sigma.slope, net.target

    def draw() -> Randoms:
        shape = (_block(replicas * length), replicas, length)
        return rng.standard_normal(shape), rng.standard_normal(shape), rng.chisquare(d - 2, shape)

    def step(m: ndarray, teacher: ndarray, across: ndarray, rest: ndarray) -> ndarray:
        z = m * teacher + np.sqrt(1 - m * m) * across
        s = z.sum(-1) * root
        h = ((2 * rate * root / d) * (target(teacher) - value(s)) * slope(s))[:, None]
        size = teacher * teacher + across * across + rest
        return (m + h * teacher) / np.sqrt(1 + 2 * h * z + h * h * size)

    return draw, step


def attention_slopes(
    z: Float[ndarray, "*batch L"], label: ndarray, weights: Float[ndarray, "L L"] | None
) -> Float[ndarray, "*batch L"]:
    """dl/dz of l = |label - R(softmax(z z^T))|^2, summed over outputs; `weights` as in `reduction_weights`."""
    attention = attention_matrix(z)
    if weights is None:
        upstream = 2 * (attention - label)
    else:
        upstream = 2 * ((attention * weights).sum((-1, -2)) - label)[..., None, None] * weights
    scores = attention * (upstream - (attention * upstream).sum(-1, keepdims=True))
    return ((scores + np.swapaxes(scores, -1, -2)) @ z[..., None])[..., 0]


def attention_stable_rate(
    target: Function, reduction: Reduction, length: int, encoded: bool, draws: int = 20_000, seed: int = 0
) -> float:
    """The rate up to which the drift of eq. (1) leaves (e, m) = (0, 0): 2 |H| / G, as for networks.

    H is the most negative curvature of the population loss there, by quadrature; G = E |dl/dz|^2, the second moment of
    the gradient, by Monte Carlo (about 2%). 0 where no direction descends at order 2. Raises UserError for too many
    tokens for quadrature.
    """
    pattern = opposite(length) if encoded else np.zeros(length)
    lowest = float(
        np.linalg.eigvalsh(taylor(target, attention_student(reduction, length), pattern, 2).hessian)[0]
    )
    fields, labels = np.random.default_rng(seed).standard_normal((2, draws, length))
    slopes = attention_slopes(fields, target(labels), reduction_weights(reduction, length))
    return max(0.0, -2 * lowest / float((slopes**2).sum(-1).mean()))


def _attention(
    target: Function,
    setting: EscapeSetting,
    pattern: ndarray,
    reduction: Reduction,
    replicas: int,
    rng: np.random.Generator,
    shift: ndarray,
) -> Chain:
    d, length = setting.d, len(pattern)
    pace, weights = setting.rate / d, reduction_weights(reduction, length)

    def draw() -> Randoms:
        shape = (_block(replicas * length), replicas, length)
        return (*rng.standard_normal((3, *shape)), rng.chisquare(d - 3, shape[:2]))

    def step(state: ndarray, teacher: ndarray, along: ndarray, across: ndarray, rest: ndarray) -> ndarray:
        m, e = state[:, :1], state[:, 1:]
        placed = along + pattern
        free = np.sqrt(np.maximum(1 - m * m - e * e, 0.0))
        z = m * teacher + e * placed + free * across
        c = attention_slopes(z + shift, target(teacher), weights)
        pulls = np.stack([(c * teacher).sum(-1), (c * placed).sum(-1), (c * across).sum(-1)], -1)
        size = (pulls * pulls).sum(-1) + (c * c).sum(-1) * rest
        norm = np.sqrt(1 - 2 * pace * (c * z).sum(-1) + pace * pace * size)
        return (state - pace * pulls[:, :2]) / norm[:, None]

    return draw, step
