"""A run as its files tell it: checkpoints, metrics, what is finished, thinned or lost. Loads no torch.

Owns which files a run folder has and what they state (layout: `interp.runs.folder`, which adds settings as objects and
weights as tensors). `Stated` is the header of a run whose settings are as they were written, so that nothing needs to
understand them; `stated` has none for a folder that is not wholly in order or needs code from outside: then
`RunFolder.open` finds out what is wrong.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from interp._version import __version__
from interp.config.schedule import checkpoint_steps
from interp.io.files import RESTORE, canonical, check_facts, header_facts, sha256
from interp.runs import thinning
from interp.runs.metrics import read_metrics
from tasks.errors import UserError

NAME = "config.json"
WEIGHTS_FORMAT = "algoscope weights 1"
RESUME_FORMAT = "algoscope resume 1"
FREE = ("step", "size", "chain")
_CHECKPOINT = re.compile(r"(\d{8})\.safetensors")
_PLAIN = {"schema", "version", "device", "hash", "settings", "checksum", "bits"}


@dataclass(frozen=True)
class Stated:
    """Settings as they stand in config.json."""

    hash: str
    settings: dict[str, Any]


def stated(path: Path) -> Stated | None:
    """The header of a run of this version or an older one whose task and model are this package's, every byte checked;
    None for anything else."""
    try:
        data = (path / NAME).read_bytes()
        body = json.loads(data)
        checksum, settings = body["checksum"], body["settings"]
        bare = {name: value for name, value in body.items() if name != "checksum"}
        whole = (
            set(body) <= _PLAIN
            and body["schema"] == 1
            and _numbered(body["version"]) <= _numbered(__version__)
            and checksum == sha256(canonical(bare))
            and body["hash"] == sha256(canonical(settings))
            and (json.dumps(body, indent=2, sort_keys=True) + "\n").encode() == data
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Stated(body["hash"], settings) if whole and isinstance(settings, dict) else None


def _numbered(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


class StoredRun:
    """One run on disk, by its header. What is read is checked when it is needed."""

    def __init__(self, path: Path, head: Any):
        self.path = path
        self.head = head  # what has the hash of the settings, and these

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
    def recorded(self) -> bool:
        """Whether the run was recorded from an external training loop (`Recorder`)."""
        return "recorded" in self.head.settings

    @property
    def schedule(self) -> tuple[int, ...]:
        """Steps whose weights the run is to save, increasing."""
        settings = self.head.settings
        if self.recorded:
            return tuple(settings["schedule"])
        train = settings["train"]
        return checkpoint_steps(SimpleNamespace(**train["schedule"]), train["steps"])

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
        return self.weightless or (self._last("step") or 0) > self.head.settings["train"]["save_every"]

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
            if least and not self.metrics_path.exists():
                raise UserError(f"{self.metrics_path}: is missing; {RESTORE}")
            if least and self.metrics_path.stat().st_size < least:
                raise UserError(
                    f"{self.metrics_path}: shorter than the {least} bytes that were written; {RESTORE}"
                )
        return read_metrics(self.metrics_path, self.config_hash)

    def weights_hash(self, step: int) -> str:
        """The hash a checkpoint states (cheap: only its header is read)."""
        path = self.checkpoint_path(step)
        facts = header_facts(path)
        check_facts(path, facts, self.facts(step))
        return facts["hash"]

    def facts(self, step: int) -> dict[str, Any]:
        """What the file of a checkpoint must state."""
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

    def _check_resume(self, facts: dict[str, Any]) -> None:
        expected = {"format": RESUME_FORMAT, "config": self.config_hash}
        check_facts(self.resume_path, facts, expected, FREE)
        whole = type(facts["step"]) is int and type(facts["size"]) is int and isinstance(facts["chain"], str)
        if not whole or not 0 <= facts["step"] <= self.last_step or facts["size"] < 0:
            raise UserError(f"{self.resume_path}: states an impossible step or length")
