"""Streams analyses over a run's checkpoints: one forward pass a checkpoint and chunk, shared by every analysis.

Every analysis uses the same prompts (stream "analysis", chunk 0, 1, ...), so figures of different checkpoints are
paired. An analysis requests chunks and hooks; its rows are cached in `RUN/analysis/NAME.parquet`, stamped with
the hash of each checkpoint's weights and of the settings: a later call measures only the checkpoints whose hash is not
in the cache. Memory does not grow with the number of checkpoints beyond the table itself.

A table's `step` is missing in rows that belong to no checkpoint (the untrained model, uniform attention).
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Sequence

import pandas as pd
import torch

from interp.analysis.base import CHUNK, Accumulator, Analysis, PairAccumulator, Progress
from interp.analysis.kept import Job, in_turn, opened, placed, rows, store
from interp.hooks.protocol import HookedModel
from interp.models.resized import resized
from interp.models.weights import weights_of
from interp.runs.checkpoints import Checkpoints
from tasks import Task, UserError
from tasks.renamed import refuse_members

FLUSH_SECONDS = 20.0
LONG_SECONDS = 120.0  # of the processor: what is announced after the first checkpoint


def analyse(
    run: Checkpoints, analyses: Sequence[Analysis], steps: Sequence[int], progress: Progress | None = None
) -> dict[str, pd.DataFrame]:
    """Measure each analysis at each of the steps, from the cache where it can, and return its rows for those steps.

    Rows without a step come along. Raises UserError when a step has no checkpoint or a checkpoint is damaged.
    """
    jobs = [opened(run, analysis.of(run.config), steps) for analysis in analyses]
    wanted = {step: _checked(run, step) for step in steps}
    try:
        with run.computing():
            _measure_all(run, jobs, wanted, progress)
    finally:
        for job in jobs:
            store(run, job)
    return {job.analysis.name: rows(run, job, steps) for job in jobs}


def _checked(run: Checkpoints, step: int) -> str:
    """The hash of a checkpoint's weights, every byte read: a cached row must not stand for a damaged file."""
    if not run.folder.weightless:
        run.folder.weights(step)
    return run.weights_hash(step)


def _measure_all(
    run: Checkpoints, jobs: list[Job], wanted: dict[int, str], progress: Progress | None
) -> None:
    model = None
    flushed, announced = time.monotonic(), progress is None
    lacking = [job.lacking(wanted) for job in jobs]
    for done, (step, following) in enumerate(in_turn(wanted)):
        open_jobs = [job for job, steps in zip(jobs, lacking, strict=True) if step in steps]
        if open_jobs:
            run.refuse_weightless(f"{open_jobs[0].analysis.name} of step {step} is not among its tables")
            model = run.without_interventions().model(step, into=model)
            _begin(run, [job for job in open_jobs if not job.begun], model)
            began = time.process_time()
            accumulators = _read(run, model, open_jobs, step)
            for job, accumulator in zip(open_jobs, accumulators, strict=True):
                if job.analysis.paired and following is not None:
                    assert isinstance(accumulator, PairAccumulator)
                    where = str(run.folder.checkpoint_path(following))
                    after = weights_of(model, run.folder.weights(following), where)
                    accumulator.follow(after, following - step)
                job.fresh.append(placed(run, job.analysis, accumulator.table(), step))
                job.hashes[step] = wanted[step]
                job.devices[step] = job.device
            if not announced:
                names = [job.analysis.name for job, steps in zip(jobs, lacking, strict=True) if steps]
                _announce(names, len(set().union(*lacking)) - 1, time.process_time() - began)
                announced = True
            if time.monotonic() - flushed > FLUSH_SECONDS:
                for job in jobs:
                    store(run, job)
                flushed = time.monotonic()
        if progress:
            progress("checkpoints", done + 1, len(wanted))


