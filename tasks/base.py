"""What a task is: data as a pure function of (seed, stream, step), a loss, an answer, and pairs for patching.

A task is its own configuration: a frozen pydantic model whose fields are its settings. It is independent of models;
`Interface` states what a model must accept and return. Shapes: `batch` prompts, `pos` tokens a prompt, `output` output
positions a prompt, one prediction each (x-positions of a regression prompt, hops of a retrieval prompt).
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import torch
from jaxtyping import Bool, Float, Shaped
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from tasks.complaints import problems
from tasks.errors import Faults, UnknownTask, UserError
from tasks.plugins import load_plugins
from tasks.renamed import Renaming, refuse_members
from tasks.shipped import SHIPPED

Self = TypeVar("Self", bound="Batch")  # beartype cannot check typing.Self on the methods of a dataclass


@dataclasses.dataclass(frozen=True)
class Batch:
    """A batch of prompts. Tasks subclass it to add ground truth (weights, chains, sources).

    Every field is a tensor whose first axis is the prompt.
    """

    inputs: Shaped[Tensor, "batch pos *token"]
    targets: Shaped[Tensor, "batch *output"]

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def _map(self: Self, change: Callable[[Tensor], Tensor]) -> Self:
        return dataclasses.replace(
            self, **{f.name: change(getattr(self, f.name)) for f in dataclasses.fields(self)}
        )

    def to(self: Self, device: torch.device | str) -> Self:
        """The same prompts on another device."""
        return self._map(lambda t: t.to(device))

    def select(self: Self, rows: slice | Tensor) -> Self:
        """Some of the prompts, in the order asked for."""
        return self._map(lambda t: t[rows])

    def double(self: Self) -> Self:
        """The same prompts with float64 in place of float32; integers stay."""
        return self._map(lambda t: t.double() if t.is_floating_point() else t)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Clean and corrupt prompts that differ exactly in the tokens marked by `changed`."""

    kind: str
    clean: Batch
    corrupt: Batch
    changed: Bool[Tensor, "batch pos"]


@dataclasses.dataclass(frozen=True)
class Relation:
    """Pairs of positions whose attention has a meaning: row `dest[b, i]` should attend to column `source[b, i]`.

    A head's score on the relation is the attention mass summed over the sources of a row, averaged over rows.
    Prompts may have different pairs: those that `valid` marks False do not count (None: every pair does).
    """

    name: str
    dest: Shaped[Tensor, "batch pair"]
    source: Shaped[Tensor, "batch pair"]
    valid: Bool[Tensor, "batch pair"] | None = None

    def pairs(self, prompt: int) -> list[tuple[int, int]]:
        """The (row, column) pairs of one prompt that count."""
        found = zip(self.dest[prompt].tolist(), self.source[prompt].tolist(), strict=True)
        if self.valid is None:
            return list(found)
        return [pair for pair, counts in zip(found, self.valid[prompt].tolist(), strict=True) if counts]


@dataclasses.dataclass(frozen=True)
class Level:
    """A reference level at each output position: closed-form (`se` is 0) or a Monte Carlo mean with standard error."""

    value: Float[Tensor, "output"]
    se: Float[Tensor, "output"]
    source: str


