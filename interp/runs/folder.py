"""The run folder: its layout, and reading it back so that damage is an error and never a number.

config.json                      settings, their hash, schema and package version, device, checksum of it all
metrics.jsonl, timing.jsonl      see `interp.runs.metrics`; timings are informative and not checked
checkpoints/00000000.safetensors weights; facts: format, step, config hash, weights hash
resume/state.safetensors         weights and optimiser state of the latest point to resume from
analysis/NAME.parquet            tables
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from interp._version import BITS
from interp.config.run import RunConfig, parse_config
from interp.io.files import cannot_write, header_facts, write_atomically
from interp.io.hf_reference import REFERENCE, Reference
from interp.io.lock import locked
from interp.io.tensors import pack, unpack
from interp.io.weight_files import WeightFiles
from interp.runs import header
from interp.runs.links import linked, linked_files
from interp.runs.metrics import as_table, read_metrics
from interp.runs.same import is_bookkeeping, refuse_other
from interp.runs.stored import FREE, RESUME_FORMAT, StoredRun
from tasks.errors import UserError


class RunFolder(StoredRun):
    """One run on disk. Opening reads config.json only; the rest is read, and checked, when needed."""

    head: header.Header

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
        return unpack(self.checkpoint_path(step), self.facts(step))[0]

    def keep(self, step: int, weights: Mapping[str, Tensor]) -> str:
        """Write a checkpoint; returns the hash of its weights."""
        path = self.checkpoint_path(step)
        write_atomically(path, pack(weights, self.facts(step)))
        return header_facts(path)["hash"]

    def resume_state(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and facts of the point to resume from, checked; None before the first one."""
        if not self.resume_path.exists():
            return None
        expected = {"format": RESUME_FORMAT, "config": self.config_hash}
        tensors, facts = unpack(self.resume_path, expected, free=FREE)
        self._check_resume(facts)
        return tensors, facts

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
