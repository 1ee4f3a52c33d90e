"""Verification of a whole run folder in order, up to the first file whose content does not match.

Order: config.json, metrics.jsonl, resume state, each step of the schedule (its weights also put into a model of the
settings, where these are ours), files that do not belong, tables. An interrupted run is sound when it has
everything it should have so far. Timings and reports are not checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from interp.io.files import RESTORE, TEMPORARY
from interp.io.tables import read_table
from interp.models.build import build_model
from interp.models.weights import load_weights
from interp.runs import thinning
from interp.runs.folder import RunFolder
from interp.runs.header import NAME
from tasks.errors import UnknownTask, UserError

State = Literal["finished", "unfinished", "diverged"]


@dataclass(frozen=True)
class Verification:
    """What `verify` found: `problem` is None for a sound run, else one line that begins with the file's path."""

    path: Path
    state: State | None
    checked: int
    problem: str | None

    @property
    def ok(self) -> bool:
        return self.problem is None

    def __str__(self) -> str:
        if self.problem:
            return self.problem
        advice = f", resume it with: interp resume {self.path}" if self.state == "unfinished" else ""
        return f"{self.path}: {self.checked} files are what they claim; the run is {self.state}{advice}"


def verify(path: str | Path) -> Verification:
    """Check every file of a run. Raises UserError only when the folder holds no run at all, or one of a task
    that nothing imported offers, so that its settings cannot be read.
    """
    path = Path(path)
    if not (path / NAME).is_file():
        RunFolder.open(path)
    checks = _Checks(path)
    try:
        state = checks.all()
    except UnknownTask:
        raise
    except UserError as problem:
        return Verification(path, None, checks.count, str(problem))
    copy = f"{path}: is a copy without its weights; its {checks.count} files are what they claim"
    return Verification(path, state, checks.count, copy if RunFolder.open(path).weightless else None)


class _Checks:
    """Counts the files found sound so far."""

    def __init__(self, path: Path):
        self.path = path
        self.count = 0

    def all(self) -> State:
        self.folder = RunFolder.open(self.path)
        self.model = self._blank()
        self.count += 1
        records = self.folder.records()
        self.count += bool(records)
        state = self._state(records)
        self._metrics_whole(state)
        reached = self._resume(records, state)
        self._checkpoints(records, reached)
        self._nothing_else()
        self._tables()
        return state

    def _blank(self) -> Any:
        """A model that the weights must fit; None for a recording whose settings are not those of a run of ours."""
        try:
            config = self.folder.config
        except UserError:
            return None
        return build_model(config.model, config.task.interface, config.init_seed)

    def _state(self, records: list[dict[str, Any]]) -> State:
        if records and records[-1].get("event") == "diverged":
            return "diverged"
        return "finished" if records and records[-1]["step"] == self.folder.last_step else "unfinished"

    def _metrics_whole(self, state: State) -> None:
        path = self.folder.metrics_path
        if state == "unfinished" or not path.exists():
            return
        if not path.read_bytes().endswith(b"\n"):
            raise UserError(f"{path}: ends in the middle of a line")

    def _resume(self, records: list[dict[str, Any]], state: State) -> int:
        """Check the resume state; returns the step up to which the run must be complete (-1: none)."""
        saved = self.folder.resume_state()
        logged = records[-1]["step"] if records else -1
        if saved is None:
            self._no_resume_yet(logged, state)
            return logged
        facts = saved[1]
        self.folder.records_until(facts["size"], facts["chain"])
        self.count += 1
        return max(facts["step"], logged)

    def _no_resume_yet(self, logged: int, state: State) -> None:
        if self.folder.recorded:
            return
        if state == "finished" or logged > self.folder.config.train.save_every:
            raise UserError(f"{self.folder.resume_path}: missing; {RESTORE}")

    def _checkpoints(self, records: list[dict[str, Any]], reached: int) -> None:
        stated = {record["step"]: record["weights"] for record in records if "weights" in record}
        event = records[-1] if records and "event" in records[-1] else None
        complete = (event["step"] - 1) if event else reached
        there, gone = self.folder.steps, self._thinned(stated)
        for step in self.folder.schedule:
            path = self.folder.checkpoint_path(step)
            if step not in there and step not in gone and step <= complete:
                raise UserError(f"{path}: missing; {RESTORE}")
            if step in there:
                self._checkpoint(path, step, stated, complete)

    def _thinned(self, stated: dict[int, str]) -> dict[int, str]:
        """Checkpoints that were removed on purpose: each as the metrics record it."""
        gone = self.folder.thinned
        for step, weights in gone.items():
            if stated.get(step) != weights:
                raise UserError(f"{self.path / thinning.NAME}: step {step} is not as the metrics record it")
        self.count += bool(gone)
        return gone

    def _checkpoint(self, path: Path, step: int, stated: dict[int, str], complete: int) -> None:
        weights = self.folder.weights(step, again=True)
        if self.model is not None:
            load_weights(self.model, weights, str(path))
        found = self.folder.weights_hash(step)
        if step in stated and stated[step] != found:
            raise UserError(f"{path}: its weights are not those that the metrics name for step {step}")
        if step not in stated and step <= complete:
            raise UserError(f"{self.folder.metrics_path}: has no line for the checkpoint of step {step}")
        following = [s for s in self.folder.schedule if complete < s <= step]
        if len(following) > 1:
            raise UserError(f"{self.folder.metrics_path}: ends before the checkpoint of step {step}")
        self.count += 1

    def _nothing_else(self) -> None:
        planned = {self.folder.checkpoint_path(step).name for step in self.folder.schedule}
        for folder, known in (("checkpoints", planned), ("resume", {self.folder.resume_path.name})):
            for entry in sorted((self.path / folder).glob("*")):
                if entry.name not in known and not entry.name.startswith(TEMPORARY):
                    raise UserError(f"{entry}: does not belong to this run")

    def _tables(self) -> None:
        gone = self.folder.thinned
        for path in sorted(self.folder.analysis_path.glob("*.parquet")):
            found = read_table(path)
            if found is None:
                continue
            stamp = found[1]
            if stamp.config != self.folder.config_hash:
                raise UserError(f"{path}: was measured on another run")
            for step, weights in sorted(stamp.checkpoints.items()):
                if step in gone and step not in self.folder.steps:
                    here = gone[step]
                else:
                    here = self.folder.weights_hash(step) if step in self.folder.steps else ""
                if here != weights:
                    raise UserError(f"{path}: was measured on weights of step {step} that are not here")
            self.count += 1
