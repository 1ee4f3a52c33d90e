"""Rows of the single-index study on waiting: escape times against the dimension, gains of tying, rules of the rate,
the staircase. Times are medians over replicas of the exact reduced chains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from interp.studies.ledger import Row
from interp.studies.single_index.measure import (
    CANCELLING,
    CONTROL,
    CUBIC,
    LINEAR,
    SQUARE,
    STAIRS,
    Problem,
    middle,
    resampled,
    scaling,
    slope,
)
from interp.studies.single_index.runs import Study
from interp.studies.single_index.theory_direct import simulate_net_direct
from probes.stats import LEVEL, Interval, share
from tasks.theory.reduced import EscapeSetting


def waits(study: Study) -> list[Row]:
    """Escape times against the dimension, and reduced against direct."""
    square = SQUARE.but(length=3)
    setting = EscapeSetting(64, 0.1, 0.5, 1 / 8)
    direct = simulate_net_direct(square.net(), setting, 64, 30_000, study.seeds[0] + 1).times[:, 0]
    reduced = square.escape(64, 0.1, 400, 30_000, study.seeds[0]).times[:, 0]
    ratio = resampled(lambda m: m[0] / m[1], [reduced, direct])
    rows = [
        study.row("equal-waits", ratio, condition="SIE 2, d 64, L 3, rate .1", budget="400 and 64 replicas")
    ]
    orders: list[tuple[str, int, Problem, tuple[int, ...], Callable[[int], float]]] = [
        ("slope-1", 1, LINEAR, study.budget.linear, lambda d: 0.1),
        ("slope-2", 2, SQUARE, study.budget.square, lambda d: 0.05),
        ("slope-3", 3, CUBIC, study.budget.cubic, lambda d: 0.15 / math.sqrt(d)),
    ]
    for name, order, problem, sizes, rate in orders:
        times = [_wait(study, name, problem, d, rate(d), study.budget.replicas) for d in sizes]
        found = resampled(scaling(sizes, order), times)
        censored = max(float(np.isinf(t).mean()) for t in times)
        law = f"asymptotically {max(order - 1, 1)}{' with log d' if order == 2 else ''}"
        note = f"{law}; censored at most {censored:.0%}; n counts replicas a dimension"
        text = f"d {', '.join(map(str, sizes))}; {study.budget.replicas} replicas"
        rows.append(study.row(name, found, condition=problem.link, budget=text, note=note))
    return rows


def _wait(study: Study, name: str, problem: Problem, d: int, rate: float, replicas: int) -> np.ndarray:
    found = problem.escape(d, rate, replicas, 3_000_000, study.seeds[0])
    predicted = problem.net().landscape.escape_time(d, rate, 1 / math.sqrt(d), problem.threshold)
    study.keep("waits", law=name, d=d, value=found.median(), predicted=predicted)
    return found.times[:, 0]


def gains(study: Study) -> list[Row]:
    """tau_untied / tau_tied at equal rates, and a link that the tied network cannot learn."""
    rows = []
    for name, problem, d, rate, lengths in (
        ("gain-1", LINEAR, 1000 if study.budget.wide else 400, 0.1, study.budget.lengths),
        (
            "gain-2",
            SQUARE,
            1000 if study.budget.wide else 100,
            0.05,
            tuple(n for n in study.budget.lengths if n <= 8),
        ),
    ):
        pairs = [
            problem.but(length=n, tied=tied)
            .escape(d, rate, study.budget.replicas, 6_000_000, study.seeds[0] + tied)
            .times[:, 0]
            for n in lengths
            for tied in (False, True)
        ]

        each = [float(np.median(pairs[2 * i]) / np.median(pairs[2 * i + 1])) for i in range(len(lengths))]
        far, found = farthest(pairs, lengths)
        for n, gain in zip(lengths, each, strict=True):
            study.keep("gains", law=name, length=n, value=gain)
        note = f"the length farthest from 1, L {lengths[far]}, is judged; gains " + ", ".join(
            f"{g:.2f} at L {n}" for n, g in zip(lengths, each, strict=True)
        )
        text = f"d {d}, rate {rate}, {study.budget.replicas} replicas"
        rows.append(study.row(name, found, condition=problem.link, budget=text, note=note))
    for tied in (True, False):
        times = CANCELLING.but(tied=tied).escape(400, 0.05, 64, 30_000, study.seeds[0]).times[:, 0]
        found = share(int(np.isfinite(times).sum()), 64)
        name, text = "cancel-tied" if tied else "cancel-untied", "d 400, rate .05, 30000 steps, 64 replicas"
        rows.append(study.row(name, found, condition="z1 - z2", budget=text, note="n counts replicas"))
    return rows


def farthest(pairs: Sequence[np.ndarray], lengths: Sequence[float | int]) -> tuple[int, Interval]:
    """Which gain (ratio of two samples' medians) lies farthest from its length, as a share of it, with its interval.

    The interval has the level at which those of all gains hold at once, for the farthest of several is farther than
    its truth.
    """
    each = [
        middle(top) / middle(bottom) / n
        for top, bottom, n in zip(pairs[::2], pairs[1::2], lengths, strict=True)
    ]
    far = max(range(len(lengths)), key=lambda i: abs(each[i] - 1))
    level = 1 - (1 - LEVEL) / len(lengths)
    return far, resampled(lambda m: m[0] / m[1] / lengths[far], pairs[2 * far : 2 * far + 2], level=level)


RULES = {"rule-equal": lambda n: 1.0, "rule-root": math.sqrt, "rule-linear": float}
BEST = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)


def rules(study: Study) -> list[Row]:
    """Which rule for the rates gives which power of L: the gain at SIE 2 under four of them."""
    lengths, d, base, replicas = (1, 2, 4), 100, 0.02, study.budget.replicas

    def wait(length: int, tied: bool, rate: float) -> np.ndarray:
        problem = SQUARE.but(length=length, tied=tied)
        return problem.escape(d, rate, replicas, 400_000, study.seeds[0] + tied).times[:, 0]

    def exponent(samples: list[np.ndarray]) -> Interval:
        return resampled(lambda m: slope(lengths, [m[2 * i] / m[2 * i + 1] for i in range(3)]), samples)

    untied = {n: wait(n, False, base) for n in lengths}
    rows = []
    for name, rule in RULES.items():
        found = exponent([x for n in lengths for x in (untied[n], wait(n, True, base * rule(n)))])
        text = f"d {d}, untied rate {base}, L 1, 2, 4, {replicas} replicas"
        rows.append(study.row(name, found, condition=name, budget=text))
    best = {(n, tied): _best(wait, n, tied) for n in lengths for tied in (False, True)}
    found = exponent([best[n, tied][1] for n in lengths for tied in (False, True)])
    note = "best rates untied/tied " + ", ".join(
        f"{best[n, False][0]}/{best[n, True][0]} at L {n}" for n in lengths
    )
    note += "; the paper's L^2 rests on a tied rate L times the untied one, which rates chosen by speed do not show"
    return [
        *rows,
        study.row("rule-best", found, condition="rule-best", budget=f"d {d}, rates {BEST}", note=note),
    ]


def _best(
    wait: Callable[[int, bool, float], np.ndarray], length: int, tied: bool
) -> tuple[float, np.ndarray]:
    """The rate with the shortest median wait, and its waits; the grid is gone up until the median has doubled."""
    times: dict[float, np.ndarray] = {}
    for rate in BEST:
        times[rate] = wait(length, tied, rate)
        if middle(times[rate]) > 2 * min(map(middle, times.values())):
            break
    best = min(times, key=lambda rate: middle(times[rate]))
    return best, times[best]


def staircase(study: Study) -> list[Row]:
    """Order of tokens with and without the easy term."""
    d, rate = 200, 0.02
    stairs = STAIRS.escape(d, rate, study.budget.replicas, 300_000, study.seeds[0], by_token=True)
    control = CONTROL.escape(d, rate, study.budget.replicas, 300_000, study.seeds[0], by_token=True)
    text = f"d {d}, rate {rate}, threshold .4, {study.budget.replicas} replicas"
    order = resampled(lambda m: m[1] / m[0], [stairs.times[:, 0], stairs.times[:, 1]])
    jump = resampled(lambda m: m[1] / m[0], [stairs.times[:, 1], control.times[:, 1]])
    medians = [found.median(token) for found in (stairs, control) for token in (0, 1)]
    note = "medians {:.0f} and {:.0f}, control {:.0f} and {:.0f}".format(*medians)
    return [
        study.row("stairs-order", order, condition=STAIRS.link, budget=text, note=note),
        study.row("stairs-control", jump, condition=CONTROL.link, budget=text, note=note),
    ]
