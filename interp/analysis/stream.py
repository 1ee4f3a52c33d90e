"""Streams analyses over a run's checkpoints: one forward pass a checkpoint and chunk, shared by every analysis.

Every analysis uses the same prompts (stream "analysis", chunk 0, 1, ...), so figures of different checkpoints are
paired. An analysis requests chunks and hooks; its rows are cached in `RUN/analysis/NAME.parquet`, stamped with
the hash of each checkpoint's weights and of the settings: a later call measures only the checkpoints whose hash is not
in the cache. Memory does not grow with the number of checkpoints beyond the table itself.

A table's `step` is missing in rows that belong to no checkpoint (the untrained model, uniform attention).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from interp.analysis.base import CHUNK, Analysis, PairReader, Progress, Reader
from interp.hooks.protocol import HookedModel
from interp.io.tables import Stamp, read_table, write_table
from interp.models.resized import resized
from interp.models.weights import weights_of
from interp.runs.checkpoints import Checkpoints
from tasks import Task, UserError

FLUSH_SECONDS = 20.0


@dataclass
class _Job:
    """One analysis with the part of its table that is already known."""

    analysis: Analysis
    known: pd.DataFrame | None
    hashes: dict[int, str]
    fresh: list[pd.DataFrame]
    twin: Reader | None = None
    begun: bool = False

    def lacking(self, wanted: Mapping[int, str]) -> set[int]:
        """The steps to be measured: those whose weights are not what the kept rows come from, and of a paired analysis
        those before one that changed, or whose next checkpoint is another one now."""
        changed = {step for step, weights_hash in wanted.items() if self.hashes.get(step) != weights_hash}
        if not self.analysis.paired or self.known is None:
            return changed
        found = set(changed)
        for step, following in _in_turn(wanted):
            kept = self.known[self.known["step"] == step]
            stride = None if following is None else following - step
            if following in changed or not self.analysis.serves(kept, stride):
                found.add(step)
        return found


def analyse(
    run: Checkpoints, analyses: Sequence[Analysis], steps: Sequence[int], progress: Progress | None = None
) -> dict[str, pd.DataFrame]:
    """Measure each analysis at each of the steps, from the cache where it can, and return its rows for those steps.

    Rows without a step come along. Raises UserError when a step has no checkpoint or a checkpoint is damaged.
    """
    jobs = [_open(run, analysis.of(run.config)) for analysis in analyses]
    wanted = {step: _checked(run, step) for step in steps}
    try:
        _measure_all(run, jobs, wanted, progress)
    finally:
        for job in jobs:
            _store(run, job)
    return {job.analysis.name: _rows(job, steps) for job in jobs}


def _checked(run: Checkpoints, step: int) -> str:
    """The hash of a checkpoint's weights, every byte read: a cached row must not stand for a damaged file."""
    run.folder.weights(step)
    return run.folder.weights_hash(step)


def _measure_all(
    run: Checkpoints, jobs: list[_Job], wanted: dict[int, str], progress: Progress | None
) -> None:
    model = None
    flushed = time.monotonic()
    lacking = [job.lacking(wanted) for job in jobs]
    for done, (step, following) in enumerate(_in_turn(wanted)):
        open_jobs = [job for job, steps in zip(jobs, lacking, strict=True) if step in steps]
        if open_jobs:
            model = run.released().model(step, into=model)
            _begin(run, [job for job in open_jobs if not job.begun], model)
            readers = _read(run, model, open_jobs, step)
            for job, reader in zip(open_jobs, readers, strict=True):
                if job.analysis.paired and following is not None:
                    assert isinstance(reader, PairReader)
                    where = str(run.folder.checkpoint_path(following))
                    after = weights_of(model, run.folder.weights(following), where)
                    reader.follow(after, following - step)
                job.fresh.append(_identify(run, reader.table(), step))
                job.hashes[step] = wanted[step]
            if time.monotonic() - flushed > FLUSH_SECONDS:
                for job in jobs:
                    _store(run, job)
                flushed = time.monotonic()
        if progress:
            progress("checkpoints", done + 1, len(wanted))


def _in_turn(wanted: Mapping[int, str]) -> list[tuple[int, int | None]]:
    """Every step with the next one asked for."""
    steps = list(wanted)
    return list(zip(steps, [*steps[1:], None], strict=True))


