"""What an analysis is: settings of a measurement, the reader that takes it at one checkpoint, and its cache key.

`Analysis` reads chunks of shared forward passes; `Direct` runs the model itself. `interp.analysis.stream` streams both
over the checkpoints of a run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import pandas as pd
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from interp.hooks.protocol import HookedModel
from tasks import Batch, Task

CHUNK = 256
Progress = Callable[[str, int, int], None]


@runtime_checkable
class Reader(Protocol):
    """What an analysis makes of one model: it is shown chunk after chunk, then asked for its table."""

    def read(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        """Take in one chunk; `cache` maps the hook names asked for to activations."""
        ...

    def table(self) -> pd.DataFrame:
        """Rows without `run`, `seed` and `step`."""
        ...


class Analysis(BaseModel):
    """Settings of a measurement that is taken at every checkpoint.

    `version` goes into the cache key: raise it when the numbers change their meaning. With `twin`, an untrained model
    of fresh initialisation is read once on the same prompts; its reader is handed to every other reader as the control.
    `runs_model` says that the reader runs the model, or reads its weights, itself: clamps of a training are in force in
    the shared forward passes only, so such an analysis is refused where one holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    version: ClassVar[int] = 1
    twin: ClassVar[bool] = False
    runs_model: ClassVar[bool] = False

    chunks: int = 4

    def law(self, task: Task, chunk: int) -> Task:
        """The task whose prompts a chunk holds: the run's own, unless an analysis asks for another law."""
        return task

    def hooks(self, model: HookedModel) -> list[str]:
        """Names of the activations the reader wants to see."""
        raise NotImplementedError

    def reader(self, model: HookedModel, task: Task, twin: Reader | None) -> Reader:
        """A fresh reader; `twin` has read the untrained model already (None for the twin's own reader)."""
        raise NotImplementedError

    def constants(self, model: HookedModel, task: Task, twin: Reader | None) -> pd.DataFrame | None:
        """Rows that belong to no checkpoint (chance levels, the twin's scores); none by default."""
        return None

    @property
    def table_name(self) -> str:
        """File name of the table: the analysis' name, with the key behind it when settings are not the usual ones."""
        fields = type(self).model_fields
        required = any(field.is_required() for field in fields.values())
        usual = not required and self == type(self)()
        return self.name if usual else f"{self.name}-{self.key[:8]}"

    @property
    def key(self) -> str:
        """Hash of the name, version and settings."""
        text = json.dumps([self.name, self.version, self.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Direct(Analysis):
    """An analysis that runs the model itself, on pairs of its own, and needs none of the shared chunks."""

    runs_model: ClassVar[bool] = True

    chunks: int = Field(default=0, ge=0, le=0)
    prompts: int = Field(default=64, ge=2)
    seed: int = 0

    def hooks(self, model: HookedModel) -> list[str]:
        return []

    def reader(self, model: HookedModel, task: Task, twin: Reader | None) -> Once:
        return Once(self, model, task)

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        """The table of one model."""
        raise NotImplementedError


class Once:
    """The reader of a direct analysis: it is shown no chunk."""

    def __init__(self, analysis: Direct, model: HookedModel, task: Task):
        self.analysis, self.model, self.task = analysis, model, task

    def read(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        raise AssertionError(f"{self.analysis.name} asks for no chunks")

    def table(self) -> pd.DataFrame:
        return self.analysis.measure(self.model, self.task)
