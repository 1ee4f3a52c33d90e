"""Study: do language models answer multi-hop questions from a prompt, and by which heads (Musat, arXiv 2411.12118)?

Without a model of the caller's it trains a small GPT-2 and a small GPT-NeoX on these prompts and asks them; with one it
asks that, and over its revisions if any are named. Rows are a model's: n counts prompts, and nothing is said of models
that were not asked. Tables of every cell, head and path are kept beside the ledger.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from interp.importers.hf import import_hf
from interp.run import Run, load
from interp.studies.ledger import Ledger, Row, Scale
from interp.studies.retrieval_prompts import measure as measure
from interp.studies.retrieval_prompts.claims import CLAIMS, EXPLORATORY
from interp.studies.retrieval_prompts.facts import fact_rows
from interp.studies.retrieval_prompts.small_models import SmallModel, make_small
from probes.stats import Interval

NAME = "retrieval-prompts"
HOPS = {"quick": (1, 2, 3), "cpu": (1, 2, 3, 4, 5, 6), "paper": (1, 2, 3, 4, 5, 6, 8)}
# densest where the answers of one hop and of two come to all names
_BEGIN = (0, 50, *range(100, 501, 20), 600, 800)
KEEP = {
    "quick": _BEGIN,
    "cpu": (*_BEGIN, 1200, 1500, 2000, 3000, *range(4000, 12_001, 1000)),
    "paper": (*_BEGIN, 1200, 1500, 2000, 3000, *range(4000, 40_001, 2000)),
}
# of each family one seed whose earlier trainings were looked at, and one that was not
SEEDS = {"gpt2": (1, 7), "gpt-neox": (0, 7)}
TAUGHT = "; its texts ask one hop first, which alone may settle this"
UNANSWERED = "two-hop questions are not answered, so there is no behaviour to take away"
Say = Any


@dataclasses.dataclass(frozen=True)
class Asked:
    """One model of the study: where it is, which revisions, and what its rows call it."""

    name: str
    source: str
    revisions: tuple[str, ...]
    budget: str
    taught: str = ""  # what the training itself settles of the order over hops


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where a study's runs and tables are, and how its rows say what they come from."""

    scale: Scale
    out: Path
    say: Say
    shots: int = 0

    def row(self, asked: Asked, claim: str, found: Interval, note: str = "") -> Row:
        """A ledger row of one model."""
        own = dataclasses.replace((CLAIMS | EXPLORATORY)[claim], id=f"{claim}, {asked.name}")
        return own.measured(
            found.value, found.low, found.high, found.n,
            arm=asked.name, budget=asked.budget, command=self.command(asked), note=note,
        )  # fmt: skip

    def command(self, asked: Asked) -> str:
        """The command that measures the row again."""
        model = "" if asked.name.startswith("small-") else f" --model {asked.source}"
        return f"interp study {NAME} --scale {self.scale}{model}"

    def keep(self, table: pd.DataFrame, asked: Asked, what: str) -> None:
        """Write a table beside the ledger."""
        self.out.mkdir(parents=True, exist_ok=True)
        table.to_parquet(self.out / f"{asked.name.replace('/', '--')}-{what}.parquet")


def run(
    scale: Scale,
    out: Path,
    say: Say,
    model: str | None = None,
    revisions: Sequence[str] = (),
    small: dict[str, SmallModel] | None = None,
    shots: int = 0,
) -> Ledger:
    """The study of one model (with its revisions), or of the small ones (`small`: others than the study's own).

    Raises UserError as the import does.
    """
    bench = Bench(scale, out, say, shots)
    if model is not None:
        asked = [
            Asked(
                Path(model).name if Path(model).is_dir() else model, model, tuple(revisions), "as published"
            )
        ]
    else:
        asked = [_trained(bench, name, settings) for name, settings in (small or small_models(scale)).items()]
    rows = [row for each in asked for row in _rows(bench, each)]
    seeds = (
        (0,) if model is not None else sorted({each.seed for each in (small or small_models(scale)).values()})
    )
    return Ledger(NAME, scale, tuple(seeds), tuple(rows))