def _read(run: Checkpoints, model: HookedModel, jobs: Sequence[_Job], step: int) -> list[Reader]:
    """Accumulators of several analyses of one model, fed from shared forward passes with the clamps of `step`."""
    _refuse_clamped(run, jobs, step)
    readers = [job.analysis.reader(model, run.task, job.twin) for job in jobs]
    names = sorted({name for job in jobs for name in job.analysis.hooks(model)})
    for chunk in range(max((job.analysis.chunks for job in jobs), default=0)):
        for task, asking in _by_task(run, jobs, readers, chunk):
            batch = task.sample(run.config.data_seed, "analysis", chunk, CHUNK)
            batch = batch.double() if run.config.model.dtype == "float64" else batch
            fitting = model if task is run.task else resized(model, task.interface)
            with torch.no_grad(), run.held(model, batch, step):
                outputs, cache = fitting.run_with_cache(batch.inputs, names_filter=names)
            for reader in asking:
                reader.read(chunk, batch, outputs, cache)
    return readers


def _by_task(
    run: Checkpoints, jobs: Sequence[_Job], readers: Sequence[Reader], chunk: int
) -> list[tuple[Task, list[Reader]]]:
    """The accumulators that request a chunk, by the task from whose prompts it is drawn."""
    found: list[tuple[Task, list[Reader]]] = []
    for job, reader in zip(jobs, readers, strict=True):
        if chunk < job.analysis.chunks:
            wanted = job.analysis.law(run.task, chunk)
            for task, asking in found:
                if task == wanted:
                    asking.append(reader)
                    break
            else:
                found.append((wanted, [reader]))
    return found


def _refuse_clamped(run: Checkpoints, jobs: Sequence[_Job], step: int) -> None:
    if not run.clamped or not any(clamp.active(step) for clamp in run.config.train.clamps):
        return
    for job in jobs:
        own = all(job.analysis.law(run.task, chunk) == run.task for chunk in range(job.analysis.chunks))
        if job.analysis.runs_model or not own:
            what = "runs weights alone" if own else "uses prompts of another distribution"
            raise UserError(
                f"{run.path}: {job.analysis.name} {what}, and this run was trained with clamps:"
                " ask for the released run (--released)"
            )


def _begin(run: Checkpoints, jobs: Sequence[_Job], model: HookedModel) -> None:
    """Measure the untrained model once, and add the rows that belong to no checkpoint to a new table."""
    twins = [job for job in jobs if job.analysis.twin]
    if twins:
        for job, reader in zip(twins, _read(run, run.twin(), twins, 0), strict=True):
            job.twin = reader
    for job in jobs:
        job.begun = True
        constants = job.analysis.constants(model, run.task, job.twin)
        if constants is not None and job.known is None:
            job.fresh.append(_identify(run, constants, None))


def _identify(run: Checkpoints, table: pd.DataFrame, step: int | None) -> pd.DataFrame:
    table = table.copy()
    table.insert(0, "run", run.name)
    table.insert(1, "seed", run.config.seed)
    table.insert(2, "step", pd.array([pd.NA if step is None else step] * len(table), dtype="Int64"))
    return table


def _table_path(run: Checkpoints, analysis: Analysis) -> Path:
    """Path of a cached table: measurements without interventions have a file next to those with them."""
    apart = "" if run.clamped or not run.config.train.clamps else "-released"
    return run.folder.table_path(analysis.table_name + apart)


def _open(run: Checkpoints, analysis: Analysis) -> _Job:
    found = read_table(_table_path(run, analysis))
    if found is None or found[1].key != analysis.key or found[1].config != run.folder.config_hash:
        return _Job(analysis, None, {}, [])
    return _Job(analysis, found[0], dict(found[1].checkpoints), [])


def _rows(job: _Job, steps: Sequence[int]) -> pd.DataFrame:
    if job.known is None:
        raise UserError(f"{job.analysis.name}: no checkpoint was asked for")
    wanted = job.known["step"].isna() | job.known["step"].isin(list(steps))
    return job.known[wanted].reset_index(drop=True)


def _store(run: Checkpoints, job: _Job) -> None:
    """Merge the fresh rows into the table on disk, sorted by step, so that the order of calls leaves no trace."""
    if not job.fresh:
        return
    replaced = {int(s) for table in job.fresh for s in table["step"].dropna().unique()}
    kept = [] if job.known is None else [job.known[~job.known["step"].isin(replaced)]]
    merged = pd.concat([*kept, *job.fresh], ignore_index=True)
    job.known = merged.sort_values("step", kind="stable", na_position="first").reset_index(drop=True)
    job.fresh = []
    stamp = Stamp(
        analysis=job.analysis.name,
        key=job.analysis.key,
        config=run.folder.config_hash,
        checkpoints=dict(sorted(job.hashes.items())),
        settings=job.analysis.model_dump(mode="json"),
    )
    write_table(_table_path(run, job.analysis), job.known, stamp)
