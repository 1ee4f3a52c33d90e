"""The training loop. Weights, metrics and the state to resume from are functions of the settings alone.

At step t the loop evaluates weights t, writes what is due (checkpoint, then metrics line, then resume state),
and then updates on the training batch of step t. A run cut off anywhere therefore begins again from its last
resume state and ends with the same bytes; one begun under an older version of training goes on under that.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp._version import BITS
from interp.config.run import RunConfig
from interp.config.schedule import is_evaluated, is_logged, rate
from interp.io.files import cannot_write
from interp.models import build_model
from interp.models.fused import fuse
from interp.models.weights import load_weights
from interp.runs.asking import check_device, threads
from interp.runs.folder import RunFolder
from interp.runs.handing import Sink, handed_over
from interp.runs.metrics import MetricsLog
from interp.runs.sinks import sinks_of
from interp.runs.source_models import clamps_of, resolve_sources
from interp.train.optimisers import Optimisers
from interp.train.spherical import warn_of_unstable_rate
from tasks.base import Batch
from tasks.errors import UserError

TrainingProgress = Callable[[int, float], None]
TRAIN, EVAL = "train", "eval"


class Diverged(ArithmeticError):
    """Training was stopped because the loss was NaN or had risen past the bound; `step` is where."""

    def __init__(self, path: Path, step: int, kept: int | None):
        self.step = step
        good = f"the last good checkpoint is step {kept}" if kept is not None else "no checkpoint was good"
        super().__init__(
            f"{path}: training diverged at step {step}; {good}; lower train.lr (or raise train.max_loss)"
        )


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C or a termination signal after its state was saved at `step`."""

    def __init__(self, path: Path, step: int):
        self.step = step
        super().__init__(f"{path}: stopped at step {step}; resume with: interp resume {path}")


def train(
    config: RunConfig,
    out: str | Path,
    *,
    device: str = "cpu",
    progress: TrainingProgress | None = None,
    sinks: Iterable[Sink | str] = (),
) -> RunFolder:
    """Train a run into a folder, resuming an interrupted earlier call with the same settings.

    `sinks`: where metrics go besides the folder, by name or as objects (`interp.runs.sinks`); of a finished run they
    are handed what was logged. Returns at once when the run is finished. Raises UserError (bad folder, damage, a sink
    that is not installed), Diverged, or Interrupted.
    """
    check_device(device)
    handed = sinks_of(sinks)
    config = resolve_sources(config)
    return _run(RunFolder.create(out, config, device), progress, handed)


def resume(
    out: str | Path, *, progress: TrainingProgress | None = None, sinks: Iterable[Sink | str] = ()
) -> RunFolder:
    """Resume the run in a folder; returns at once when it is finished. `sinks` and errors as those of `train`."""
    handed = sinks_of(sinks)
    folder = RunFolder.open(out)
    if folder.recorded:
        raise UserError(
            f"{folder.path}: was recorded from an external training loop; continue with that loop"
        )
    check_device(folder.head.device)
    return _run(folder, progress, handed)


def _run(folder: RunFolder, progress: TrainingProgress | None, sinks: tuple[Sink, ...]) -> RunFolder:
    config = folder.config
    if not folder.finished:
        _refuse_to_begin_again(folder)
        _refuse_newer(folder)
    with folder.lock(), threads(config.train.threads), _signals() as stop:
        if folder.diverged is not None:
            raise Diverged(folder.path, folder.diverged, max(folder.steps, default=None))
        if not folder.finished:
            _Training(folder, config, progress, stop).run(sinks)
        elif sinks:
            with handed_over(folder, sinks, folder.records()):
                pass
    return folder


def _refuse_to_begin_again(folder: RunFolder) -> None:
    """Raises UserError where resuming would delete what is here and train from step 0."""
    if folder.lost_resume:
        what = "weights" if folder.weightless else "state to resume from"
        raise UserError(
            f"{folder.path}: is a copy without its {what}: training on here would begin again at step 0; bring "
            "resume/ and checkpoints/ from the original, or train in another folder"
        )