def small_models(scale: Scale) -> dict[str, SmallModel]:
    """The study's own models at a scale; a smaller scale is the beginning of a larger one's training."""
    return {
        f"small-{family}-{seed}": SmallModel(family=family, seed=seed, keep=KEEP[scale])  # type: ignore[arg-type]
        for family, seeds in SEEDS.items()
        for seed in seeds
    }


def _trained(bench: Bench, name: str, settings: SmallModel) -> Asked:
    bench.say(f"{NAME}: {name}, {settings.keep[-1]} updates")
    folder = make_small(settings, bench.out / "models" / name)
    revisions = tuple(f"step{step}" for step in settings.keep)
    return Asked(
        name,
        str(folder),
        revisions,
        f"{settings.keep[-1]} updates of {settings.batch} prompts, seed {settings.seed}",
        TAUGHT if settings.stages[0][0] == 1 else "",
    )


def _rows(bench: Bench, asked: Asked) -> list[Row]:
    """Every claim on one model."""
    runs = [_imported(bench, asked, hops) for hops in (1, 2)]
    bench.say(f"{NAME}: {asked.name}, accuracies")
    task: Any = runs[1].task
    cells = measure.accuracies(runs[1].model("last"), task, HOPS[bench.scale])
    bench.keep(cells, asked, "accuracies")
    return [
        *_accuracy(bench, asked, cells),
        *_heads(bench, asked, runs[1], cells),
        *fact_rows(bench, asked, runs[1], "" if _cell(cells, 2).low > 0 else UNANSWERED),
        _order(bench, asked, runs),
    ]


def _imported(bench: Bench, asked: Asked, hops: int) -> Run:
    """The run of a model and of questions of so many hops."""
    folder = bench.out / "runs" / asked.name.replace("/", "--") / f"hops-{hops}"
    import_hf(asked.source, folder, revisions=asked.revisions, hops=hops, shots=bench.shots)
    return load(folder)


def _cell(cells: pd.DataFrame, hops: int, metric: str = "accuracy", form: str = "equations") -> Interval:
    """One accuracy, less chance."""
    rows = cells[(cells["form"] == form) & (cells["hops"] == hops) & (cells["metric"] == metric)]
    if rows.empty or not rows["n"].iloc[0]:
        return _nothing()
    one = rows.iloc[0]
    shift = one["chance"]
    return Interval(
        one["value"] - shift, one["ci_low"] - shift, one["ci_high"] - shift, int(one["n"]), "Clopper-Pearson"
    )


def _nothing() -> Interval:
    return Interval(math.nan, math.nan, math.nan, 0, "not measured")


def _accuracy(bench: Bench, asked: Asked, cells: pd.DataFrame) -> list[Row]:
    """How many hops the model answers."""
    solved = cells[(cells["metric"] == "accuracy") & (cells["n"] > 0)]
    said = "; ".join(
        f"{form}: " + ", ".join(f"{row.hops} hops {row.value:.2f}" for row in rows.itertuples())
        for form, rows in solved.groupby("form", sort=False)
    )
    whole = solved[solved["form"] == "equations"]
    few, most = int(whole["hops"].min()), int(whole["hops"].max())
    a, b = _cell(cells, few), _cell(cells, most)
    fall = Interval(a.value - b.value, a.low - b.high, a.high - b.low, a.n, "from both intervals")
    return [
        bench.row(asked, "above-chance", _cell(cells, 1), f"equations; all forms: {said}"),
        bench.row(asked, "two-hops", _cell(cells, 2), "equations"),
        bench.row(asked, "generation", _cell(cells, 1, "generated"), "equations; greedy, whole vocabulary"),
        bench.row(asked, "falls", fall, f"equations, {few} hops beside {most}"),
    ]


