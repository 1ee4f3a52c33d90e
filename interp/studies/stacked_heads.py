"""Study: stacked attention heads and their implicit curriculum (Musat, arXiv 2411.12118).

Owns what is trained and measured for each claim. Every run is an ordinary run of a sweep under `out`:
finished ones are reused, broken-off ones resumed. Symbols, number of chains, widths and budgets are this
project's choice (the paper states none of the first two); "not learned" always means within the budget of the
row. Intervals are over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from interp.config import RunConfig
from interp.develop import curriculum
from interp.develop.roles import roles
from interp.run import Run, load
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.stacked_heads_claims import CLAIMS
from interp.sweep.engine import run_sweep
from interp.sweep.plan import SweepPlan, cells
from interp.train import train
from probes.stats import Interval, share, student
from tasks import UserError
from tasks.theory.closure import earliest_layers

NAME = "stacked-heads"
HOPS = ("hop 1", "hop 2", "hop 3")
READS_LINK = ("query -> link_1", "query -> link_2")
AHEAD, STRONG, VERY_STRONG = "link_k -> link_k+1", 0.8, 0.9
Say = Callable[[str], None]


@dataclass(frozen=True)
class Budget:
    """Seeds and steps of a scale. `order_seeds`: those of the arm on which the order is counted; the others
    have `seeds`. `shape`: changes to every run (the tests' toy size).
    """

    order_seeds: int
    seeds: int
    ic: int
    final: int
    gaussian: int
    gaussian_final: int
    mix: int
    depth: int
    cells: tuple[tuple[int, int], ...]
    workers: int = 2
    shape: tuple[tuple[str, Any], ...] = ()


QUICK = Budget(8, 3, 1500, 6000, 2500, 5000, 3000, 3000, ((1, 2), (2, 6)))
WIDE = tuple((layers, hops) for layers in (1, 2, 3, 4) for hops in range(1, 7))
CPU = Budget(16, 8, 2000, 20_000, 5000, 20_000, 6000, 6000, WIDE)
BUDGETS = {"quick": QUICK, "cpu": CPU, "paper": replace(CPU, order_seeds=64, seeds=64)}


@dataclass(frozen=True)
class Bench:
    """Where a study's runs are, and how its rows say what they come from."""

    scale: Scale
    out: Path
    say: Say
    budget: Budget
    shift: int = 0

    def runs(self, arm: str, seeds: int, settings: dict[str, Any]) -> list[Run]:
        """The runs of an arm, trained if they are not there yet. Raises UserError when one of them fails."""
        self.say(f"{NAME}: {arm}, {seeds} seeds, {settings['train.steps']} steps")
        merged = {"train.save_every": 500, **settings, **dict(self.budget.shape)}
        chosen = tuple(range(self.shift, self.shift + seeds))
        plan = SweepPlan(config="retrieval", set=merged, seeds=chosen, analyses=("scores", "heads"))
        if self.budget.workers == 1:
            return [_in_process(self.out / arm / cell.name, cell.config) for cell in cells(plan)]
        found = run_sweep(plan, self.out / arm, workers=self.budget.workers)
        for name, reason in found.failures.items():
            raise UserError(f"{found.path / name}: {reason}")
        return found.runs

    def row(self, claim: str, found: Interval, arm: str, budget: str, note: str = "") -> Row:
        """A ledger row from an interval."""
        command = f"interp study {NAME} --scale {self.scale}"
        return CLAIMS[claim].measured(
            found.value, found.low, found.high, found.n, arm=arm, budget=budget, command=command, note=note
        )


def _in_process(path: Path, config: RunConfig) -> Run:
    """Train one run in this process: a single worker needs no cluster."""
    train(config, path)
    return load(path)


def run(scale: Scale, out: Path, say: Say, seeds: Sequence[int] | None = None) -> Ledger:
    """The study at a scale. `seeds` (consecutive numbers) replaces the scale's own choice in every arm."""
    budget, shift = BUDGETS[scale], 0
    if seeds is not None:
        budget, shift = replace(budget, order_seeds=len(seeds), seeds=len(seeds)), min(seeds)
    return measure(Bench(scale, out, say, budget, shift))


def measure(bench: Bench) -> Ledger:
    """The ledger of a bench."""
    ic = bench.runs("ic", bench.budget.order_seeds, {"train.steps": bench.budget.ic})
    rows = [
        *_order(bench, ic),
        *_heads(bench, ic),
        *_reach(bench, ic),
        *_depth(bench),
        *_curricula(bench, ic),
    ]
    need = CLAIMS["paper-size"].not_testable(
        would_need="preset stacked-heads-paper, 24,000 steps of 0.8 s, six hours on one core",
        command="interp train stacked-heads-paper",
    )
    seeds = tuple(range(bench.shift, bench.shift + bench.budget.order_seeds))
    return Ledger(NAME, bench.scale, seeds, (*rows, need))


def _events(runs: Sequence[Run]) -> pd.DataFrame:
    return curriculum.events({run.name: run.emergence().table for run in runs})


def _order(bench: Bench, runs: Sequence[Run]) -> list[Row]:
    """Order of hops and of heads, and the loss's drops."""
    found = _events(runs)
    table = curriculum.order(found, HOPS).set_index("metric")
    steps = {"arm": "discrete, every hop in the target", "budget": f"{bench.budget.ic} steps of 128 prompts"}
    medians = curriculum.over_seeds(found).set_index("event")
    said = ", ".join(f"{hop} {medians.loc[hop, 'value']:.0f}" for hop in HOPS)
    counts = [len(curriculum.drops(*_total_loss(run))) for run in runs]
    return [
        bench.row("curriculum-solves", _interval(table.loc["every event emerged"]), **steps),
        bench.row(
            "fixed-order", _interval(table.loc["strictly in order"]), **steps, note=f"median onsets: {said}"
        ),
        bench.row("fixed-order-tau", _interval(table.loc["kendall tau"]), **steps),
        bench.row("head-order", _first_before(found), **steps),
        bench.row(
            "stages", share(counts.count(len(HOPS)), len(counts)), **steps, note=f"drops a run: {counts}"
        ),
    ]


def _interval(row: Any) -> Interval:
    return Interval(row["value"], row["ci_low"], row["ci_high"], int(row["n"]), "")


def _first_before(found: pd.DataFrame) -> Interval:
    """Share of runs in which link 1 has a head before link 2 has one (neither: not counted as before)."""
    if not set(READS_LINK) <= set(found["event"]):
        return share(0, found["run"].nunique())
    pair = curriculum.precedence(found, READS_LINK).iloc[0]
    return share(int(pair["before"]), int(pair["n"]))


def _total_loss(run: Run) -> tuple[list[int], list[float]]:
    """Held-out loss summed over hops, by checkpoint."""
    table = run.scores().table
    loss = table[(table["metric"] == "loss") & (table["control"] == "none")].groupby("step")["value"].sum()
    return [int(step) for step in loss.index], loss.tolist()


def _heads(bench: Bench, runs: Sequence[Run]) -> list[Row]:
    """What the heads of the last checkpoint look at, and whether they matter."""
    tops = [_tops(run) for run in runs]
    planned = [ahead > STRONG and one > VERY_STRONG and two > VERY_STRONG for ahead, one, two, _, _ in tops]
    merging = [solved and third < 0.5 for *_, third, solved in tops]
    tables = [roles(run.model(), run.task) for run in runs]
    held = pd.concat(tables)
    held = held[held["role"] != ""]
    words = {"arm": "discrete, every hop in the target", "budget": f"{bench.budget.ic} steps of 128 prompts"}
    verdicts = ", ".join(f"{n} {name}" for name, n in held["verdict"].value_counts().items())
    matter = (
        share(int((held["verdict"] != "idle").sum()), len(held))
        if len(held)
        else Interval(math.nan, math.nan, math.nan, 0, "no head has a role")
    )
    note = f"n counts heads of {len(runs)} runs: {verdicts}"
    return [
        bench.row("retrieval-heads", share(sum(planned), len(planned)), **words),
        bench.row("merging-circuit", share(sum(merging), len(merging)), **words),
        bench.row("heads-matter", matter, **words, note=note),
    ]


def _tops(run: Run) -> tuple[float, float, float, float, bool]:
    """Best scores at the end: first-layer look-ahead, later layers on links 1 and 2, any head on link 3; hop
    3 solved?
    """
    table = run.heads(steps="last").table
    table = table[table["control"] == "none"]

    def best(metrics: Sequence[str], layers: slice) -> float:
        rows = table[table["metric"].isin(metrics) & table["layer"].between(layers.start, layers.stop)]
        return float(rows["value"].max()) if len(rows) else 0.0

    ahead = ("link_1 -> link_2", "link_2 -> link_3", "rival link -> next")
    return (
        best(ahead, slice(0, 0)), best(READS_LINK[:1], slice(1, 99)), best(READS_LINK[1:], slice(1, 99)),
        best(("query -> link_3",), slice(0, 99)), _accuracy(run)[-1] > VERY_STRONG,
    )  # fmt: skip


def _accuracy(run: Run) -> list[float]:
    """Accuracy of every read at the last checkpoint."""
    table = run.scores(steps="last").table
    return table[(table["metric"] == "accuracy") & (table["control"] == "none")]["value"].tolist()


def _reach(bench: Bench, runs: Sequence[Run]) -> list[Row]:
    """Does a linear probe of the query's stream read a symbol above guessing before the closure simulator
    allows?
    """
    early, largest = [], 0.0
    for run in runs:
        task: Any = run.task
        legal = earliest_layers(task.hops)
        guess = task.elimination().value.tolist()
        table = run.probe(steps="last").table
        table = table[(table["control"] == "none") & (table["metric"] == "accuracy")]
        excess = [
            (row.value - guess[k]) / (1 - guess[k])
            for k, read in enumerate(task.reads)
            for row in table[table["position"] == read].itertuples()
            if _depth_of(str(row.site)) < legal[k + 1]
        ]
        early.append(max(excess) > 0.5)
        largest = max(largest, *excess)
    note = f"largest accuracy above guessing at a layer too early: {largest:.2f} of the way to 1"
    words = {"arm": "discrete, every hop in the target", "budget": f"{bench.budget.ic} steps of 128 prompts"}
    return [bench.row("information-reach", share(sum(early), len(early)), **words, note=note)]


def _depth_of(site: str) -> int:
    """Layers of attention before a residual site."""
    return 0 if site.endswith("resid_pre") else int(site.split(".")[1]) + 1


def _depth(bench: Bench) -> list[Row]:
    """Hops solved at the end of training against the bound, over cells of layers and hops."""
    steps, beyond, solved, second = bench.budget.depth, [], [], []
    for layers, hops in bench.budget.cells:
        settings = {"train.steps": steps, "model.n_layers": layers, "task.hops": hops}
        runs = bench.runs(f"depth-L{layers}-D{hops}", bench.budget.seeds, settings)
        found = [_solved(run) for run in runs]
        solved.append(f"L={layers} D={hops}: {[int(sum(each)) for each in found]}")
        reach = (3**layers - 1) // 2
        beyond += [any(each[reach:]) for each in found if hops > reach]
        second += [_accuracy(run)[1] for run in runs] if (layers, hops) == (1, 2) else []
    words = {"budget": f"{steps} steps of 128 prompts"}
    note = f"hops solved a run: {'; '.join(solved)}"
    return [
        bench.row(
            "depth-necessity", share(sum(beyond), len(beyond)), "cells beyond the bound", **words, note=note
        ),
        bench.row("one-layer", student(second), "L=1, D=2", **words),
    ]


def _solved(run: Run) -> list[bool]:
    """Which hops are answered more than half-way from the best guess without following a link to always."""
    task: Any = run.task
    guess = task.elimination().value.tolist()
    return [a > g + (1 - g) / 2 for a, g in zip(_accuracy(run), guess, strict=True)]


def _curricula(bench: Bench, ic: Sequence[Run]) -> list[Row]:
    """Targets without, with another, and with a maimed curriculum."""
    b = bench.budget
    gaussian = {"task.symbols": "gaussian"}
    final = bench.runs("final", b.seeds, {"train.steps": b.final, "task.target": "final"})
    plain = bench.runs("gaussian-ic", b.seeds, {"train.steps": b.gaussian, **gaussian})
    settings = {"train.steps": b.gaussian_final, "task.target": "final", **gaussian}
    blind = bench.runs("gaussian-final", b.seeds, settings)
    mix = bench.runs("mix", b.seeds, {"train.steps": b.mix, "task.target": "mix"})
    maimed = bench.runs("no-hop-1", b.seeds, {"train.steps": b.mix, "task.weights": (0.0, 1.0, 1.0)})
    budget = f"{b.gaussian_final} steps of 128 prompts"
    note = f"{_survival(blind, HOPS[2])}; with every hop in the target: {_survival(plain, HOPS[2])}"
    return [
        bench.row("final-discrete", student([_accuracy(run)[-1] for run in final]), "discrete, last hop only",
                  f"{b.final} steps of 128 prompts", _survival(final, HOPS[2])),
        bench.row("final-gaussian", _came(blind, HOPS[2]), "gaussian, last hop only", budget, note),
        bench.row("mix", _came(mix, "asked hop"), "discrete, one announced hop a prompt",
                  f"{b.mix} steps of 128 prompts", _survival(mix, "asked hop")),
        bench.row("dropped-hop", _delay(maimed, ic), "discrete, weights 0, 1, 1",
                  f"{b.mix} steps of 128 prompts", _survival(maimed, HOPS[1])),
    ]  # fmt: skip


def _came(runs: Sequence[Run], event: str) -> Interval:
    """Share of runs in which an event came for good."""
    return share(int((_onsets(runs, event) < math.inf).sum()), len(runs))


def _onsets(runs: Sequence[Run], event: str) -> np.ndarray:
    found = _events(runs)
    return found[found["event"] == event]["step"].to_numpy(dtype=float, na_value=math.inf)


def _survival(runs: Sequence[Run], event: str) -> str:
    """The survival curve in words."""
    steps = curriculum.survival(_events(runs), event)
    jumps = steps[steps["value"].diff().fillna(0) > 0]
    said = ", ".join(f"{row.value:.0%} by step {row.step}" for row in jumps.itertuples())
    return f"{event} learned: {said or 'by no run'} (watched to step {int(steps['budget'].iloc[0])})"


def _delay(maimed: Sequence[Run], whole: Sequence[Run]) -> Interval:
    """Onset of hop 2 with the first hop's loss dropped, over the median onset with it, seed by seed; a run in
    which it never came counts as later than all.
    """
    usual = float(np.median(_onsets(whole, HOPS[1])))
    if not math.isfinite(usual):
        return Interval(
            math.nan, math.nan, math.nan, len(maimed), "hop 2 is not learned in the arm to compare with"
        )
    return curriculum.censored_median(_onsets(maimed, HOPS[1]) / usual)
