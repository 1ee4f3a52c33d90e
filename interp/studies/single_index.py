"""Study: how long SGD waits before it finds the direction of a sequence single-index model (Arnaboldi et al.).

Owns the claims and what is measured for each. Times are counted in steps of batch 1, thresholds are on overlaps; rows
without sampling error carry equal bounds. What the rows do not show: theorems are about d to infinity, and finite
dimensions bend every exponent, so asymptotic exponents stand in notes and are never judged.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from interp.studies.ledger import Claim, Criterion, Ledger, Row, Scale
from interp.studies.single_index_chains import (
    CANCELLING,
    CONTROL,
    CUBIC,
    LINEAR,
    SQUARE,
    STAIRS,
    Problem,
    resampled,
    scaling,
    semantic_share,
    slope,
)
from probes.stats import Interval, share
from tasks.links import parse_link
from tasks.theory.direct import simulate_net_direct
from tasks.theory.hermite import information_exponent
from tasks.theory.phase import regime
from tasks.theory.reduced import Setting
from tasks.theory.single_index import (
    attention_student,
    flatness,
    opposite,
    population_loss,
    positional_semantic,
    taylor,
)

NAME = "single-index"
P = "Arnaboldi et al. 2506.02651"
OURS = "none stated (found on this scale)"
ONE_EXACT = Criterion("all of them (a share of 1)", lambda v: v == 1.0)
COVERS = Criterion("distance from 0 to the interval of the difference is 0", lambda v: v <= 0.0)
EXAMPLES = (
    ("sum(z)", 3, 1), ("z1*z2", 2, 2), ("He1(z1)*He4(z2)+He2(z3)*He2(z4)", 4, 4), ("He2(z1)*He3(z2)", 2, 5),
    ("sum(He2(z))", 3, 2), ("He4(z1)+He4(z2)", 2, 4), ("z1*z2*z3", 3, 3), ("z1+z1*z2", 2, 1),
    ("z1+z1*z2+z1*z2*z3", 3, 1), ("z1-z2", 2, 1), ("(z1^2-z2^2)/sqrt(2)", 2, 2),
)  # fmt: skip
CLAIMS = {
    claim.id: claim
    for claim in (
        Claim("exponents", "The information exponent of every example link", f"{P} section 3", "1 to 5", ONE_EXACT,
              "share of examples"),
        Claim("one-law", "The reduced chain and d-dimensional SGD wait equally long", f"{P} section 2", "equal in law",
              Criterion.within(0.8, 1.25), "ratio of medians"),
        Claim("slope-1", "SIE 1: tau grows like d", f"{P} Thm 1", "1", Criterion.within(0.95, 1.1), "log-log slope"),
        Claim("slope-2", "SIE 2: tau grows like d log d", f"{P} Thm 1", "1", Criterion.within(0.93, 1.08),
              "slope of tau/log(sqrt(d)/2)"),
        Claim("slope-3", "SIE 3: tau grows like d^2", f"{P} Thm 1", "2", Criterion.within(1.8, 2.5), "log-log slope"),
        Claim("gain-1", "SIE 1, equal rates: tying gains a factor L", f"{P} Fig. 8", "L", Criterion.within(0.85, 1.15),
              "gain / L"),
        Claim("gain-2", "SIE 2, equal rates: tying gains a factor L", f"{P} Fig. 7", "L", Criterion.within(0.85, 1.15),
              "gain / L"),
        Claim("rule-equal", "SIE 2, equal rates: the gain is L^1", f"{P} Thm 2", "1", Criterion.within(0.8, 1.2),
              "exponent of L"),
        Claim("rule-root", "SIE 2, tied rate sqrt(L) times the untied: the gain is L^1.5", f"{P} Thm 2", "1.5",
              Criterion.within(1.3, 1.7), "exponent of L"),
        Claim("rule-linear", "SIE 2, tied rate L times the untied: the gain is L^2", f"{P} Fig. 3", "2",
              Criterion.within(1.8, 2.2), "exponent of L"),
        Claim("rule-best", "SIE 2, each network at its best rate: the gain is L^2", f"{P} Fig. 3", "2",
              Criterion.within(1.8, 2.2), "exponent of L"),
        Claim("cancel-tied", "z1 - z2: the tied network learns nothing", f"{P} App. E.4", "0", Criterion.below(0.12),
              "share escaped"),
        Claim("cancel-untied", "z1 - z2: the untied network learns", f"{P} App. E.4", "1", Criterion.above(0.85),
              "share escaped"),
        Claim("stairs-order", "Staircase: token 1 is found before token 2", "authors' code", OURS,
              Criterion.above(1.0), "tau_2 / tau_1"),
        Claim("stairs-control", "Without the easy term the wait for token 2 jumps", "authors' code", OURS,
              Criterion.above(2.0), "control tau_2 / tau_2"),
        Claim("turn", "a = 1: the steepest way out of the origin turns positional", f"{P} Fig. 5", "0.64",
              Criterion.within(0.63, 0.65), "omega"),
        Claim("levels", "a = 1: semantic and positional minimum are equally deep beyond the turn", f"{P} Fig. 4",
              "semantic global at .67", Criterion.within(0.67, 0.8), "omega"),
        Claim("ends-semantic", "d = 100, omega .5: SGD ends in the semantic minimum", f"{P} Fig. 12", "1",
              Criterion.above(0.9), "share"),
        Claim("ends-positional", "d = 100, omega .75: SGD ends in the positional minimum", f"{P} Fig. 12", "0",
              Criterion.below(0.25), "share semantic"),
        Claim("sharper", "d = 1000: the transition is steeper, P(semantic) at .6 minus at .7", f"{P} Figs. 5, 12",
              "steeper than d = 100", Criterion.above(0.5), "difference of shares"),
        Claim("misaligned", "a^2 = .5776, omega .95: unique semantic minimum, positional escape", f"{P} Figs. 4, 13",
              "misaligned", ONE_EXACT, "regime found"),
        Claim("pe-lowers", "Encodings lower the flatness of 4/3 + He4(z1) + 2 He4(z2) from 4 to 2", f"{P} Fig. 2",
              "4 to 2, escaping", Criterion.within(-0.31, -0.28), "H_ee"),
        Claim("pe-keeps", "Encodings do not help He4(z1) + He4(z2): no way down at order 2", f"{P} Fig. 1", "stays 4",
              Criterion.above(0.0), "smallest curvature"),
        Claim("speed", "One step of 48 replicas at L = 4 in the reduced chain", "this project", "60",
              Criterion.below(60.0), "microseconds"),
        Claim("bridge-times", "Emergence steps are the first-crossing times of the overlaps", "this project", OURS,
              Criterion.below(0.05), "worst relative error of a median"),
        Claim("bridge-slope-1", "SIE 1: the emergence steps scale as tau does", f"{P} Thm 1", "1",
              Criterion.within(0.95, 1.1), "log-log slope"),
        Claim("bridge-slope-2", "SIE 2: the emergence steps scale as tau does", f"{P} Thm 1", "1",
              Criterion.within(0.93, 1.08), "slope of tau/log(sqrt(d)/2)"),
        Claim("bridge-gap-1", "SIE 1: slopes of emergence steps and crossing times agree", "this project", OURS, COVERS,
              "distance"),
        Claim("bridge-gap-2", "SIE 2: slopes of emergence steps and crossing times agree", "this project", OURS, COVERS,
              "distance"),
        Claim("ordinary-runs", "Runs in ordinary folders emerge when the reduced chain escapes", "this project", OURS,
              Criterion.within(0.5, 2.0), "ratio of medians"),
        Claim("attention-length", "One ordinary attention layer waits for L tokens as a tied net does, not an untied",
              f"{P} Thm 2, SIE 1", "0 tied, 1 untied", Criterion.below(0.5), "exponent of L"),
    )
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Budget:
    """Replicas and dimensions of a scale."""

    replicas: int
    linear: tuple[int, ...]
    square: tuple[int, ...]
    cubic: tuple[int, ...]
    lengths: tuple[int, ...]
    semantic: int
    wide: bool
    runs: int


BUDGETS = {
    "quick": Budget(144, (100, 400, 1600), (200, 400, 800, 1600), (25, 50, 100), (1, 2, 4, 8), 96, False, 6),
    "cpu": Budget(192, (100, 400, 1600, 6400), (200, 400, 800, 1600, 3200), (25, 50, 100, 200), (1, 2, 4, 8, 16), 96,
                  True, 12),
    "paper": Budget(256, (100, 400, 1600, 6400, 25600), (200, 400, 800, 1600, 3200, 6400), (25, 50, 100, 200, 400),
                    (1, 2, 4, 8, 16, 32), 256, True, 24),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Bench:
    """A study under way: its scale, seed, folder and what it says meanwhile. `curves` fill the figures."""

    scale: Scale
    seed: int
    out: Path
    say: Callable[[str], None]
    curves: dict[str, list[dict]] = dataclasses.field(default_factory=dict)

    def row(self, name: str, found: Interval, *, arm: str, budget: str, note: str = "") -> Row:
        """The ledger's row of an interval."""
        return CLAIMS[name].measured(
            found.value,
            found.low,
            found.high,
            found.n,
            arm=arm,
            budget=budget,
            command=self.command,
            note=note,
        )

    def exact(self, name: str, value: float, *, arm: str, budget: str, note: str = "") -> Row:
        """The ledger's row of a figure without sampling error."""
        return self.row(name, Interval(value, value, value, 1, "exact"), arm=arm, budget=budget, note=note)

    @property
    def command(self) -> str:
        """What to type to measure the rows again."""
        return f"interp study {NAME} --scale {self.scale}"

    def keep(self, curve: str, **point: object) -> None:
        """One point of a figure."""
        self.curves.setdefault(curve, []).append(point)


