"""Provenance of a page's numbers: settings, seeds, hashes, versions; the command and table behind each figure."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from interp.analysis.entry import Entry
from interp.analysis.kept import opened
from interp.analysis.registry import build, entries, entry
from interp.io.hf_reference import Reference
from interp.io.weight_files import WeightFiles
from interp.report import evidence
from interp.report.coarse_view import sources_among
from interp.report.model import MAKES, Fact
from interp.run import Run


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
        Fact("hashes", "run", run.identity),
        Fact("hashes", "settings", run.folder.config_hash),
        Fact("hashes", f"weights at step {last}", run.weights_hash(last)),
        Fact("versions", "algoscope", version("algoscope")),
        Fact("versions", "torch", version("torch")),
        Fact("versions", "transformer-lens", version("transformer-lens")),
        Fact("versions", "python", platform.python_version()),
        Fact("commands", "check every file", f"interp verify {shlex.quote(str(run.path))}"),
        Fact("commands", "this page", f"interp report {shlex.quote(str(run.path))}"),
    ]
    return tuple(rows)


def _short(settings: dict[str, Any]) -> list[tuple[str, Any]]:
    """Settings that fit a line: no tables within the table (a lexicon, a language model's own configuration)."""
    told = [(k, v) for k, v in settings.items() if v is not None and v != []]
    return [(k, v) for k, v in told if not (isinstance(v, dict) and len(v) > 3)]


def _adopted(run: Run) -> list[Fact]:
    """Where an adopted model's weights lie, and that their training is not known here."""
    files = WeightFiles.behind(run.folder.weights(run.steps[-1]))
    places = ["this run"] if files is None else list(files.weight_files)
    return [Fact("training", "took place elsewhere; last weights in", place) for place in places]


def _training(run: Run) -> list[Fact]:
    """How the weights were trained, where that is known."""
    config, train = run.config, run.config.train
    if config.model.elsewhere and run.folder.weightless:
        return [Fact("training", "took place elsewhere", "weights are not in this copy")]
    if config.model.kind == "adopted":
        return _adopted(run)
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
    parent = config.parent
    onward = [] if parent is None else [Fact("training", f"on from step {parent.step} of run", parent.run)]
    return [
        *onward,
        Fact("training", "optimiser", train.optimiser),
        Fact("training", "learning rate", rate),
        Fact("training", "batch", str(train.batch)),
        Fact("training", "steps", str(train.steps)),
    ]


def made(run: Run, measured: Sequence[str], has_attention: bool) -> tuple[tuple[str, str, str], ...]:
    """For every figure: its section, the command that reproduces its numbers, and the table that holds them.

    `measured` are the names of the registered analyses that the page ran.
    """
    path = shlex.quote(str(run.path))
    among = sources_among(run)
    rows = [
        (each.section or each.name, among["command"], f"analysis/{among['table']}.parquet")
        if among and each.name == "circuit"
        else (each.section or each.name, _command(run, each), f"analysis/{_table(run, each)}.parquet")
        for each in map(entry, measured)
    ]
    if _trained_here(run):
        rows.insert(0, ("learning", f"interp train {path}/config.json --out {path}", "metrics.jsonl"))
    if has_attention:
        rows.append(("attention", f"interp report {path}", "report.html"))
    return (*rows, *evidence.grids_made(run))


def _trained_here(run: Run) -> bool:
    """Whether training makes the metrics: not of a recording, and not of a copy without weights, which it refuses."""
    return not run.folder.recorded and not run.folder.weightless


def _command(run: Run, each: Entry) -> str:
    """What makes a table again: of the checkpoints it holds, where these are not all."""
    words = each.words(shlex.quote(str(run.path)))
    held = [step for step in _held(run, each) if step in run.steps]  # some may be thinned since
    return words if not held or held == list(run.steps) else f"{words} --steps {','.join(map(str, held))}"


def _held(run: Run, each: Entry) -> list[int]:
    """The checkpoints that are in an analysis' table with its usual settings; none where it has no such."""
    return [] if "*" in each.file else sorted(opened(run, build(each.name).of(run.config)).hashes)


def _table(run: Run, each: Entry) -> str:
    """What an analysis' table is called: by its name where its settings are the usual ones also for this run."""
    return each.file if "*" in each.file else build(each.name).of(run.config).table_name


def sources(run: Run) -> dict[str, str]:
    """The command and the table under each section's figure, `MAKES` between; of several the first that is registered.

    No arrow stands between the two: pasted into a shell it would empty the table.
    """
    path = shlex.quote(str(run.path))
    found = (
        {}
        if not _trained_here(run)
        else {"metrics": f"interp train {path}/config.json --out {path}{MAKES}metrics.jsonl"}
    )
    if among := sources_among(run):
        one = f"{among['command']}{MAKES}analysis/{among['table']}.parquet"
        found |= dict.fromkeys(("circuit", "faithfulness"), one)
    for each in entries():
        if (
            each.section
            and each.applies_to(run.config.model, run.task)
            and ("*" in each.file or _held(run, each))
        ):
            found.setdefault(
                each.section, f"{_command(run, each)}{MAKES}analysis/{_table(run, each)}.parquet"
            )
    return found
