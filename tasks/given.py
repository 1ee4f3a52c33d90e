"""Prompts that somebody has in tensors (or texts): a task made of them, in one call.

The prompts are the task: nothing is drawn, only chosen, and no prompt twice within one measurement, so that intervals
count prompts. Measurements of several chunks take an eighth of the prompts a chunk (at most as many as they ask for);
circuits are ordered, chosen and reported on a third of them each. One figure a prompt: the mean over its output
positions, which may differ from prompt to prompt.
"""

from __future__ import annotations

import dataclasses
import zlib
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from tasks.base import Batch, Interface, Pair, Relation, Task, register
from tasks.errors import UserError
from tasks.packing import packed, unpacked
from tasks.streams import check_batch, generator

CHUNKS = 8  # parts of the prompts, one a chunk of a measurement
FEWEST = 16


@dataclasses.dataclass(frozen=True)
class GivenBatch(Batch):
    """Prompts with the positions that count, and which of the given ones they are."""

    mask: Bool[Tensor, "batch pos"]
    rows: Int[Tensor, "batch"]


@register("given")
class GivenPrompts(Task):
    """Prompts with their answers, made by `from_tensors`.

    `data` holds the tensors as text: inputs, targets, mask (which positions count), and what else was given. `names`
    are those of the values of an attribute that was given in words. `outputs` and `vocabulary` are the sizes of the
    model's tables (0: as many as the prompts use). `pad` fills up short prompts, on `side`.
    """

    score_name: ClassVar[str] = "accuracy"

    data: dict[str, str] = Field(repr=False)
    names: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    vocabulary: int = Field(default=0, ge=0)
    outputs: int = Field(default=0, ge=0)
    pad: int | None = None
    side: Literal["left", "right", "both"] = "both"

    @model_validator(mode="after")
    def _whole(self) -> GivenPrompts:
        try:
            tensors = {name: unpacked(text) for name, text in self.data.items()}
        except (ValueError, TypeError, zlib.error, AttributeError):
            raise ValueError("data is not what tasks.from_tensors makes") from None
        if not {"inputs", "targets", "mask"} <= tensors.keys():
            raise ValueError("data lacks inputs, targets or mask")
        return self

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """What was given, by name."""
        return {name: unpacked(text) for name, text in self.data.items()}

    def __len__(self) -> int:
        return len(self.tensors["inputs"])

    @property
    def interface(self) -> Interface:
        inputs, mask = self.tensors["inputs"], self.tensors["mask"]
        counted = tuple(torch.nonzero(mask.any(0)).flatten().tolist())
        shared = {"n_ctx": inputs.shape[1], "output_positions": counted}
        if inputs.is_floating_point():
            return Interface(inputs="continuous", d_in=inputs.shape[2], d_out=self.outputs or 1, **shared)
        symbols = self.vocabulary or int(inputs.max()) + 1
        return Interface(
            inputs="token", d_vocab=symbols, d_out=self.outputs or self._answers(symbols), **shared
        )

    def _answers(self, symbols: int) -> int:
        return max(symbols, int(self.tensors["targets"].max()) + 1)

    @property
    def output_names(self) -> tuple[str, ...]:
        return ("answer",)

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        return ("given",) if "corrupt" in self.tensors else ()

    def sample(self, seed: int, stream: str, step: int, batch: int) -> Batch:
        """Some of the prompts, in an order of their own; fewer than asked where there are no more."""
        check_batch(batch, self.tensors["inputs"][0].numel())
        return self._batch(self._chosen(seed, stream, step, batch))

    def _chosen(self, seed: int, stream: str, step: int, batch: int) -> Tensor:
        order = torch.randperm(len(self), generator=generator(0, "given", 0))
        if stream.startswith("circuit"):
            third = order[2 if "validation" in stream else seed % 2 :: 3][:batch]
            return third.roll(1) if "resampled" in stream else third
        if stream == "analysis":
            size = min(batch, max(1, len(self) // CHUNKS))
            return order[step * size : (step + 1) * size]
        first = step * batch % len(self)
        return order.roll(-first)[:batch]

    def _batch(self, rows: Tensor, inputs: str = "inputs", targets: str = "targets") -> Batch:
        found = self.tensors
        return GivenBatch(found[inputs][rows], found[targets][rows], found["mask"][rows], rows)

    def loss(self, outputs: Float[Tensor, "batch pos d_out"], batch: Any) -> Float[Tensor, "batch output"]:
        """Mean cross entropy (nats) over a prompt's output positions."""
        targets = batch.targets.masked_fill(~batch.mask, 0)
        each = F.cross_entropy(outputs.transpose(1, 2), targets, reduction="none")
        return _mean(each, batch.mask)

    def score(self, outputs: Float[Tensor, "batch pos d_out"], batch: Any) -> Float[Tensor, "batch output"]:
        """Share of a prompt's output positions that are right."""
        return _mean((outputs.argmax(-1) == batch.targets).to(outputs.dtype), batch.mask)

    def answer(self, batch: Any) -> Float[Tensor, "batch pos d_out"]:
        """The targets as one-hot outputs."""
        hot = F.one_hot(batch.targets.masked_fill(~batch.mask, 0), self.interface.d_out).float()
        return hot * batch.mask[..., None]

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        if kind not in self.pair_kinds:
            return super().pair(kind, seed, stream, step, batch)
        rows = self._chosen(seed, stream, step, batch)
        clean, corrupt = self._batch(rows), self._batch(rows, "corrupt", "corrupt_targets")
        changed = (clean.inputs != corrupt.inputs).reshape(*clean.inputs.shape[:2], -1).any(-1)
        return Pair(kind, clean, corrupt, changed)

    def relations(self, batch: Any) -> tuple[Relation, ...]:
        names = [name.removeprefix("dest ") for name in self.tensors if name.startswith("dest ")]
        return tuple(
            Relation(
                name, *(self.tensors[f"{part} {name}"][batch.rows] for part in ("dest", "source", "valid"))
            )
            for name in names
        )

    @property
    def groups(self) -> dict[str, Tensor]:
        """Attributes of the prompts: a whole number for each."""
        found = self.tensors
        return {name.removeprefix("group "): found[name] for name in found if name.startswith("group ")}

    @property
    def attributes(self) -> tuple[str, ...]:
        return tuple(self.groups)

    def grouped(self, attribute: str) -> dict[str, Task]:
        if attribute not in self.groups:
            return super().grouped(attribute)
        words = self.names.get(attribute)
        values = [words[i] if words else i for i in self.groups[attribute].unique().tolist()]
        return {f"{attribute}={value}": self.only(**{attribute: value}) for value in values}

    def only(self, **values: int | str) -> GivenPrompts:
        """The task of those prompts alone whose attributes have these values. Raises UserError for an unknown one."""
        kept = torch.ones(len(self), dtype=torch.bool)
        for name, value in values.items():
            if name not in self.groups:
                raise UserError(
                    f"prompts have no attribute {name!r}: they have {', '.join(self.groups) or 'none'}"
                )
            words = self.names.get(name, ())
            number = words.index(value) if isinstance(value, str) and value in words else value
            kept &= self.groups[name] == (-1 if isinstance(number, str) else number)
        if int(kept.sum()) < FEWEST:
            raise UserError(f"{int(kept.sum())} prompts have {values}: {FEWEST} are needed")
        data = {name: packed(value[kept]) for name, value in self.tensors.items()}
        sizes = {"vocabulary": self.interface.d_vocab, "outputs": self.interface.d_out}  # of the same model
        return type(self).model_validate({**self.model_dump(), **sizes, "data": data})


def _mean(each: Float[Tensor, "batch pos"], mask: Tensor) -> Float[Tensor, "batch output"]:
    return ((each * mask).sum(1) / mask.sum(1))[:, None]
