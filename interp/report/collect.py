"""From a run to the data of its page: measures what is missing and gathers tables, attention and provenance.

With `circuit_view`, `evidence`, `provenance` and `words` the part of the report that knows a `Run`; all behind
`RunReport` sees plain data only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from interp.analysis.base import Progress
from interp.analysis.registry import build, entry
from interp.causal.reach import without_dead_rows
from interp.emergence.skills import dated
from interp.heads.heads import has_roles, scorable, unit_of
from interp.heads.mechanism import has_hops
from interp.io.files import make_room
from interp.readouts.probe_interventions import ProbeInterventions
from interp.report import evidence
from interp.report.at_hand import everywhere, optional
from interp.report.circuit_view import circuit_table, drawn_circuit, why_not
from interp.report.coarse_view import is_among
from interp.report.model import DrawnAttention, DrawnLink, RunReport
from interp.report.over_seeds import together
from interp.report.page import render, write
from interp.report.provenance import facts, made, sources
from interp.report.sketch import Sketch, sketch
from interp.report.words import answers, findings, reasons, verdict
from interp.run import Run
from interp.runs.conditions import without_seeds
from interp.runs.names import distinguished
from interp.runs.steps import held
from interp.studies.ledger import Ledger, Measured
from tasks.errors import UserError

Tables = dict[str, pd.DataFrame | None]
LEVELS = ("bayes_risk", "chance")
LABELS = {
    "attention": "attention mass",
    "accuracy": "accuracy (share of prompts)",
    "mse": "error / label variance",
    "overlap": "overlap of the weights, absolute",
}


def write_report(
    runs: Sequence[Run],
    out: Path,
    progress: Progress | None = None,
    ledgers: Sequence[Ledger | Measured] = (),
) -> Path:
    """Write the page of one or several runs, followed by the ledgers of studies.

    Raises UserError when a run has no checkpoint, or a damaged one, and at once when the path cannot be written.
    """
    make_room(out)
    distinguished(runs)
    found = []
    for run in runs:
        with run.computing():
            found.append(collect(run, progress))
    return write(render(found, ledgers, together(found, runs, progress)), out)


def collect(run: Run, progress: Progress | None = None) -> RunReport:
    """Everything a page reports about a run, at every checkpoint there is when this begins, from shared passes."""
    with held(run.folder):
        return _collected(run, progress)


def _collected(run: Run, progress: Progress | None) -> RunReport:
    asked = everywhere(run)
    has_heads = scorable(run.config.model, run.task) and "heads" in asked["heads"]
    lost: dict[str, str] = {}
    analyses = [build(name) for names in asked.values() for name in names]
    measured = run.tables(analyses, "all", progress)
    scores, heads = measured["scores"], measured.get("heads")
    emergence = dated(measured)
    tables: Tables = {**measured, "emergence": emergence, "heads": _nameable(run, heads)}
    drawn = _joined(measured, asked["scores"])
    kept = None if heads is None else optional(run, lambda: circuit_table(run, progress), lost, "circuit")
    circuit = (
        None
        if heads is None
        else optional(
            run, lambda: drawn_circuit(run, kept, heads, scores, _prompt(run), progress), lost, "circuit"
        )
    )
    tables["circuit"] = kept
    if kept is not None and not is_among(kept) and has_roles(run.config.model, run.task):
        agreed = optional(run, lambda: run.agreement(progress=progress).table, lost, "roles")
        tables["agreement"] = agreed
    tables["mechanism"] = _mechanism(run, progress) if has_heads else None
    found, missing, patched = _evidence(run, progress)
    tables["algorithms"] = found["algorithms"]
    tables["causal-probe"] = _moved(run, progress)
    return RunReport(
        title=run.name,
        identity=run.identity,
        verdict=verdict(run, tables),
        answers=answers(run, tables),
        findings=findings({**tables, "filters": found["filters"]}, patched),
        reasons=reasons(run.task),
        sketch=_sketch(run, tables),
        condition=_condition(run),
        outputs=(run.task.kind, *run.task.output_names),
        steps=run.steps,
        facts=facts(run),
        metrics=_losses(run.metrics()),
        scores=drawn[drawn["control"] == "none"].reset_index(drop=True),
        levels=scores[scores["control"].isin(LEVELS)].rename(columns={"control": "level"}),
        heads=_everywhere(_joined(measured, asked["heads"]), run.steps) if asked["heads"] else None,
        probes=_pooled(_joined(measured, asked["probes"])) if asked["probes"] else None,
        emergence=emergence if len(emergence) else None,
        attention=(optional(run, lambda: attention(run), lost, "attention") or ()) if has_heads else (),
        circuit=circuit,
        faithfulness=_judged(kept),
        **found,
        lower_is_better=(
            "loss",
            "mse",
            *(() if run.task.score_name == "accuracy" else (run.task.score_name,)),
        ),
        labels={**LABELS, "loss": _loss_label(run)},
        sources=sources(run),
        made=made(run, [*measured, *_taken(tables, found, circuit is not None)], has_heads),
        missing={**missing, **_missing(run, has_heads, circuit is not None), **lost},
    )


def _joined(measured: Mapping[str, pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """The tables of a section's analyses, one beneath the other."""
    return pd.concat([measured[name] for name in names], ignore_index=True)


