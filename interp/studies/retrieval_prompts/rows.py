"""Rows of the study of prompts on one model: accuracies, retrieval heads and their effects, the order of learning."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pandas as pd

from interp.run import Run
from interp.studies.context import nothing
from interp.studies.ledger import Row
from interp.studies.power import Shares
from interp.studies.retrieval_prompts import measure as measure
from interp.studies.retrieval_prompts.measure_cells import AboveGuess
from interp.studies.retrieval_prompts.rows_common import AskedModel, Study, command, keep, row
from probes.stats import Interval

UNANSWERED = "two-hop questions are not answered, so there is no behaviour to take away"


def cell(cells: pd.DataFrame, hops: int, metric: str = "accuracy", form: str = "equations") -> Interval:
    """One accuracy, less chance."""
    rows = cells[(cells["form"] == form) & (cells["hops"] == hops) & (cells["metric"] == metric)]
    if rows.empty or not rows["n"].iloc[0]:
        return nothing(0, "not measured")
    one = rows.iloc[0]
    shift = one["chance"]
    return Interval(
        one["value"] - shift, one["ci_low"] - shift, one["ci_high"] - shift, int(one["n"]), "Clopper-Pearson"
    )


def accuracy_rows(
    study: Study, asked: AskedModel, cells: pd.DataFrame, form: str = "equations", note: str = ""
) -> list[Row]:
    """How many hops the model answers, in one form; `cells` are those of one number of examples."""
    solved = cells[(cells["metric"] == "accuracy") & (cells["n"] > 0)]
    said = "; ".join(
        f"{name}: " + ", ".join(f"{row.hops} hops {row.value:.2f}" for row in rows.itertuples())
        for name, rows in solved.groupby("form", sort=False)
    )
    whole = solved[solved["form"] == form]
    few, most = int(whole["hops"].min()), int(whole["hops"].max())
    a, b = cell(cells, few, form=form), cell(cells, most, form=form)
    fall = Interval(a.value - b.value, a.low - b.high, a.high - b.low, a.n, "from both intervals")
    all_forms = f"{form}; all forms: {said}" + (f"; {note}" if note else "")

    def above(claim: str, hops: int, words: str, metric: str = "accuracy") -> Row:
        found = cell(cells, hops, metric, form)
        guess = AboveGuess(float(whole["chance"].iloc[0]), found.n)
        return row(study, asked, claim, found, words, guess if found.n else None)

    return [
        above("above-chance", 1, all_forms),
        above("two-hops", 2, form),
        above("generation", 1, f"{form}; greedy, whole vocabulary", "generated"),
        row(study, asked, "falls", fall, f"{form}, {few} hops beside {most}"),
    ]


def heads_rows(study: Study, asked: AskedModel, run: Run, cells: pd.DataFrame) -> list[Row]:
    """Retrieval heads of two-hop questions, and what depends on them."""
    study.progress(f"{asked.name}, heads")
    model, task = run.model("last"), run.task
    heads = measure.retrieval_heads(model, task)  # type: ignore[arg-type]
    keep(study, heads, asked, "heads")
    one, two = measure.best_head(heads, 1), measure.best_head(heads, 2)
    rows = [
        row(study, asked, f"head-hop-{hop}", Interval(h["argmax"], h["ci_low"], h["ci_high"], int(h["n"]), "share"),
                  f"{measure.label(h)}, attention {h['attention']:.2f}; {_on_fact(heads, hop)}",
                  Shares(0.9, 0.3, int(h["n"])))
        for hop, h in ((1, one), (2, two))
    ]  # fmt: skip
    names = len(task.interface.outputs)
    copied = Interval(two["copies"], two["copies"], two["copies"], names, "counted")
    rows.append(
        row(study, asked, "copies", copied, f"{measure.label(two)}, {names} names; guess {1 / names:.2f}")
    )
    if not cell(cells, 2, form=task.form).low > 0:  # type: ignore[attr-defined]
        return [
            *rows,
            *(
                row(study, asked, claim, nothing(0, "not measured"), UNANSWERED)
                for claim in ("needed", "stacked")
            ),
        ]
    rows.append(row(study, asked, "needed", measure.needed(model, task, two), measure.label(two)))  # type: ignore[arg-type]
    return [*rows, _stacked(study, asked, run, model)]


def _on_fact(heads: pd.DataFrame, hop: int) -> str:
    """The head that looks at a hop's sentence most often, be it at the value or not."""
    best = measure.best_head(heads, hop, "fact")
    return f"anywhere in that fact: {measure.label(best)} {best['fact']:.2f}"


def _stacked(study: Study, asked: AskedModel, run: Run, model: Any) -> Row:
    """The strongest path between candidate heads: chosen on some prompts, measured on others."""
    task: Any = run.task
    named = measure.candidates(run)
    paths = measure.interchanged(model, task, sorted(set(named.values())))
    if paths.empty:
        return row(
            study, asked, "stacked", nothing(0, "not measured"), f"candidates {named}: none reads another"
        )
    keep(study, paths, asked, "paths")
    best = paths.loc[paths["value"].idxmax()]
    again = measure.interchanged(model, task, [best["sender"], best["receiver"].partition(".")[0]], seed=1)
    one = again[(again["receiver"] == best["receiver"]) & (again["pair"] == best["pair"])].iloc[0]
    found = Interval(one["value"], one["ci_low"], one["ci_high"], int(one["n"]), "bootstrap")
    roles = {head: ", ".join(r for r, h in named.items() if h == head) for head in named.values()}
    sender, receiver = best["sender"], best["receiver"]
    said = f"{sender} ({roles[sender]}) -> {receiver} ({roles[receiver.partition('.')[0]]})"
    return row(study, asked, "stacked", found, f"{said}, {best['pair']}; chosen on other prompts")


def order_row(study: Study, asked: AskedModel, runs: list[Run]) -> Row:
    """When one-hop and two-hop questions began to be answered."""
    if len(runs[0].steps) < 3:
        own = dataclasses.replace(study.claims["order"], id=f"order, {asked.name}")
        need = "several training revisions (--revisions step0 --revisions step1000 ...), one download each"
        return own.not_testable(would_need=need, command=command(study, asked))
    onsets = [_onset(run) for run in runs]
    (one, low1, high1), (two, low2, high2) = onsets
    last = runs[0].steps[-1]
    if math.isnan(one):
        return row(
            study,
            asked,
            "order",
            nothing(0, "not measured"),
            f"one-hop questions not answered by step {last}",
        )
    if math.isnan(two):
        found = Interval(last / one, math.nan, math.nan, 1, "a bound")
        return row(
            study,
            asked,
            "order",
            found,
            f"hop 1 at step {one:.0f}, hop 2 not by step {last}: at least{asked.taught}",
        )
    found = Interval(two / one, low2 / high1, high2 / low1, 1, "from both onsets")
    return row(
        study, asked, "order", found, f"hop 1 at step {one:.0f}, hop 2 at step {two:.0f}{asked.taught}"
    )


def _onset(run: Run) -> tuple[float, float, float]:
    """Onset of the accuracy of a run's one output, with its interval; NaN where it has not emerged."""
    table = run.emergence().table
    rows = table[table["metric"] == "accuracy"].astype({"step": float, "ci_low": float, "ci_high": float})
    one = rows.iloc[0]
    return float(one["step"]), float(one["ci_low"]), float(one["ci_high"])
