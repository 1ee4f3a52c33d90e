"""The sentences at the top of a page: only what its tables hold, each figure with its reference level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd

from interp.analysis.conclusion import Sentence, paragraph
from interp.analysis.registry import conclusion_of
from interp.causal.conclusions import paths
from interp.causal.report_lines import heads_in
from interp.heads.ablation_conclusions import agreement, mechanism, roles
from interp.report.coarse_view import is_among, named
from interp.run import Run
from tasks import Task
from tasks.errors import UserError

TASKS = {
    "retrieval": "It is given a shuffled list of pairs and has to follow a chain of {hops} of them from a queried key",
    "regression": "It is given examples (x, y) of a function it has never seen and has to predict the next y",
    "prompts": "It is given facts in words and has to follow a chain of {hops} of them from the name in its question",
    "markov": "It is given the symbols of a Markov chain that it has never seen and has to predict the next one",
    "khop": "It is given letters and how many hops to follow (up to {hops}), and has to name the letter they lead to",
    "induction": "It is given random tokens and then the same tokens again, and has to predict each next one",
    "single-index": "It is given a sequence whose label depends on one hidden direction and has to predict that label",
}
ELSEWHERE = ("adopted", "language-model")  # models whose training has no seed here
Tables = Mapping[str, pd.DataFrame | None]
CONCLUDED = ("algorithms", "causal-probe", "heads", "circuit", "strategies", "emergence")


def verdict(run: Run, tables: Tables) -> str:
    """What was trained and how well it performs, relative to chance or the Bayes risk."""
    task = TASKS.get(run.task.kind, "Its task is {kind}")
    asked = task.format(kind=run.task.kind, hops=getattr(run.task, "hops", ""))
    return f"{asked}. {_trained(run)} {paragraph(conclusion_of('scores', tables['scores']))}"


def answers(run: Run, tables: Tables) -> dict[str, str]:
    """Which circuit does it, in which order its parts emerged, how certain that is: the conclusions of the tables."""
    concluded = {name: conclusion_of(name, tables.get(name)) for name in CONCLUDED}
    table = tables.get("circuit")
    led = [] if table is None else paths(table)
    first = 2 if is_among(table) else 1  # what 0 stands for goes with the circuit
    tested = [sentence for sentence in concluded["circuit"][first:] if sentence not in led]
    circuit = [
        *_hops(tables),
        *(sentence for name in ("algorithms", "causal-probe", "heads") for sentence in concluded[name]),
        *_needed(tables.get("agreement")),
        *concluded["circuit"][:first],
        *([] if table is None else named(table, tables.get("heads"), run.steps[-1])),
        *led,
    ]
    found = {
        "Which strategy it follows": paragraph(concluded["strategies"]),
        "Which circuit does it": paragraph(circuit),
        "In which order it emerged": paragraph(concluded["emergence"] if len(run.steps) > 1 else []),
        "How certain this is": _certain(run, tables, tested),
    }
    return {question: text for question, text in found.items() if text}


CONCLUSIONS = {  # of a section's figures, by the table that they draw
    "learning": "scores",
    "circuit": "circuit",
    "heads": "heads",
    "emergence": "emergence",
    "probes": "probe",
    "algorithms": "algorithms",
}


def findings(tables: Tables, patched: str = "") -> dict[str, str]:
    """What each section's figures show, in their tables' sentences; `patched` is patching's, concluded elsewhere."""
    found = {
        section: paragraph(conclusion_of(name, tables.get(name))) for section, name in CONCLUSIONS.items()
    }
    return {section: text for section, text in {**found, "patching": patched}.items() if text}


def reasons(task: Task) -> dict[str, str]:
    """Why the task's levels are what they are, by level, where it knows them."""
    found = {}
    for name in ("bayes_risk", "chance"):
        with suppress(UserError):
            found[name] = getattr(task, name)().source
    return found


def _hops(tables: Tables) -> list[Sentence]:
    """How hops are answered; heads that the drawn circuit leaves out are reported apart."""
    table, circuit = tables.get("mechanism"), tables.get("circuit")
    return [] if table is None else mechanism(table, None if circuit is None else heads_in(circuit))


def _needed(table: pd.DataFrame | None) -> list[Sentence]:
    return [] if table is None else roles(table)


def _trained(run: Run) -> str:
    model: Any = run.config.model
    if model.kind == "adopted":
        return (
            f"A {model.n_layers}-layer, {model.n_heads}-head {model.architecture} ({run.parameters:,} parameters) was "
            f"trained elsewhere and adopted as it is{_several(run)}."
        )
    if model.kind == "language-model":
        return (
            f"{model.name}, a {model.n_layers}-layer, {model.n_heads}-head {model.architecture} ({run.parameters:,} "
            f"parameters), was trained elsewhere{_revisions(run)}, prompted here in the form "
            f"{getattr(run.task, 'form', run.task.kind)!r}."
        )
    shape = f"{model.n_layers}-layer " if hasattr(model, "n_layers") else ""
    shape = f"{shape[:-1]}, {model.n_heads}-head " if hasattr(model, "n_heads") else shape
    kind = "attention-only transformer" if getattr(model, "mlp", None) == "none" else model.kind
    return (
        f"A {shape}{kind} ({run.parameters:,} parameters) was trained on it for {run.steps[-1]:,} steps"
        f" with {run.config.train.optimiser}."
    )


def _several(run: Run) -> str:
    return f", with {len(run.steps)} checkpoints" if len(run.steps) > 1 else ""


def _revisions(run: Run) -> str:
    return f"; its checkpoints are {len(run.steps)} revisions" if len(run.steps) > 1 else ""


def _certain(run: Run, tables: Tables, tested: Sequence[Sentence]) -> str:
    """What tests of the circuit report, whether it agrees with attention, which variation the intervals leave out."""
    table = tables.get("agreement")
    agreed = [] if table is None else agreement(table)[:1]
    if run.config.init_seed == run.config.data_seed:
        seeds = f"seed {run.config.seed}"
    else:
        seeds = f"init seed {run.config.init_seed}, data seed {run.config.data_seed}"
    if run.config.model.kind in ELSEWHERE:
        over = (
            "Intervals are over prompts of this one model; another one, trained in the same way, may differ."
        )
    else:
        over = f"Intervals are over prompts of this one run ({seeds}); another seed may show another order."
    return paragraph([*tested, *agreed, Sentence(over)])