class Interface(Renaming, BaseModel):
    """What a model must accept and return to be trained on a task.

    `inputs`: "continuous" (Float[batch pos d_in]), "token" (Int[batch pos]), or "pair" (Int[batch pos 2], a key and a
    value with separate tables of `d_vocab` and `d_vocab + 1` rows; value index `d_vocab` is the blank).
    `token_types` gives a type to each position (empty: all alike); `output_positions` those whose output counts.
    `outputs` are the entries of a larger vocabulary whose logits are wanted, in order (empty: the model's own outputs).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: Literal["continuous", "token", "pair"]
    n_ctx: int
    d_out: int
    d_in: int = 0
    d_vocab: int = 0
    token_types: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    output_positions: tuple[int, ...]

    if not TYPE_CHECKING:

        def __init__(self, **settings: Any) -> None:
            refuse_members("Interface", settings)
            super().__init__(**settings)


class Task(Renaming, BaseModel):
    """Base class of tasks. Subclasses define `interface`, `sample` and `loss`; the rest where it is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1  # raised where files that the task reads change
    score_name: ClassVar[str] = "loss"

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        """Names that `pair` takes; they may depend on the settings (one per hop of a retrieval chain)."""
        return ()

    @property
    def interface(self) -> Interface:
        raise NotImplementedError

    @property
    def output_names(self) -> tuple[str, ...]:
        """A short name for each output position, in order."""
        return tuple(str(p) for p in self.interface.output_positions)

    @property
    def label_variance(self) -> float:
        """Variance of a real-valued target, the unit of errors; 1 unless a task overrides it."""
        return 1.0

    def sample(self, seed: int, stream: str, step: int, batch: int) -> Batch:
        """Prompts: a pure function of its arguments (same arguments, same bits)."""
        raise NotImplementedError

    def loss(self, outputs: Float[Tensor, "batch pos d_out"], batch: Any) -> Float[Tensor, "batch output"]:
        """Loss at each output position of each prompt; lower is better."""
        raise NotImplementedError

    def score(self, outputs: Float[Tensor, "batch pos d_out"], batch: Any) -> Float[Tensor, "batch output"]:
        """The score reported for the task (`score_name`); the loss unless a task has a better one."""
        return self.loss(outputs, batch)

    def answer(self, batch: Any) -> Float[Tensor, "batch pos d_out"]:
        """The Bayes-optimal answer in the shape of a model's outputs (zeros at positions without a target)."""
        raise UserError(f"task {self.kind!r} has no closed-form answer")

    def bayes_risk(self) -> Level:
        """Bayes risk: expected loss of the Bayes-optimal answer at each output position."""
        raise UserError(f"task {self.kind!r} has no closed-form Bayes risk")

    def chance(self) -> Level:
        """Expected `score` at each output position of the best guess that ignores the prompt's examples."""
        raise UserError(f"task {self.kind!r} has no stated chance level")

    def strategies(self, batch: Any) -> dict[str, Float[Tensor, "batch pos d_out"]]:
        """Outputs of predictors other than `answer` (simpler, or rival algorithms), by name; none by default."""
        return {}

    def distance(
        self,
        outputs: Float[Tensor, "batch pos d_out"],
        strategy: Float[Tensor, "batch pos d_out"],
        batch: Any,
    ) -> Float[Tensor, "batch output"]:
        """Distance of outputs from a strategy's at each output position: 0 where they agree, never negative."""
        raise UserError(f"task {self.kind!r} has no distance between predictors")

    @property
    def distributions(self) -> dict[str, Task]:
        """The tasks with this one's interface on which a model of this task is worth evaluating, by name."""
        return {}

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names that `grouped` takes: what prompts differ in (hops asked, length, template); none by default."""
        return ()

    def grouped(self, attribute: str) -> dict[str, Task]:
        """The tasks of those prompts that share a value of an attribute, by "attribute=value"."""
        known = f"they have {', '.join(self.attributes)}" if self.attributes else "this task has no groups"
        raise UserError(f"prompts of task {self.kind!r} have no attribute {attribute!r}: {known}")

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        """Clean and corrupt prompts of one of `pair_kinds`."""
        raise UserError(f"task {self.kind!r} has no pairs of kind {kind!r}; it has {list(self.pair_kinds)}")

    def relations(self, batch: Any) -> tuple[Relation, ...]:
        """Position pairs at which attention has a known meaning; none by default."""
        return ()

    def uses(self) -> tuple[Any, ...]:
        """Functions, classes and values outside this class that decide its numbers: tables are stamped with them.

        The class itself, its module and what its methods refer to are taken without being named here. Files that a task
        reads are not seen: raise the class's `version` when they change.
        """
        return ()

    def labels(self, batch: Any) -> list[list[str]]:
        """A human-readable label for each token of each prompt."""
        return [[str(p) for p in range(self.interface.n_ctx)] for _ in range(len(batch))]


_REGISTRY: dict[str, type[Task]] = {}
MODULES = "ALGOSCOPE_TASKS"  # the variable of modules that register tasks
T = TypeVar("T", bound=type[Task])


def register(kind: str) -> Callable[[T], T]:
    """Class decorator: register a task under a name that configurations and runs can use."""

    def add(cls: T) -> T:
        known = _REGISTRY.get(kind)
        if known is not None and known.__qualname__ != cls.__qualname__:
            raise UserError(f"task kind {kind!r} is taken by {known.__module__}.{known.__qualname__}")
        cls.kind = kind
        _REGISTRY[kind] = cls
        return cls

    return add


def kinds() -> list[str]:
    """Names of every registered task.

    Included are those of installed plug-ins (entry points `algoscope.tasks`) and of the modules that the
    environment variable ALGOSCOPE_TASKS names, comma between them. Raises UserError for a module that is not there.
    """
    for module in SHIPPED:
        importlib.import_module(f"tasks.{module}")
    load_plugins(MODULES, "algoscope.tasks", _REGISTRY, UnknownTask)
    return sorted(_REGISTRY)


def build(settings: dict[str, Any]) -> Task:
    """The task that `settings` describes: its registered `kind` and the fields of that class.

    Raises UserError for an unknown kind, an unknown field, or a value out of range.
    """
    kind = settings.get("kind")
    if kind not in kinds():
        if kind is None:
            raise UserError(f"task has no kind: known are {kinds()}")
        raise UnknownTask(
            f"unknown task kind {kind!r}: known are {kinds()}; import the module that registers yours "
            f"(at a terminal: {MODULES}=module interp ...)"
        )
    try:
        return _REGISTRY[kind](**{k: v for k, v in settings.items() if k != "kind"})
    except ValidationError as error:
        found = problems(error, _REGISTRY[kind].model_fields, "task")
        whole = "task: "  # what is wrong with several settings together
        told = [
            f"task {kind!r}: {line.removeprefix(whole)}" if line.startswith(whole) else line for line in found
        ]
        raise Faults(told) from None


def task_class(kind: object) -> type[Task] | None:
    """The class of a registered kind, None for a kind that is unknown."""
    return _REGISTRY[kind] if isinstance(kind, str) and kind in kinds() else None


def settings_of(task: Task) -> dict[str, Any]:
    """The dictionary from which `build` makes the task again."""
    return {"kind": task.kind, **task.model_dump(mode="json")}