def _announce(names: Sequence[str], left: int, seconds: float) -> None:
    """Report what the other checkpoints will take, by the first one's seconds, where that is long."""
    if left * seconds < LONG_SECONDS:
        return
    cost = f"{seconds:.0f} s for the first of {left + 1} checkpoints, about {left * seconds / 60:.0f} min for the rest"
    last = "--steps last (in Python steps='last') measures the last one alone"
    warnings.warn(f"{', '.join(names)}: {cost}; {last}", stacklevel=2)


def _read(run: Checkpoints, model: HookedModel, jobs: Sequence[Job], step: int) -> list[Accumulator]:
    """Accumulators of several analyses of one model, fed from shared forward passes with the clamps of `step`."""
    _refuse_interventions(run, jobs, step)
    there = next((job.device for job in jobs if not job.analysis.runs_model), "cpu")
    ahead = model if there == "cpu" else copy.deepcopy(model).to(there)
    accumulators = [job.analysis.accumulator(model, run.task, job.untrained) for job in jobs]
    for accumulator in accumulators:
        if not hasattr(accumulator, "add"):
            refuse_members("Accumulator", dir(accumulator))
    names = sorted({name for job in jobs for name in job.analysis.hooks(model)})
    left = [job.analysis.most_prompts for job in jobs]
    for chunk in range(max((job.analysis.most_chunks for job in jobs), default=0)):
        for task, most, places in _by_task(run, jobs, left, chunk):
            batch = task.sample(run.config.data_seed, "analysis", chunk, CHUNK)
            if not len(batch):  # prompts that are given may run out
                continue
            if most is not None:
                batch = batch.select(torch.arange(min(most, len(batch))))
                for place in places:
                    left[place] = most - len(batch)
            batch = batch.double() if run.config.model.dtype == "float64" else batch
            fitting = ahead if task is run.task else resized(ahead, task.interface)
            with torch.no_grad(), run.with_interventions(ahead, batch, step):
                outputs, cache = fitting.run_with_cache(batch.inputs.to(there), names_filter=names)
            for place in places:
                accumulators[place].add(
                    chunk, batch, outputs.cpu(), {name: cache[name].cpu() for name in names}
                )
    return accumulators


def _by_task(
    run: Checkpoints, jobs: Sequence[Job], left: Sequence[int | None], chunk: int
) -> list[tuple[Task, int | None, list[int]]]:
    """The jobs that request a chunk, by the task from whose prompts it is drawn and how many of them they still take
    (None: all)."""
    found: list[tuple[Task, int | None, list[int]]] = []
    for place, (job, most) in enumerate(zip(jobs, left, strict=True)):
        if chunk < job.analysis.most_chunks and most != 0:
            wanted = job.analysis.distribution(run.task, chunk)
            for task, others, asking in found:
                if task == wanted and others == most:
                    asking.append(place)
                    break
            else:
                found.append((wanted, most, [place]))
    return found


def _refuse_interventions(run: Checkpoints, jobs: Sequence[Job], step: int) -> None:
    if not run.interventions_active or not any(clamp.active(step) for clamp in run.config.train.clamps):
        return
    for job in jobs:
        own = all(
            job.analysis.distribution(run.task, chunk) == run.task for chunk in range(job.analysis.chunks)
        )
        if job.analysis.runs_model or not own:
            what = "runs weights alone" if own else "uses prompts of another distribution"
            raise UserError(
                f"{run.path}: {job.analysis.name} {what}, and this run was trained with clamps:"
                " ask for it without interventions (--without-interventions)"
            )


def _begin(run: Checkpoints, jobs: Sequence[Job], model: HookedModel) -> None:
    """Measure the untrained model once, and add the rows that belong to no checkpoint to a new table."""
    with_control = [job for job in jobs if job.analysis.with_untrained]
    if with_control:
        for job, accumulator in zip(
            with_control, _read(run, run.untrained_model(), with_control, 0), strict=True
        ):
            job.untrained = accumulator
    for job in jobs:
        job.begun = True
        constants = job.analysis.constants(model, run.task, job.untrained)
        if constants is not None and (job.known is None or job.bare):
            job.fresh.append(placed(run, job.analysis, constants, None))
