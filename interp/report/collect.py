"""From a run to its page: measures what is missing, gathers tables, attention and provenance, and draws nothing.

With `circuit_view` and `words` the part of the report that knows a `Run`; all behind `RunReport` sees plain data only.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from interp.analysis import Analysis, Progress
from interp.develop.draws import CurveDraws
from interp.develop.emergence import emergence_table
from interp.develop.heads import HeadScores, scorable
from interp.develop.overlaps import Overlaps, measurable
from interp.develop.readouts import Readouts, readable
from interp.develop.scores import Scores
from interp.importers.hf_files import Reference
from interp.report.circuit_view import circuit_of, circuit_table, why_not
from interp.report.model import Attention, Fact, Link, RunReport
from interp.report.page import render, write
from interp.report.words import verdict
from interp.run import Run

LEVELS = ("floor", "chance")
LABELS = {
    "attention": "attention mass",
    "accuracy": "accuracy (share of prompts)",
    "mse": "error / label variance",
    "overlap": "overlap of the weights, absolute",
}


def write_report(runs: Sequence[Run], out: Path, progress: Progress | None = None) -> Path:
    """Write the page of one or several runs. Raises UserError when a run has no checkpoint, or a damaged one."""
    return write(render([collect(run, progress) for run in runs]), out)


def collect(run: Run, progress: Progress | None = None) -> RunReport:
    """Everything a page says about a run, measured at every checkpoint from shared forward passes."""
    has_heads = scorable(run.config.model, run.task)
    asked: list[Analysis] = [Scores(), CurveDraws(), *([HeadScores()] if has_heads else [])]
    asked += [Readouts()] if readable(run.config.model) else []
    asked += [Overlaps()] if measurable(run.config.model, run.task) else []
    tables = run.tables(asked, "all", progress)
    scores, heads, overlaps = tables["scores"], tables.get("heads"), tables.get("overlaps")
    emergence = emergence_table(scores, heads, tables["draws"], overlaps)
    curves = scores[scores["control"] == "none"]
    circuit = None if heads is None else circuit_of(run, heads, _prompt(run), progress)
    return RunReport(
        title=run.name,
        verdict=verdict(run, scores, heads, emergence, circuit_table(run, progress) if circuit else None),
        steps=run.steps,
        facts=facts(run),
        metrics=_losses(run.metrics()),
        scores=curves if overlaps is None else pd.concat([curves, overlaps], ignore_index=True),
        levels=scores[scores["control"].isin(LEVELS)].rename(columns={"control": "level"}),
        heads=None if heads is None else _everywhere(heads, run.steps),
        probes=_pooled(tables["probe"]) if "probe" in tables else None,
        emergence=emergence if len(emergence) else None,
        attention=attention(run) if has_heads else (),
        circuit=circuit,
        lower_is_better=(
            "loss",
            "mse",
            *(() if run.task.score_name == "accuracy" else (run.task.score_name,)),
        ),
        labels={**LABELS, "loss": _loss_label(run)},
        sources=_sources(run),
        missing=_missing(run, has_heads, circuit is not None),
    )


def _prompt(run: Run) -> Any:
    return run.task.sample(run.config.data_seed, "report", 0, 1)


def _loss_label(run: Run) -> str:
    return "loss (nats)" if run.task.score_name == "accuracy" else "squared error / label variance"


def _losses(metrics: pd.DataFrame) -> pd.DataFrame:
    """One row a logged step: the training loss, and the held-out loss averaged over reads where it was taken."""
    loss = metrics[metrics["metric"] == "loss"]
    wide = loss.pivot_table(index="step", columns="split", values="value").reset_index()
    return wide.rename(columns={"train": "loss", "eval": "held-out loss"}).rename_axis(columns=None)


def _everywhere(table: pd.DataFrame, steps: Sequence[int]) -> pd.DataFrame:
    """Rows that belong to no checkpoint stand at the first and the last, so that they can be drawn as levels."""
    level = table[table["step"].isna() & table["layer"].notna()]
    ends = [level.assign(step=step) for step in sorted({steps[0], steps[-1]})]
    return pd.concat([table[table["step"].notna()], *ends], ignore_index=True).astype({"step": int})


def _pooled(table: pd.DataFrame) -> pd.DataFrame:
    """Readouts shared over the reads, as a page shows them: error for real targets, accuracy for symbols."""
    if "readout" not in table:
        return table
    chosen = table[(table["readout"] == "all") & (table["metric"] == "mse") & (table["position"] == "all")]
    return chosen.drop(columns=["readout", "note"], errors="ignore")


def attention(run: Run) -> tuple[Attention, ...]:
    """Attention of every head on one prompt at every checkpoint, one checkpoint in memory at a time."""
    batch = _prompt(run)
    model, patterns = None, []
    for step in run.steps:
        model = run.released().model(step, into=model)
        names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.config.n_layers)]
        with torch.no_grad(), run.held(model, batch, step):
            _, cache = model.run_with_cache(batch.inputs, names_filter=names)
        patterns.append(torch.stack([cache[name][0] for name in names]).float())
    links = [
        Link(relation.name, int(dest), int(source))
        for relation in run.task.relations(batch)
        for dest, source in zip(relation.dest[0], relation.source[0], strict=True)
        if relation.name.startswith("query")
    ]
    settings: Any = run.config.model
    return (
        Attention(
            name="one prompt",
            tokens=tuple(run.task.labels(batch)[0]),
            steps=run.steps,
            pattern=torch.stack(patterns).numpy(),
            signed=settings.attention != "softmax",
            causal=settings.mask == "causal",
            links=tuple(links),
        ),
    )


def facts(run: Run) -> tuple[Fact, ...]:
    """Where the page's numbers come from."""
    config, last = run.config, run.steps[-1]
    rows = [
        *(Fact("task", name, str(value)) for name, value in _short(config.settings["task"])),
        *(Fact("model", name, str(value)) for name, value in _short(config.settings["model"])),
        Fact("model", "parameters", f"{run.parameters:,}"),
        *_training(run),
        Fact("training", "checkpoints", str(len(run.steps))),
        Fact("seeds", "initialisation", str(config.init_seed)),
        Fact("seeds", "data", str(config.data_seed)),
        Fact("hashes", "settings", run.folder.config_hash),
        Fact("hashes", f"weights at step {last}", run.folder.weights_hash(last)),
        Fact("versions", "algoscope", version("algoscope")),
        Fact("versions", "torch", version("torch")),
        Fact("versions", "transformer-lens", version("transformer-lens")),
        Fact("versions", "python", platform.python_version()),
        Fact("commands", "check every file", f"interp verify {run.path}"),
        Fact("commands", "this page", f"interp report {run.path}"),
    ]
    return tuple(rows)