def _heads(bench: Bench, asked: Asked, run: Run, cells: pd.DataFrame) -> list[Row]:
    """Retrieval heads of two-hop questions, and what depends on them."""
    bench.say(f"{NAME}: {asked.name}, heads")
    model, task = run.model("last"), run.task
    heads = measure.retrieval_heads(model, task)  # type: ignore[arg-type]
    bench.keep(heads, asked, "heads")
    one, two = measure.best_head(heads, 1), measure.best_head(heads, 2)
    rows = [
        bench.row(asked, f"head-hop-{hop}", Interval(h["argmax"], h["ci_low"], h["ci_high"], int(h["n"]), "share"),
                  f"{measure.label(h)}, attention {h['attention']:.2f}; {_on_fact(heads, hop)}")
        for hop, h in ((1, one), (2, two))
    ]  # fmt: skip
    names = len(task.interface.outputs)
    copied = Interval(two["copies"], two["copies"], two["copies"], names, "counted")
    rows.append(
        bench.row(asked, "copies", copied, f"{measure.label(two)}, {names} names; guess {1 / names:.2f}")
    )
    if not _cell(cells, 2).low > 0:
        return [*rows, *(bench.row(asked, claim, _nothing(), UNANSWERED) for claim in ("needed", "stacked"))]
    rows.append(bench.row(asked, "needed", measure.needed(model, task, two), measure.label(two)))  # type: ignore[arg-type]
    return [*rows, _stacked(bench, asked, run, model)]


def _on_fact(heads: pd.DataFrame, hop: int) -> str:
    """The head that looks at a hop's sentence most often, be it at the value or not."""
    best = measure.best_head(heads, hop, "fact")
    return f"anywhere in that fact: {measure.label(best)} {best['fact']:.2f}"


def _stacked(bench: Bench, asked: Asked, run: Run, model: Any) -> Row:
    """The strongest path between candidate heads: chosen on some prompts, measured on others."""
    task: Any = run.task
    named = measure.candidates(run)
    paths = measure.told(model, task, sorted(set(named.values())))
    if paths.empty:
        return bench.row(asked, "stacked", _nothing(), f"candidates {named}: none reads another")
    bench.keep(paths, asked, "paths")
    best = paths.loc[paths["value"].idxmax()]
    again = measure.told(model, task, [best["sender"], best["receiver"].partition(".")[0]], seed=1)
    row = again[(again["receiver"] == best["receiver"]) & (again["pair"] == best["pair"])].iloc[0]
    found = Interval(row["value"], row["ci_low"], row["ci_high"], int(row["n"]), "bootstrap")
    roles = {head: ", ".join(r for r, h in named.items() if h == head) for head in named.values()}
    sender, receiver = best["sender"], best["receiver"]
    said = f"{sender} ({roles[sender]}) -> {receiver} ({roles[receiver.partition('.')[0]]})"
    return bench.row(asked, "stacked", found, f"{said}, {best['pair']}; chosen on other prompts")


def _order(bench: Bench, asked: Asked, runs: list[Run]) -> Row:
    """When one-hop and two-hop questions began to be answered."""
    if len(runs[0].steps) < 3:
        own = dataclasses.replace(CLAIMS["order"], id=f"order, {asked.name}")
        need = "several training revisions (--revisions step0 --revisions step1000 ...), one download each"
        return own.not_testable(would_need=need, command=bench.command(asked))
    onsets = [_onset(run) for run in runs]
    (one, low1, high1), (two, low2, high2) = onsets
    last = runs[0].steps[-1]
    if math.isnan(one):
        return bench.row(asked, "order", _nothing(), f"one-hop questions not answered by step {last}")
    if math.isnan(two):
        found = Interval(last / one, math.nan, math.nan, 1, "a bound")
        return bench.row(
            asked,
            "order",
            found,
            f"hop 1 at step {one:.0f}, hop 2 not by step {last}: at least{asked.taught}",
        )
    found = Interval(two / one, low2 / high1, high2 / low1, 1, "from both onsets")
    return bench.row(asked, "order", found, f"hop 1 at step {one:.0f}, hop 2 at step {two:.0f}{asked.taught}")


def _onset(run: Run) -> tuple[float, float, float]:
    """Onset of the accuracy of a run's one read, with its interval; NaN where it has not emerged."""
    table = run.emergence().table
    rows = table[table["metric"] == "accuracy"].astype({"step": float, "ci_low": float, "ci_high": float})
    one = rows.iloc[0]
    return float(one["step"]), float(one["ci_low"]), float(one["ci_high"])