def _refuse_newer(folder: RunFolder) -> None:
    """Raises UserError where a run was begun under a version of training that is not known here."""
    if folder.head.bits > BITS:
        raise UserError(
            f"{folder.path}: was begun under version {folder.head.bits} of training, newer than this one's ({BITS}); "
            "upgrade algoscope to resume it"
        )


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event set by SIGINT or SIGTERM while the block runs; a second signal acts as it usually does.

    Only the main thread can listen to signals; elsewhere the event stays unset.
    """
    stop = threading.Event()
    before: dict[int, Any] = {}

    def note(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Training:
    """The state of one training while it runs."""

    def __init__(
        self, folder: RunFolder, config: RunConfig, progress: TrainingProgress | None, stop: threading.Event
    ):
        self.folder, self.config, self.progress, self.stop = folder, config, progress, stop
        self.settings = config.train
        self.planned = frozenset(folder.schedule)
        self.device = folder.head.device
        self.model: Any = build_model(config.model, config.task.interface, config.init_seed).to(self.device)
        fuse(self.model, padded=folder.head.bits > 1)
        self.double = next(self.model.parameters()).dtype == torch.float64
        self.optimisers = Optimisers(self.model, config.train, folder.head.bits)
        warn_of_unstable_rate(config)
        self.forward: Any = torch.compile(self.model) if config.train.compile else self.model
        self.clamps = clamps_of(config, self.model)
        self.seen = config.parent.batches if config.parent else 0
        self.held_out = self._batch(EVAL, 0, config.train.eval_batch)
        self.start, self.first_loss = self._restore()

    def run(self, sinks: tuple[Sink, ...]) -> None:
        with handed_over(self.folder, sinks, self.records) as self.hand:
            self._steps()

    def _steps(self) -> None:
        self.clock = (time.perf_counter(), time.process_time())
        self.model.train()
        for step in range(self.start, self.settings.steps + 1):
            loss = self._loss(step)
            value = float(loss.detach())
            if step == 0:
                self.first_loss = value
            resumed = step == self.start and self.log.size > 0
            if not resumed:
                self._write(step, value)
            if self.stop.is_set() and step < self.settings.steps:
                self._save(step)
                raise Interrupted(self.folder.path, step)
            if step < self.settings.steps:
                loss.backward()
                self.optimisers.update(step)
            if self.progress:
                self.progress(step, value)

    def _batch(self, stream: str, step: int, size: int) -> Batch:
        batch = self.config.task.sample(self.config.data_seed, stream, step, size).to(self.device)
        return batch.double() if self.double else batch

    def _loss(self, step: int) -> Tensor:
        batch = self._batch(TRAIN, step + self.seen, self.settings.batch)
        return self.config.task.loss(self._outputs(batch, step), batch).mean()

    def _outputs(self, batch: Batch, step: int) -> Tensor:
        """The model's outputs with the interventions of this step active."""
        if not self.settings.clamps:
            return self.forward(batch.inputs)
        return self.model.run_with_hooks(batch.inputs, fwd_hooks=self.clamps.hooks(batch, step))

    def _write(self, step: int, loss: float) -> None:
        """Write what is due at this step. Divergence is found first, so that no bad weights are kept."""
        kept = step in self.planned
        record: dict[str, Any] = {
            "step": step,
            "loss": loss,
            "lr": self.settings.lr * rate(self.settings, step),
        }
        bad = self._out_of_bounds(loss)
        if not bad and (kept or is_evaluated(self.settings, step)):
            record["eval"] = self._evaluate(step)
            bad = not all(map(math.isfinite, record["eval"]["loss"]))
        if bad:
            self._stop_diverged(step, loss)
        if kept:
            record["weights"] = self.folder.keep(step, self.model.state_dict())
        if kept or is_logged(self.settings, step):
            self.log.append(record)
            self.hand(record)
            self._time(step)
        if step == self.settings.steps or (step and step % self.settings.save_every == 0):
            self._save(step)

    def _out_of_bounds(self, loss: float) -> bool:
        bound = self.settings.max_loss * self.first_loss
        return not math.isfinite(loss) or bool(self.settings.max_loss and loss > bound)

    def _stop_diverged(self, step: int, loss: float) -> None:
        shown = loss if math.isfinite(loss) else str(loss)
        self.log.append({"step": step, "event": "diverged", "last_loss": shown})
        raise Diverged(self.folder.path, step, max(self.folder.steps, default=None))

    @torch.no_grad()
    def _evaluate(self, step: int) -> dict[str, Any]:
        """Mean loss and score at each output position on held-out prompts, with the interventions of the training."""
        self.model.eval()
        outputs = self._outputs(self.held_out, step)
        loss = self.config.task.loss(outputs, self.held_out).double().mean(0).tolist()
        score = self.config.task.score(outputs, self.held_out).double().mean(0).tolist()
        self.model.train()
        return {"loss": loss, "score": [v if math.isfinite(v) else None for v in score]}

    def _time(self, step: int) -> None:
        wall, cpu = time.perf_counter() - self.clock[0], time.process_time() - self.clock[1]
        line = {"step": step, "from": self.start, "wall_s": round(wall, 4), "cpu_s": round(cpu, 4)}
        try:
            with open(self.folder.timing_path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise cannot_write(self.folder.timing_path, error) from None

    def _save(self, step: int) -> None:
        tensors = {f"weights/{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"optimiser/{name}": value for name, value in self.optimisers.state().items()}
        self.folder.save_resume(tensors, step, self.log.size, self.log.chain)

    def _restore(self) -> tuple[int, float]:
        """Bring everything to the last resume state; returns its step and the first loss."""
        saved = self.folder.resume_state()
        tensors, facts = saved or ({}, {"step": 0, "size": 0, "chain": self.folder.config_hash})
        self.records = records = self._metrics_until(facts["size"], facts["chain"])
        if saved:
            load_weights(self.model, _under("weights/", tensors), str(self.folder.resume_path))
            self.optimisers.restore(_under("optimiser/", tensors), self.device)
        for step in self.folder.steps:
            if step > facts["step"] or not saved:
                self.folder.checkpoint_path(step).unlink()
        self.log.cut()
        return facts["step"], records[0]["loss"] if records else math.nan

    def _metrics_until(self, size: int, chain: str) -> list[dict[str, Any]]:
        self.log = MetricsLog(self.folder.metrics_path, size, chain)
        return self.folder.records_until(size, chain)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