def _short(settings: dict[str, Any]) -> list[tuple[str, Any]]:
    """Settings that fit a line: no tables within the table (a lexicon, a language model's own configuration)."""
    return [(k, v) for k, v in settings.items() if v is not None and not (isinstance(v, dict) and len(v) > 3)]


def _training(run: Run) -> list[Fact]:
    """How the weights were trained, where that is known."""
    config, train = run.config, run.config.train
    if config.model.kind == "language-model":
        where = Reference.unpack(run.folder.weights(run.steps[-1]), str(run.path))
        return [
            Fact("training", "took place elsewhere; weights by reference to", where.source),
            Fact("training", f"revision at step {run.steps[-1]}", where.revision or "the only one"),
            *(Fact("hashes", name, value) for name, value in where.files.items()),
        ]
    rate = (
        f"{train.muon_lr:g} (hidden matrices), {train.lr:g} (the rest)"
        if train.optimiser == "muon"
        else f"{train.lr:g}"
    )
    return [
        Fact("training", "optimiser", train.optimiser),
        Fact("training", "learning rate", rate),
        Fact("training", "batch", str(train.batch)),
        Fact("training", "steps", str(train.steps)),
    ]


def _sources(run: Run) -> dict[str, str]:
    commands = {
        "circuit": "circuit",
        "scores": "scores",
        "heads": "heads",
        "probes": "probe",
        "emergence": "emergence",
    }
    tables = {"circuit": "edges", "scores": "scores", "heads": "heads", "probes": "probe"}
    return {
        section: f"interp {command} {run.path}"
        + (f"  ->  analysis/{tables[section]}.parquet" if section in tables else "")
        for section, command in commands.items()
    } | {"metrics": f"{run.path}/metrics.jsonl"}


def _missing(run: Run, has_heads: bool, has_circuit: bool) -> dict[str, str]:
    said = {} if has_circuit else {"circuit": why_not(run)}
    if not has_heads:
        said["heads"] = said["attention"] = (
            "this model has no attention heads, or the task names no relations to score"
        )
    if run.task.score_name != "accuracy":
        said["emergence"] = (
            "no read has an accuracy whose rise could be dated, and no head passed its threshold"
        )
    return said