def run(scale: Scale, out: Path, say: Callable[[str], None], seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale. `seeds` gives the one seed of the chains (0); ordinary runs stay in `out`."""
    from interp.studies import single_index_bridge as bridge
    from interp.studies.single_index_figures import write_figures

    chosen = (0,) if seeds is None else tuple(seeds)
    bench, budget = Bench(scale, chosen[0], out, say), BUDGETS[scale]
    parts = (closed_forms, transition, waits, gains, rules, staircase, speed)
    rows: list[Row] = []
    for part in (*parts, bridge.emergence, bridge.ordinary_runs, bridge.attention):
        say(f"{NAME}: {part.__name__.replace('_', ' ')}")
        rows += part(bench, budget)
    say(f"{NAME}: figures")
    write_figures(bench.curves, out / f"figures-{scale}.html")
    order = list(CLAIMS)
    return Ledger(NAME, scale, chosen, tuple(sorted(rows, key=lambda row: order.index(row.id))))


def closed_forms(bench: Bench, _: Budget) -> list[Row]:
    """Exponents, Hessians, minima, regimes: quadrature alone."""
    right = [information_exponent(parse_link(text, n), n).order == order for text, n, order in EXAMPLES]
    trace, helped = attention_student("trace", 2), parse_link("4/3 + He4(z1) + 2*He4(z2)", 2)
    curvature = taylor(helped, trace, opposite(2), 2).hessian
    orders = [flatness(helped, trace, pattern).order for pattern in (np.zeros(2), opposite(2))]
    unhelped = flatness(parse_link("He4(z1)+He4(z2)", 2), trace, opposite(2))
    found = regime(0.95, 0.76)
    return [
        bench.exact("exponents", float(np.mean(right)), arm="quadrature", budget=f"{len(EXAMPLES)} links"),
        bench.exact("turn", _root(_turn, 0.0, 1.0), arm="quadrature", budget="Hermite coefficients to order 2",
                    note="the page's 17-node finite differences give .639; 33 nodes move them to this value"),
        bench.exact("levels", _root(_level, 0.5, 1.0), arm="quadrature", budget="17 nodes an axis"),
        bench.exact("misaligned", float(found == "unique semantic minimum, misaligned dynamics"), arm="quadrature",
                    budget="polar grid 17 x 33, 11 nodes", note=found),
        bench.exact("pe-lowers", float(curvature[0, 0]), arm="quadrature", budget="40 nodes an axis",
                    note=f"H_mm {curvature[1, 1]:.1e}; flatness {orders[0]} without, {orders[1]} with encodings"),
        bench.exact("pe-keeps", unhelped.form[2, 0] * 2, arm="quadrature", budget="40 nodes an axis",
                    note=f"order {unhelped.order} exists but does not descend"),
    ]  # fmt: skip


def _turn(omega: float) -> float:
    h = taylor(positional_semantic(omega, 1.0), attention_student("identity", 2), opposite(2), 2).hessian
    return float(h[0, 0] - h[1, 1])


def _level(omega: float) -> float:
    losses = [
        population_loss(
            positional_semantic(omega, 1.0), attention_student("identity", 2), opposite(2), *at
        ).value
        for at in ((1, 0), (0, 1))
    ]
    return losses[0] - losses[1]


def _root(change: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls through 0 between `low` and `high` does so, by bisection."""
    for _ in range(30):
        centre = (low + high) / 2
        low, high = (centre, high) if change(centre) > 0 else (low, centre)
    return (low + high) / 2


def transition(bench: Bench, budget: Budget) -> list[Row]:
    """P(semantic) against omega."""
    for omega in (0.5, 0.6, 0.64, 0.68, 0.75):
        found = semantic_share(omega, 100, budget.semantic, 40_000, bench.seed)
        bench.keep("semantic", d=100, omega=omega, value=found.value, low=found.low, high=found.high)
    low, high = bench.curves["semantic"][0], bench.curves["semantic"][-1]
    text = f"{budget.semantic} replicas, d 100, rate .1"
    rows = [
        bench.row(name, Interval(at["value"], at["low"], at["high"], budget.semantic, "Clopper-Pearson"),
                  arm="reduced chain", budget=text, note="n counts replicas")
        for name, at in (("ends-semantic", low), ("ends-positional", high))
    ]  # fmt: skip
    if not budget.wide:
        need = f"--scale cpu: d = 1000, {BUDGETS['cpu'].semantic} replicas, about 10 minutes"
        return [*rows, CLAIMS["sharper"].not_testable(would_need=need, command=bench.command)]
    n = budget.semantic
    ends = [semantic_share(omega, 1000, n, 400_000, bench.seed) for omega in (0.6, 0.7)]
    for omega, found in zip((0.6, 0.7), ends, strict=True):
        bench.keep("semantic", d=1000, omega=omega, value=found.value, low=found.low, high=found.high)
    gap = Interval(
        ends[0].value - ends[1].value, ends[0].low - ends[1].high, ends[0].high - ends[1].low, n, "bounds"
    )
    note = "conservative bounds: differences of the ends of two Clopper-Pearson intervals; n counts replicas"
    return [*rows, bench.row("sharper", gap, arm="reduced chain", budget=f"{n} replicas, d 1000", note=note)]


def waits(bench: Bench, budget: Budget) -> list[Row]:
    """Escape times against the dimension, and reduced against direct."""
    square = SQUARE.but(length=3)
    setting = Setting(64, 0.1, 0.5, 1 / 8)
    direct = simulate_net_direct(square.net(), setting, 64, 30_000, bench.seed + 1).times[:, 0]
    reduced = square.escape(64, 0.1, 400, 30_000, bench.seed).times[:, 0]
    ratio = resampled(lambda m: m[0] / m[1], [reduced, direct])
    rows = [bench.row("one-law", ratio, arm="SIE 2, d 64, L 3, rate .1", budget="400 and 64 replicas")]
    orders: list[tuple[str, int, Problem, tuple[int, ...], Callable[[int], float]]] = [
        ("slope-1", 1, LINEAR, budget.linear, lambda d: 0.1),
        ("slope-2", 2, SQUARE, budget.square, lambda d: 0.05),
        ("slope-3", 3, CUBIC, budget.cubic, lambda d: 0.15 / math.sqrt(d)),
    ]
    for name, order, problem, sizes, rate in orders:
        times = [_wait(bench, name, problem, d, rate(d), budget.replicas) for d in sizes]
        found = resampled(scaling(sizes, order), times)
        censored = max(float(np.isinf(t).mean()) for t in times)
        law = f"asymptotically {max(order - 1, 1)}{' with log d' if order == 2 else ''}"
        note = f"{law}; censored at most {censored:.0%}; n counts replicas a dimension"
        text = f"d {', '.join(map(str, sizes))}; {budget.replicas} replicas"
        rows.append(bench.row(name, found, arm=problem.link, budget=text, note=note))
    return rows


def _wait(bench: Bench, name: str, problem: Problem, d: int, rate: float, replicas: int) -> np.ndarray:
    found = problem.escape(d, rate, replicas, 3_000_000, bench.seed)
    predicted = problem.net().landscape.escape_time(d, rate, 1 / math.sqrt(d), problem.threshold)
    bench.keep("waits", law=name, d=d, value=found.median(), predicted=predicted)
    return found.times[:, 0]


def gains(bench: Bench, budget: Budget) -> list[Row]:
    """tau_untied / tau_tied at equal rates, and a link that the tied network cannot learn."""
    rows = []
    for name, problem, d, rate, lengths in (
        ("gain-1", LINEAR, 400, 0.1, budget.lengths),
        ("gain-2", SQUARE, 200 if budget.wide else 100, 0.05, tuple(n for n in budget.lengths if n <= 8)),
    ):
        pairs = [
            problem.but(length=n, tied=tied)
            .escape(d, rate, budget.replicas, 2_000_000, bench.seed + tied)
            .times[:, 0]
            for n in lengths
            for tied in (False, True)
        ]

        each = [float(np.median(pairs[2 * i]) / np.median(pairs[2 * i + 1])) for i in range(len(lengths))]
        far = max(range(len(lengths)), key=lambda i: abs(each[i] / lengths[i] - 1))
        worst = pairs[2 * far : 2 * far + 2]
        found = resampled(lambda m, n=lengths[far]: m[0] / m[1] / n, worst)
        for n, gain in zip(lengths, each, strict=True):
            bench.keep("gains", law=name, length=n, value=gain)
        note = f"the length farthest from 1, L {lengths[far]}, is judged; gains " + ", ".join(
            f"{g:.2f} at L {n}" for n, g in zip(lengths, each, strict=True)
        )
        text = f"d {d}, rate {rate}, {budget.replicas} replicas"
        rows.append(bench.row(name, found, arm=problem.link, budget=text, note=note))
    for tied in (True, False):
        times = CANCELLING.but(tied=tied).escape(400, 0.05, 64, 30_000, bench.seed).times[:, 0]
        found = share(int(np.isfinite(times).sum()), 64)
        name, text = "cancel-tied" if tied else "cancel-untied", "d 400, rate .05, 30000 steps, 64 replicas"
        rows.append(bench.row(name, found, arm="z1 - z2", budget=text, note="n counts replicas"))
    return rows


RULES = {"rule-equal": lambda n: 1.0, "rule-root": math.sqrt, "rule-linear": float}
BEST = (0.05, 0.1, 0.2, 0.3, 0.4)


def rules(bench: Bench, budget: Budget) -> list[Row]:
    """Which rule for the rates gives which power of L: the gain at SIE 2 under four of them."""
    lengths, d, base, replicas = (1, 2, 4), 100, 0.02, budget.replicas

    def wait(length: int, tied: bool, rate: float) -> np.ndarray:
        problem = SQUARE.but(length=length, tied=tied)
        return problem.escape(d, rate, replicas, 400_000, bench.seed + tied).times[:, 0]

    def exponent(samples: list[np.ndarray]) -> Interval:
        return resampled(lambda m: slope(lengths, [m[2 * i] / m[2 * i + 1] for i in range(3)]), samples)

    untied = {n: wait(n, False, base) for n in lengths}
    rows = []
    for name, rule in RULES.items():
        found = exponent([x for n in lengths for x in (untied[n], wait(n, True, base * rule(n)))])
        text = f"d {d}, untied rate {base}, L 1, 2, 4, {replicas} replicas"
        rows.append(bench.row(name, found, arm=name, budget=text))
    best = {(n, tied): _best(wait, n, tied) for n in lengths for tied in (False, True)}
    found = exponent([best[n, tied][1] for n in lengths for tied in (False, True)])
    note = "best rates untied/tied " + ", ".join(
        f"{best[n, False][0]}/{best[n, True][0]} at L {n}" for n in lengths
    )
    note += "; the paper's L^2 rests on a tied rate L times the untied one, which rates chosen by speed do not show"
    return [*rows, bench.row("rule-best", found, arm="rule-best", budget=f"d {d}, rates {BEST}", note=note)]


def _best(
    wait: Callable[[int, bool, float], np.ndarray], length: int, tied: bool
) -> tuple[float, np.ndarray]:
    times = {rate: wait(length, tied, rate) for rate in BEST}
    rate = min(times, key=lambda r: float(np.median(times[r])))
    return rate, times[rate]


def staircase(bench: Bench, budget: Budget) -> list[Row]:
    """Order of tokens with and without the easy term."""
    d, rate = 200, 0.02
    stairs = STAIRS.escape(d, rate, budget.replicas, 300_000, bench.seed, by_token=True)
    control = CONTROL.escape(d, rate, budget.replicas, 300_000, bench.seed, by_token=True)
    text = f"d {d}, rate {rate}, threshold .4, {budget.replicas} replicas"
    order = resampled(lambda m: m[1] / m[0], [stairs.times[:, 0], stairs.times[:, 1]])
    jump = resampled(lambda m: m[1] / m[0], [stairs.times[:, 1], control.times[:, 1]])
    medians = [found.median(token) for found in (stairs, control) for token in (0, 1)]
    note = "medians {:.0f} and {:.0f}, control {:.0f} and {:.0f}".format(*medians)
    return [
        bench.row("stairs-order", order, arm=STAIRS.link, budget=text, note=note),
        bench.row("stairs-control", jump, arm=CONTROL.link, budget=text, note=note),
    ]


def speed(bench: Bench, _: Budget) -> list[Row]:
    """Steps a second of the reduced chain, and the ratio to d-dimensional SGD at d = 1000."""
    setting, net = Setting(1000, 0.01, 0.5, 1 / math.sqrt(1000)), SQUARE.net()
    each = [_pace(lambda: SQUARE.escape(1000, 0.01, 48, 4000, bench.seed), 4000) for _ in range(4)][1:]
    direct = _pace(lambda: simulate_net_direct(net, setting, 48, 40, bench.seed), 40)
    found = Interval(float(np.median(each)), min(each), max(each), 3, "range")
    note = f"d-dimensional SGD at d 1000: {direct:.0f} microseconds a step, {direct / found.value:.0f} times as long"
    note += "; processor time"
    return [bench.row("speed", found, arm="SIE 2, L 4", budget="3 times 4000 steps, 48 replicas", note=note)]


def _pace(job: Callable[[], object], steps: int) -> float:
    """Microseconds of processor time a step."""
    begin = time.process_time()
    job()
    return (time.process_time() - begin) / steps * 1e6
