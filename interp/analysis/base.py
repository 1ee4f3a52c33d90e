"""The interface of an analysis: its settings, the accumulator that computes it at one checkpoint, and its cache key.

`Analysis` uses chunks of shared forward passes; `Direct` runs the model itself. `interp.analysis.stream` streams both
over the checkpoints of a run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

import pandas as pd
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from interp.config.run import RunConfig
from interp.hooks.protocol import HookedModel
from interp.io.former import formerly
from tasks import Batch, Task, UserError
from tasks.complaints import first_problem
from tasks.renamed import Renaming, names_of, refuse_settings

CHUNK = 256
Progress = Callable[[str, int, int], None]


@runtime_checkable
class Accumulator(Protocol):
    """The accumulator of an analysis for one model: it receives chunk after chunk, then returns its table."""

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        """Take in one chunk; `cache` maps the hook names asked for to activations."""
        ...

    def table(self) -> pd.DataFrame:
        """Rows without `run`, `seed` and `step`."""
        ...


@runtime_checkable
class PairAccumulator(Accumulator, Protocol):
    """The accumulator of an analysis that also takes the next checkpoint (`Analysis.paired`)."""

    def follow(self, weights: Mapping[str, Tensor], stride: int) -> None:
        """Take in the weights of the next checkpoint asked for, which is `stride` steps on."""
        ...


class Analysis(Renaming, BaseModel):
    """Settings of a measurement that is made at every checkpoint.

    `version` is part of the cache key: raise it when the meaning of the numbers changes. With `with_untrained`, an
    untrained model (fresh initialisation) is measured once on the same prompts; its accumulator is passed to all others
    as the control. `former` maps settings that were renamed to the names under which the key hashes them, so that
    tables made before are still found; `later` names settings that came later, which it leaves out where they are None.
    `runs_model`: the accumulator runs the model, or uses its weights, itself;
    interventions during training are active in the shared forward passes only, so such an analysis is refused where one
    is active. With `paired`, rows of a checkpoint may depend on the next requested one: accumulators are
    `PairAccumulator`s, and `serves` decides which cached rows are valid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    version: ClassVar[int] = 1
    with_untrained: ClassVar[bool] = False
    runs_model: ClassVar[bool] = False
    paired: ClassVar[bool] = False
    former: ClassVar[Mapping[str, str]] = {}
    later: ClassVar[tuple[str, ...]] = ()

    chunks: int = 4

    @model_validator(mode="before")
    @classmethod
    def _former_names(cls, settings: Any) -> Any:
        if isinstance(settings, dict):
            refuse_settings(name for name in settings if name not in cls.model_fields)
        return settings

    def of(self, config: RunConfig) -> Analysis:
        """The analysis as it is taken of one run: itself, unless it needs what only the run's settings say."""
        return self

    @property
    def most_chunks(self) -> int:
        """How many chunks it may need."""
        return self.chunks

    @property
    def most_prompts(self) -> int | None:
        """How many prompts it takes of its chunks together, the first ones; None: all."""
        return None

    def serves(self, rows: pd.DataFrame, stride: int | None) -> bool:
        """Whether cached rows of a checkpoint are valid when the next one is `stride` steps on (None: none)."""
        return True

    def distribution(self, task: Task, chunk: int) -> Task:
        """The task from whose prompts a chunk is drawn: the run's own, unless an analysis uses another distribution."""
        return task

    def hooks(self, model: HookedModel) -> list[str]:
        """Names of the activations that the accumulator needs."""
        raise NotImplementedError

    def accumulator(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> Accumulator:
        """A new accumulator; `untrained` is the untrained model's, already complete (None for that one itself)."""
        raise NotImplementedError

    def constants(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> pd.DataFrame | None:
        """Rows that belong to no checkpoint (chance levels, the untrained model's scores); none by default."""
        return None

    def uses(self) -> tuple[Any, ...]:
        """What decides the numbers besides the class: its settings, and code that these name. Tables are stamped with
        such of it as is not this package's (`interp.io.code`).
        """
        return tuple(getattr(self, name) for name in type(self).model_fields)

    @property
    def table_name(self) -> str:
        """File name of the table: the analysis' name, with the key behind it when settings are not the usual ones."""
        fields = type(self).model_fields
        required = any(field.is_required() for field in fields.values())
        usual = not required and self.model_dump() == type(self)().model_dump()
        return self.name if usual else f"{self.name}-{self.key[:8]}"

    @property
    def key(self) -> str:
        """Hash of the name, version and settings, under the names that settings had in version 0.1."""
        settings = self.model_dump(mode="json")
        known = {k: value for k, value in settings.items() if not (k in self.later and value is None)}
        text = json.dumps([self.name, self.version, formerly(known, self.former)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Direct(Analysis):
    """An analysis that runs the model itself, on pairs of its own, and needs none of the shared chunks."""

    runs_model: ClassVar[bool] = True

    chunks: int = Field(default=0, ge=0, le=0)
    prompts: int = Field(default=64, ge=2)
    seed: int = 0

    def hooks(self, model: HookedModel) -> list[str]:
        return []

    def accumulator(self, model: HookedModel, task: Task, untrained: Accumulator | None) -> Once:
        return Once(self, model, task)

    def measure(self, model: HookedModel, task: Task) -> pd.DataFrame:
        """The table of one model."""
        raise NotImplementedError


class Once:
    """The accumulator of a direct analysis, which receives no chunks."""

    def __init__(self, analysis: Direct, model: HookedModel, task: Task):
        self.analysis, self.model, self.task = analysis, model, task

    def add(self, chunk: int, batch: Batch, outputs: Float[Tensor, "batch pos d_out"], cache: Any) -> None:
        raise AssertionError(f"{self.analysis.name} asks for no chunks")

    def table(self) -> pd.DataFrame:
        return self.analysis.measure(self.model, self.task)


A = TypeVar("A", bound=Analysis)


def validated(kind: type[A], /, **settings: Any) -> A:
    """An analysis with these settings. Raises UserError, on one line, for settings that will not do."""
    try:
        return kind(**settings)
    except ValidationError as error:
        raise UserError(f"{kind.name}: {first_problem(error, kind.model_fields)}") from None


if not TYPE_CHECKING:
    __getattr__ = names_of(__name__)  # of version 0.1
