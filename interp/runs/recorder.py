"""A run folder for external training loops.

    recorder = Recorder("runs/mine", {"task": "parity", "lr": 0.1}, schedule=[0, 10, 100, 1000])
    for step in range(1001):
        recorder.record(step, model, loss=loss)

The folder has config, checkpoints and chained metrics like any other and passes `verify`; resuming is the loop's own
responsibility. When the settings are those of a `RunConfig`, every analysis works on it too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor, nn

from interp.config.run import RunConfig
from interp.config.schedule import checkpoint_steps
from interp.models.build import build_model
from interp.models.pretrained import shared_prefixes
from interp.models.weights import check_fit
from interp.runs.folder import RunFolder
from interp.runs.handing import HandingOver, Sink
from interp.runs.header import Recording
from interp.runs.metrics import MetricsLog
from interp.runs.sinks import sinks_of
from tasks.complaints import first_problem
from tasks.errors import UserError


class Recorder:
    """Records an external training loop.

    `schedule` lists the steps whose weights are saved, from 0 to the last; with a `RunConfig` it may be left out. A
    second recording into the same folder is refused unless `start` gives the step from which on it is overwritten.
    Metrics are written at scheduled steps and every `log_every` steps, and handed to `sinks` (`interp.runs.sinks`), if
    any. Raises UserError as `RunFolder.create` does.
    """

    def __init__(
        self,
        out: str | Path,
        config: RunConfig | Mapping[str, Any],
        schedule: Sequence[int] | None = None,
        *,
        start: int = 0,
        log_every: int = 20,
        sinks: Iterable[Sink | str] = (),
    ):
        handed = sinks_of(sinks)
        self.folder = RunFolder.create(out, _recording(config, schedule))
        self._planned = frozenset(self.folder.schedule)
        self._log_every = max(1, log_every)
        self._model = _blank(self.folder)
        self._lock = self.folder.lock()
        self._lock.__enter__()
        self._last = start - 1
        self._log = self._begin(start)
        self._handing = HandingOver(self.folder, handed, self._before)

    def record(self, step: int, weights: nn.Module | Mapping[str, Tensor], **metrics: float) -> None:
        """Record a step: weights after `step` updates (a model or its state dict) and their metrics.

        Steps must come in order and none of the schedule may be passed over. A metric that is not finite is kept as
        missing. Raises UserError otherwise, and when the disk refuses.
        """
        passed = [s for s in self.folder.schedule if self._last < s < step]
        if step <= self._last or step > self.folder.last_step or passed:
            wanted = (
                f"{passed[0]} of the schedule"
                if passed
                else f"one in {self._last + 1}..{self.folder.last_step}"
            )
            raise UserError(f"{self.folder.path}: step {step} was handed over where {wanted} was due")
        self._last = step
        if step not in self._planned and step % self._log_every:
            return
        line = _line(step, metrics)
        if step in self._planned:
            state = weights.state_dict() if isinstance(weights, nn.Module) else weights
            line["weights"] = self.folder.keep(step, self._fitting(step, state))
        self._log.append(line)
        self._handing.record(line)
        if step == self.folder.last_step:
            self.close()

    def _fitting(self, step: int, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The weights under our names, where the settings say a model of ours: without what compiling, or training in
        parallel, puts before every name. Raises UserError for weights that are not that model's.
        """
        if self._model is None:
            return weights
        own = self._model.state_dict().keys()
        for prefix in shared_prefixes(list(weights)):
            bare = {name.removeprefix(prefix): value for name, value in weights.items()}
            if bare.keys() == own:
                warnings.warn(
                    f"{self.folder.path}: {prefix!r} was taken off the names of all weights", stacklevel=3
                )
                weights = bare
        check_fit(self._model, weights, f"{self.folder.path}: step {step}")
        return weights

    def close(self) -> None:
        """Release the lock on the folder and end its sinks; called automatically at the last step."""
        self._handing.end("finished" if self._last == self.folder.last_step else "interrupted")
        self._lock.__exit__(None, None, None)

    def _begin(self, start: int) -> MetricsLog:
        records = self.folder.records()
        if records and start == 0:
            go_on = f"go on with start={records[-1]['step'] + 1}, or choose another folder"
            raise UserError(
                f"{self.folder.path}: holds a recording up to step {records[-1]['step']}; {go_on}"
            )
        self._before = kept = [record for record in records if record["step"] < start]
        log = MetricsLog.after(self.folder.metrics_path, kept, self.folder.config_hash)
        for step in self.folder.steps:
            if step >= start:
                self.folder.checkpoint_path(step).unlink()
        log.cut()
        return log


def _recording(config: RunConfig | Mapping[str, Any], schedule: Sequence[int] | None) -> Recording:
    if isinstance(config, RunConfig):
        schedule = schedule or checkpoint_steps(config.train.schedule, config.train.steps)
        config = config.settings
    if schedule is None:
        raise UserError("Recorder: give the schedule, such as [0, 10, 100, 1000]")
    try:
        return Recording(recorded=dict(config), schedule=tuple(schedule))
    except ValidationError as error:
        raise UserError(f"Recorder: {first_problem(error)}") from None


def _blank(folder: RunFolder) -> nn.Module | None:
    """A model of the settings, if they are those of a run of ours whose weights are kept here."""
    try:
        config = folder.config
    except UserError:
        return None
    if config.model.elsewhere:  # its own names, or a reference to files: both were looked at before
        return None
    return build_model(config.model, config.task.interface, config.init_seed)


def _line(step: int, metrics: Mapping[str, float]) -> dict[str, Any]:
    values = {name: float(value) for name, value in metrics.items()}
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    line: dict[str, Any] = {"step": step}
    if "loss" in finite:
        line["loss"] = finite.pop("loss")
    return {**line, "other": finite} if finite else line
