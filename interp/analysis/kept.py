"""The part of an analysis' table that is known: what is kept of it, which rows still hold, and storing what is new.

Rows are kept in `RUN/analysis/NAME.parquet` (or below another folder, `interp.runs.asking`), stamped with the hash of
each checkpoint's weights, of the settings and of code that is not this package's. What a run is called is never kept:
it is put into the rows when they are read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from interp.analysis.base import Accumulator, Analysis
from interp.analysis.cached import chosen, nameless
from interp.analysis.schema import conformed, upgraded
from interp.io.code import Uncacheable, code_hash
from interp.io.former import FORMAT
from interp.io.tables import Stamp, read_table, write_table
from interp.models.build import builder_of
from interp.runs.checkpoints import Checkpoints
from tasks import UserError

APART = ("-without-interventions", "-released")  # today's and the former one
_SAID: set[str] = set()  # what this process has said once


@dataclass
class Job:
    """One analysis with the part of its table that is already known."""

    analysis: Analysis
    code: str | None = ""
    known: pd.DataFrame | None = None
    hashes: dict[int, str] = field(default_factory=dict)
    devices: dict[int, str] = field(default_factory=dict)  # cpu unless said
    fresh: list[pd.DataFrame] = field(default_factory=list)
    untrained: Accumulator | None = None
    begun: bool = False
    bare: bool = False  # of rows that belong to no checkpoint
    device: str = "cpu"  # where it is measured

    def lacking(self, wanted: Mapping[int, str]) -> set[int]:
        """The steps to be measured: those whose weights are not what the kept rows come from, or whose rows come from
        another device, and of a paired analysis those before one that changed, or whose next checkpoint is another one
        now."""
        changed = {
            step
            for step, weights_hash in wanted.items()
            if self.hashes.get(step) != weights_hash or self.devices.get(step, "cpu") != self.device
        }
        if not self.analysis.paired or self.known is None:
            return changed
        found = set(changed)
        for step, following in in_turn(wanted):
            kept = self.known[self.known["step"] == step]
            stride = None if following is None else following - step
            if following in changed or not self.analysis.serves(kept, stride):
                found.add(step)
        return found

    def forget(self, steps: set[int]) -> None:
        """Take the rows of some steps, and those of none, as not known."""
        if self.known is None or not steps:
            return
        left = self.known["step"].notna() & ~self.known["step"].isin(steps)
        self.known = self.known[left] if left.any() else None
        self.hashes = {step: held for step, held in self.hashes.items() if step not in steps}
        self.bare = True


def in_turn(wanted: Iterable[int]) -> list[tuple[int, int | None]]:
    """Every step with the next one asked for."""
    steps = list(wanted)
    return list(zip(steps, [*steps[1:], None], strict=True))


def table_paths(run: Checkpoints, analysis: Analysis) -> tuple[Path, ...]:
    """Where a table is kept, and where else it may lie: what is measured without the interventions of the training lies
    in a table of its own, which before version 0.2 was called "-released"."""
    if run.interventions_active or not run.config.train.clamps:
        return run.tables_at(analysis.table_name)
    own, former = (run.tables_at(analysis.table_name + apart) for apart in APART)
    return (*own, *former)


def opened(run: Checkpoints, analysis: Analysis, steps: Sequence[int] = ()) -> Job:
    """An analysis with the rows that are kept of it and still hold: of these weights, these settings and this code.

    Where the run is asked afresh, rows of `steps` hold only if this asking has measured them.
    """
    code = _code(run, analysis)
    if changed := run.code_changed:
        _say_once(f"{run.path}: {changed}")
    paths, device = table_paths(run, analysis), _device(run, analysis)
    job = Job(analysis, code, device=device)
    for path in paths if code is not None else ():
        found = read_table(path)
        held = found and (found[1].key, found[1].config, found[1].code)
        if found is not None and held == (analysis.key, run.folder.config_hash, code):
            table = conformed(analysis.name, upgraded(nameless(found[0])))
            job = Job(
                analysis, code, table, dict(found[1].checkpoints), dict(found[1].devices), device=device
            )
            break
    if run.asking.fresh:
        job.forget({step for step in steps if (paths[0], step) not in run.asking.measured})
    return job


def _device(run: Checkpoints, analysis: Analysis) -> str:
    """Where an analysis is measured: as asked, or, said once, on the cpu where it runs the model itself or with
    interventions active.
    """
    asked = run.asking.device
    if asked == "cpu" or not (analysis.runs_model or run.interventions_active):
        return asked
    what = "with interventions active" if run.interventions_active else "which runs the model itself"
    _say_once(
        f"{analysis.name}, {what}, is measured on cpu, and its rows say so; --device is for shared passes"
    )
    return "cpu"


def _code(run: Checkpoints, analysis: Analysis) -> str | None:
    """The hash of what is not this package's among task, model and analysis; None, said once, where it has none."""
    model = run.config.model
    roots = [
        type(run.task),
        *run.task.uses(),
        type(model),
        builder_of(model.kind),
        type(analysis),
        *analysis.uses(),
    ]
    try:
        return code_hash(root for root in roots if root is not None)
    except Uncacheable as why:
        _say_once(f"{analysis.name} is measured again each time, not kept: {why}")
        return None


def _say_once(line: str) -> None:
    if line not in _SAID:
        _SAID.add(line)
        warnings.warn(line, stacklevel=3)


def placed(run: Checkpoints, analysis: Analysis, table: pd.DataFrame, step: int | None) -> pd.DataFrame:
    """Rows with the run's seed and their step, in the columns and types of the dictionary."""
    table = table.reset_index(drop=True)
    table.insert(0, "seed", run.config.seed)
    table.insert(1, "step", float("nan") if step is None else float(step))
    return conformed(analysis.name, table)


def rows(run: Checkpoints, job: Job, steps: Sequence[int]) -> pd.DataFrame:
    """The rows of some steps, and those of none, under the run's name. Raises UserError where nothing was asked."""
    if job.known is None:
        raise UserError(f"{job.analysis.name}: no checkpoint was asked for")
    return chosen(job.known, steps, run.name)


def store(run: Checkpoints, job: Job) -> None:
    """Merge the fresh rows into the table on disk, sorted by step, so that the order of calls leaves no trace."""
    if not job.fresh:
        return
    replaced = {int(s) for table in job.fresh for s in table["step"].dropna().unique()}
    kept = [] if job.known is None else [job.known[~job.known["step"].isin(replaced)]]
    merged = pd.concat([*kept, *job.fresh], ignore_index=True)
    job.known = merged.sort_values("step", kind="stable", na_position="first").reset_index(drop=True)
    job.fresh = []
    path = table_paths(run, job.analysis)[0]
    run.asking.measured.update((path, step) for step in replaced)
    if job.code is None:
        return
    stamp = Stamp(
        format=FORMAT,
        analysis=job.analysis.name,
        key=job.analysis.key,
        config=run.folder.config_hash,
        checkpoints=dict(sorted(job.hashes.items())),
        settings=job.analysis.model_dump(mode="json"),
        code=job.code,
        devices={step: device for step, device in sorted(job.devices.items()) if device != "cpu"},
    )
    try:
        write_table(path, job.known, stamp)
    except UserError as refused:
        _say_once(
            f"{refused}: what was measured is handed back and not kept; --tables DIR keeps it elsewhere"
        )