def _taken(tables: Tables, found: Tables, drawn: bool) -> list[str]:
    """What was measured at some checkpoints only, by the analyses' names; patching apart (`evidence.grids_made`)."""
    there = [
        name
        for name in ("circuit", "mechanism", "weights", "causal-probe")
        if {**tables, **found}.get(name) is not None
    ]
    matched = ["algorithms", "filters"] if found["algorithms"] is not None else []
    return [*there, *(["edges"] if drawn and not is_among(tables.get("circuit")) else []), *matched]


def _evidence(
    run: Run, progress: Progress | None
) -> tuple[dict[str, pd.DataFrame | None], dict[str, str], str]:
    """The measurements that take longer, why one is not there, and what patching shows in words."""
    grids, no_grids, patched = evidence.patching(run, progress)
    weights, no_weights = evidence.weights(run, progress)
    matches, curves, no_matches = evidence.algorithms(run, progress)
    found = {"patching": grids, "weights": weights, "algorithms": matches, "filters": curves}
    reasons = {"patching": no_grids, "weights": no_weights, "algorithms": no_matches}
    return found, {section: reason for section, reason in reasons.items() if reason}, patched


def _nameable(run: Run, heads: pd.DataFrame | None) -> pd.DataFrame | None:
    """Scores of the heads that text and sketch may name: at positions that can affect an output."""
    if heads is None:
        return None
    return without_dead_rows(heads, run.config.model, run.task, run.task.relations(_prompt(run)))


def _mechanism(run: Run, progress: Progress | None) -> pd.DataFrame | None:
    """How each hop is answered; None for tasks without hops and for attention without a softmax."""
    if not has_hops(run.config.model, run.task):
        return None
    try:
        return run.mechanism("last", progress).table
    except UserError:
        return None


def _moved(run: Run, progress: Progress | None) -> pd.DataFrame | None:
    """Interchange interventions on probe directions at the last checkpoint; None where a run has no such probes."""
    if not entry("causal-probe").applies_to(run.config.model, run.task) or run.interventions_active:
        return None
    try:
        return run.tables([ProbeInterventions()], "last", progress)["causal-probe"]
    except UserError:
        return None


def _sketch(run: Run, tables: Tables) -> Sketch | None:
    batch = _prompt(run)
    scores, emergence = tables["scores"], tables["emergence"]
    assert scores is not None
    assert emergence is not None
    labels = run.task.labels(batch)[0]
    relations, heads, agreed = run.task.relations(batch), tables.get("heads"), tables.get("agreement")
    dated = len(run.steps) > 1
    return sketch(labels, relations, heads, scores, emergence, run.steps[-1], agreed, dated=dated)


