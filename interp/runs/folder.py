"""The run folder: its layout, and reading it back so that damage is an error and never a number.

config.json                      settings, their hash, schema and package version, device, checksum of it all
metrics.jsonl, timing.jsonl      see `interp.runs.metrics`; timings are informative and not checked
checkpoints/00000000.safetensors weights; facts: format, step, config hash, weights hash
resume/state.safetensors         weights and optimiser state of the latest point to resume from
analysis/NAME.parquet            tables
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from interp._version import BITS
from interp.config.run import RunConfig, parse_config
from interp.config.schedule import checkpoint_steps
from interp.io.files import (
    cannot_write,
    canonical,
    check_facts,
    header_facts,
    pack,
    sha256,
    unpack,
    write_atomically,
)  # fmt: skip
from interp.io.hf_reference import REFERENCE, Reference
from interp.io.lock import locked
from interp.io.weight_files import WeightFiles
from interp.runs import header, thinning
from interp.runs.links import linked, linked_files
from interp.runs.metrics import as_table, read_metrics
from interp.runs.same import is_bookkeeping, refuse_other
from tasks.errors import UserError

WEIGHTS_FORMAT = "algoscope weights 1"
RESUME_FORMAT = "algoscope resume 1"
_FREE = ("step", "size", "chain")
_CHECKPOINT = re.compile(r"(\d{8})\.safetensors")


class RunFolder:
    """One run on disk. Opening reads config.json only; the rest is read, and checked, when needed."""

    def __init__(self, path: Path, head: header.Header):
        self.path = path
        self.head = head

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """The run in a folder. Raises UserError when there is none or its config.json is damaged."""
        path = Path(path)
        return cls(path, header.read(path / header.NAME))

    @classmethod
    def create(
        cls, path: str | Path, config: RunConfig | header.Recording, device: str = "cpu", bits: int = BITS
    ) -> RunFolder:
        """A new run in a folder that is new, empty, or holds this very run already; `bits`: its version of training.

        Raises UserError rather than touch another run or other files.
        """
        path = Path(path)
        head = header.Header.of(config, device, bits)
        if (path / header.NAME).exists():
            there = cls.open(path)
            refuse_other(path, there.head, head)
            return there
        if path.is_dir() and any(not is_bookkeeping(entry) for entry in path.iterdir()):
            raise UserError(f"{path}: holds other files and no run; choose another --out")
        try:
            for folder in (path, path / "checkpoints"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from None
        write_atomically(path / header.NAME, head.bytes)
        return cls(path, head)

    @property
    def recorded(self) -> bool:
        """Whether the run was recorded from an external training loop (`Recorder`)."""
        return isinstance(self.head.content, header.Recording)

    @property
    def config(self) -> RunConfig:
        """The run's settings. Raises UserError for a recording whose settings are not those of a run of ours."""
        content = self.head.content
        if isinstance(content, RunConfig):
            return content
        try:
            return parse_config(dict(content.recorded))
        except UserError as error:
            raise UserError(
                f"{self.path}: a recording whose settings are not those of a run ({error})"
            ) from None

    @property
    def config_hash(self) -> str:
        """SHA-256 of the settings."""
        return self.head.hash

    @property
    def stated_weights(self) -> dict[int, str]:
        """The hash of the weights of every checkpoint that the metrics tell of, by step."""
        return {record["step"]: record["weights"] for record in self.records() if "weights" in record}

    @property
    def identity(self) -> str:
        """A hash of the settings and of the first checkpoint's weights: the same wherever the folder lies.

        Raises UserError before there is one.
        """
        stated, there = self.stated_weights, self.steps
        if not stated and not there:
            raise UserError(f"{self.path}: has no checkpoint yet, so it is not known which run it is")
        first = stated[min(stated)] if stated else self.weights_hash(there[0])
        return sha256(canonical([self.config_hash, first]))

    @property
    def last_step(self) -> int:
        """The step at which the run is finished."""
        return self.schedule[-1]

    @property
    def schedule(self) -> tuple[int, ...]:
        """Steps whose weights the run is to save, increasing."""
        content = self.head.content
        if isinstance(content, RunConfig):
            return checkpoint_steps(content.train.schedule, content.train.steps)
        return content.schedule

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps of the existing checkpoints, increasing."""
        folder = self.path / "checkpoints"
        names = (entry.name for entry in folder.iterdir()) if folder.is_dir() else ()
        return tuple(sorted(int(match[1]) for name in names if (match := _CHECKPOINT.fullmatch(name))))

    @property
    def thinned(self) -> dict[int, str]:
        """Steps whose checkpoints were removed on purpose, with the hashes of their weights."""
        return thinning.read(self.path, self.config_hash)

    @property
    def finished(self) -> bool:
        """Whether training went to its last step and everything about that step is written."""
        if self._last("step") != self.last_step or self._last("event") is not None:
            return False
        if self.recorded or self.lost_resume:
            return True
        return self.resume_path.exists() and header_facts(self.resume_path)["step"] == self.last_step

    @property
    def weightless(self) -> bool:
        """Whether this is a copy without weights: the metrics tell of checkpoints, or tables do, and none is here."""
        if self.steps or self.resume_path.exists():
            return False
        return bool(self.stated_weights) or any(self.analysis_path.glob("*.parquet"))

    @property
    def lost_resume(self) -> bool:
        """Whether a state to resume from was written and is not here any more."""
        if self.recorded or self.resume_path.exists():
            return False
        return self.weightless or (self._last("step") or 0) > self.config.train.save_every

    @property
    def diverged(self) -> int | None:
        """The step at which training was stopped because the loss went out of bounds; None if it was not."""
        return self._last("step") if self._last("event") == "diverged" else None

    def _last(self, key: str) -> Any:
        records = self.records()
        return records[-1].get(key) if records else None

    def records(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, checked against their chain and the length that the resume state states."""
        if self.resume_path.exists():
            facts = header_facts(self.resume_path)
            self._check_resume(facts)
            least = facts["size"]
            if least and (not self.metrics_path.exists() or self.metrics_path.stat().st_size < least):
                raise UserError(f"{self.metrics_path}: shorter than the {least} bytes that were written")
        return read_metrics(self.metrics_path, self.config_hash)

    def records_until(self, size: int, chain: str) -> list[dict[str, Any]]:
        """The lines in the first `size` bytes, which must end in this link of the chain."""
        records = read_metrics(self.metrics_path, self.config_hash, size)
        if (records[-1]["chain"] if records else self.config_hash) != chain:
            raise UserError(f"{self.metrics_path}: its first {size} bytes are not those of the resume state")
        return records

    def metrics(self) -> pd.DataFrame:
        """What was logged, long: step, split, metric, position, value."""
        try:
            task = self.config.task
        except UserError:
            return as_table(self.records(), (), "score")
        return as_table(self.records(), task.output_names, task.score_name)

    def weights(self, step: int, again: bool = False) -> dict[str, Tensor]:
        """The weights after `step` updates, every byte checked. Raises UserError when missing or damaged.

        Of weights that lie elsewhere it is the reference to their files, and these are what is checked: those of an
        adopted model by size and time of change, once their bytes were hashed (`again`: by their bytes anew).
        """
        weights = self.stored(step)
        if REFERENCE in weights:
            files = WeightFiles.behind(weights)
            if files is not None:
                here = linked_files(self.path, files)
                here.check(self.path, again)
                return weights if here == files else here.pack()
            reference = linked(self.path, Reference.unpack(weights, str(self.checkpoint_path(step))))
            reference.check()
            return reference.pack()
        return weights

    def stored(self, step: int) -> dict[str, Tensor]:
        """What a checkpoint file holds, every byte checked; a reference as it was written at the import."""
        return unpack(self.checkpoint_path(step), self._facts(step))[0]

    def weights_hash(self, step: int) -> str:
        """The hash a checkpoint states (cheap: only its header is read)."""
        path = self.checkpoint_path(step)
        facts = header_facts(path)
        check_facts(path, facts, self._facts(step))
        return facts["hash"]

    def keep(self, step: int, weights: Mapping[str, Tensor]) -> str:
        """Write a checkpoint; returns the hash of its weights."""
        path = self.checkpoint_path(step)
        write_atomically(path, pack(weights, self._facts(step)))
        return header_facts(path)["hash"]

    def _facts(self, step: int) -> dict[str, Any]:
        return {"format": WEIGHTS_FORMAT, "step": step, "config": self.config_hash}

    def checkpoint_path(self, step: int) -> Path:
        return self.path / "checkpoints" / f"{step:08d}.safetensors"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def timing_path(self) -> Path:
        return self.path / "timing.jsonl"

    @property
    def resume_path(self) -> Path:
        return self.path / "resume" / "state.safetensors"

    @property
    def analysis_path(self) -> Path:
        return self.path / "analysis"

    def table_path(self, name: str) -> Path:
        """Path of the cached table of an analysis."""
        return self.analysis_path / f"{name}.parquet"

    def resume_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and facts of the point to resume from, checked; None before the first one."""
        if not self.resume_path.exists():
            return None
        expected = {"format": RESUME_FORMAT, "config": self.config_hash}
        tensors, facts = unpack(self.resume_path, expected, free=_FREE)
        self._check_resume(facts)
        return tensors, facts

    def _check_resume(self, facts: dict[str, Any]) -> None:
        expected = {"format": RESUME_FORMAT, "config": self.config_hash}
        check_facts(self.resume_path, facts, expected, _FREE)
        whole = type(facts["step"]) is int and type(facts["size"]) is int and isinstance(facts["chain"], str)
        if not whole or not 0 <= facts["step"] <= self.last_step or facts["size"] < 0:
            raise UserError(f"{self.resume_path}: states an impossible step or length")

    def save_resume(self, tensors: Mapping[str, Tensor], step: int, size: int, chain: str) -> None:
        """Replace the point to resume from: weights and optimiser state, and where the metrics stood."""
        known = {"format": RESUME_FORMAT, "config": self.config_hash}
        facts = {**known, "step": step, "size": size, "chain": chain}
        try:
            self.resume_path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(self.resume_path, error) from None
        write_atomically(self.resume_path, pack(tensors, facts))

    def lock(self) -> AbstractContextManager[None]:
        """Exclusive lock on training this run until the block or the process ends; UserError if another has it."""
        return locked(self.path, "another process is training this run; wait for it, or choose another --out")