def _condition(run: Run) -> str:
    """The settings without the seeds, as one line."""
    return json.dumps(without_seeds(run.config.settings), sort_keys=True)


def _judged(circuit: pd.DataFrame | None) -> pd.DataFrame | None:
    return (
        None
        if circuit is None
        else circuit[
            circuit["metric"].isin(
                ["faithfulness", "completeness", "minimality", "equivalence test", "independence test"]
            )
        ]
    )


def _prompt(run: Run) -> Any:
    return run.task.sample(run.config.data_seed, "report", 0, 1)


def _loss_label(run: Run) -> str:
    if run.task.interface.inputs != "continuous":
        return "loss (nats)"
    return "squared error" if run.task.score_name == "accuracy" else "squared error / label variance"


def _losses(metrics: pd.DataFrame) -> pd.DataFrame | None:
    """One row a logged step: the training loss, and the held-out loss averaged over output positions where logged.

    None for weights that were imported: nothing was logged here.
    """
    loss = metrics[metrics["metric"] == "loss"]
    if loss.empty:
        return None
    wide = loss.pivot_table(index="step", columns="split", values="value").reset_index()
    return wide.rename(columns={"train": "loss", "eval": "held-out loss"}).rename_axis(columns=None)


def _everywhere(table: pd.DataFrame, steps: Sequence[int]) -> pd.DataFrame:
    """Rows that belong to no checkpoint are repeated at the first and the last, so that they draw as levels."""
    level = table[table["step"].isna() & (table["layer"] >= 0)]
    ends = [level.assign(step=step) for step in sorted({steps[0], steps[-1]})]
    return pd.concat([table[table["step"].notna()], *ends], ignore_index=True).astype({"step": int})


def _pooled(table: pd.DataFrame) -> pd.DataFrame:
    """Readouts pooled over output positions, as a page shows them: error for real targets, accuracy for symbols."""
    if table["readout"].isna().all():  # symbols
        return table
    chosen = table[(table["readout"] == "all") & (table["metric"] == "mse") & (table["position"] == "all")]
    return chosen.drop(columns=["readout", "note"], errors="ignore")


def attention(run: Run) -> tuple[DrawnAttention, ...]:
    """Attention of every head on one prompt at every checkpoint, one checkpoint in memory at a time."""
    batch = _prompt(run)
    run.refuse_weightless("attention is read off the model")
    model, patterns = None, []
    for step in run.steps:
        model = run.without_interventions().model(step, into=model)
        names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.config.n_layers)]
        with torch.no_grad(), run.with_interventions(model, batch, step):
            _, cache = model.run_with_cache(batch.inputs, names_filter=names)
        patterns.append(torch.stack([cache[name][0] for name in names]).float())
    links = [
        DrawnLink(relation.name, dest, source)
        for relation in run.task.relations(batch)
        for dest, source in relation.pairs(0)
        if relation.name.startswith("query")
    ]
    settings: Any = run.config.model
    return (
        DrawnAttention(
            name="one prompt",
            tokens=tuple(run.task.labels(batch)[0]),
            steps=run.steps,
            pattern=torch.stack(patterns).numpy(),
            signed=unit_of(settings) != "attention",
            causal=getattr(settings, "mask", "full") == "causal",
            links=tuple(links),
        ),
    )


def _missing(run: Run, has_heads: bool, has_circuit: bool) -> dict[str, str]:
    said = {} if has_circuit else {"circuit": why_not(run)}
    if not has_heads:
        said["heads"] = said["attention"] = (
            "this model has no attention heads, or the task names no relations to score"
            if not run.folder.weightless
            else "this is a copy without its weights, and no complete table of heads lies with it"
        )
    if run.task.score_name != "accuracy":
        said["emergence"] = (
            "no output position has an accuracy whose onset could be dated, and no head passed its threshold"
        )
    return said
