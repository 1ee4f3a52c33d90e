"""Prompts that somebody has in tensors (or texts): a task made of them, in one call.

The prompts are the task: nothing is drawn, only chosen, and no prompt twice within one measurement, so that intervals
count prompts. Measurements of several chunks take an eighth of the prompts a chunk (at most as many as they ask for);
circuits are searched on one half of the prompts and judged on the other. One figure a prompt: the mean over its output
positions, which may differ from prompt to prompt.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

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
MOST_BYTES = 2**24


@dataclasses.dataclass(frozen=True)
class GivenBatch(Batch):
    """Prompts with the positions that count, and which of the given ones they are."""

    mask: Bool[Tensor, "batch pos"]
    rows: Int[Tensor, "batch"]


@register("given")
class GivenPrompts(Task):
    """Prompts with their answers, made by `from_tensors`.

    `data` holds the tensors as text: inputs, targets, mask (which positions count), and what else was given. `outputs`
    and `vocabulary` are the sizes of the model's tables (0: as many as the prompts use). `pad` fills up short prompts.
    """

    score_name: ClassVar[str] = "accuracy"

    data: dict[str, str] = Field(repr=False)
    vocabulary: int = Field(default=0, ge=0)
    outputs: int = Field(default=0, ge=0)
    pad: int | None = None

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
            half = order[seed % 2 :: 2][:batch]
            return half.roll(1) if "resampled" in stream else half
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
        values = self.groups[attribute].unique().tolist()
        return {f"{attribute}={value}": self.only(**{attribute: value}) for value in values}

    def only(self, **values: int) -> GivenPrompts:
        """The task of those prompts alone whose attributes have these values. Raises UserError for an unknown one."""
        kept = torch.ones(len(self), dtype=torch.bool)
        for name, value in values.items():
            if name not in self.groups:
                raise UserError(
                    f"prompts have no attribute {name!r}: they have {', '.join(self.groups) or 'none'}"
                )
            kept &= self.groups[name] == value
        if int(kept.sum()) < FEWEST:
            raise UserError(f"{int(kept.sum())} prompts have {values}: {FEWEST} are needed")
        data = {name: packed(value[kept]) for name, value in self.tensors.items()}
        sizes = {"vocabulary": self.interface.d_vocab, "outputs": self.interface.d_out}  # of the same model
        return type(self).model_validate({**self.model_dump(), **sizes, "data": data})


def _mean(each: Float[Tensor, "batch pos"], mask: Tensor) -> Float[Tensor, "batch output"]:
    return ((each * mask).sum(1) / mask.sum(1))[:, None]


def from_tensors(
    inputs: Tensor | Sequence[str],
    targets: Tensor | Sequence[str],
    mask: Tensor | None = None,
    *,
    corrupt: Tensor | None = None,
    corrupt_targets: Tensor | None = None,
    relations: Mapping[str, Sequence[Tensor]] | None = None,
    groups: Mapping[str, Sequence[int] | Tensor] | None = None,
    tokenizer: Any = None,
    vocabulary: int = 0,
    outputs: int = 0,
    pad: int | None = None,
) -> GivenPrompts:
    """A task of prompts that are there already.

    `inputs` are tokens [batch, pos], or numbers [batch, pos, d]; or texts, with a `tokenizer` that is called as
    tokenizer.encode(text). `targets` are output numbers [batch, pos] with a `mask` of the positions that count (all of
    them unless given), or [batch], the answer at the last position (of a text: at its last token). Texts of unequal
    length are filled up with `pad` on the right. `corrupt` are prompts to patch from, with their own targets.
    `relations` map a name to (dest, source) or (dest, source, valid), each [batch, pair]. `groups` map a name to one
    whole number a prompt (`task.only(hops=2)` is the task of that group). Raises UserError for shapes that do not fit.

    >>> import torch
    >>> x = torch.arange(64).reshape(16, 4) % 5
    >>> task = from_tensors(x, x.roll(-1, 1), mask=torch.tensor([[True, True, True, False]]).expand(16, 4))
    >>> len(task), task.interface.n_ctx, task.interface.output_positions
    (16, 4, (0, 1, 2))
    """
    if not isinstance(inputs, Tensor):
        inputs, targets, mask, pad = _encoded(inputs, targets, tokenizer, pad)
        vocabulary = vocabulary or len(tokenizer)
    if not isinstance(targets, Tensor):
        raise UserError("targets must be a tensor where inputs are one")
    if targets.ndim == 1:
        targets, mask = _last(targets, inputs.shape[1])
    mask = torch.ones_like(targets, dtype=torch.bool) if mask is None else mask.bool()
    found = {"inputs": inputs, "targets": targets, "mask": mask}
    if corrupt is not None:
        found |= {
            "corrupt": corrupt,
            "corrupt_targets": targets if corrupt_targets is None else corrupt_targets,
        }
    for name, parts in (relations or {}).items():
        valid = parts[2] if len(parts) > 2 else torch.ones_like(parts[0], dtype=torch.bool)
        found |= {f"dest {name}": parts[0], f"source {name}": parts[1], f"valid {name}": valid}
    found |= {f"group {name}": torch.as_tensor(values) for name, values in (groups or {}).items()}
    _check(found)
    data = {name: packed(value) for name, value in found.items()}
    if sum(map(len, data.values())) > MOST_BYTES:
        raise UserError(
            f"these prompts take over {MOST_BYTES >> 20} MB: give fewer, or write a task that makes them"
        )
    return GivenPrompts(data=data, vocabulary=vocabulary, outputs=outputs, pad=pad)


def _last(targets: Tensor, pos: int) -> tuple[Tensor, Tensor]:
    """Answers at the last position."""
    wide = torch.zeros(len(targets), pos, dtype=targets.dtype)
    wide[:, -1] = targets
    return wide, torch.arange(pos).expand(len(targets), -1) == pos - 1


def _encoded(
    texts: Sequence[str], answers: Tensor | Sequence[str], tokenizer: Any, pad: int | None
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Texts as tokens filled up on the right; the first token of an answer is due at the last token of its text."""
    if tokenizer is None:
        raise UserError("texts need a tokenizer (tokenizer=...)")
    words = [list(tokenizer.encode(text)) for text in texts]
    own = getattr(tokenizer, "pad_token_id", None)
    fill = next((p for p in (pad, own, getattr(tokenizer, "eos_token_id", None)) if p is not None), None)
    if fill is None:
        raise UserError("the tokenizer names no token to fill up short prompts with: give one (pad=...)")
    longest = max(map(len, words))
    inputs = torch.tensor([word + [fill] * (longest - len(word)) for word in words])
    due = [
        a if isinstance(a, int) else tokenizer.encode(a, add_special_tokens=False)[0] for a in list(answers)
    ]
    ends = torch.tensor([len(word) - 1 for word in words])
    mask = torch.arange(longest) == ends[:, None]
    return inputs, torch.tensor(due)[:, None] * mask, mask, fill


def _check(found: Mapping[str, Tensor]) -> None:
    inputs, targets, mask = (found[name] for name in ("inputs", "targets", "mask"))
    wanted = list(inputs.shape[:2])
    if len(inputs) < FEWEST:
        raise UserError(f"{len(inputs)} prompts are too few to measure on: give {FEWEST} or more")
    for name, value in (("targets", targets), ("mask", mask)):
        if list(value.shape) != wanted:
            raise UserError(
                f"{name} must be {wanted} (a row a prompt, a column a position), got {list(value.shape)}"
            )
    if targets.is_floating_point():
        raise UserError(
            "targets must be whole numbers (indices of outputs); for others write a task with its own loss"
        )
    if not bool(mask.any(1).all()):
        raise UserError("a prompt has no position that counts: every row of mask needs one")
    for name, value in found.items():
        if len(value) != len(inputs):
            raise UserError(f"{name}: {len(value)} rows for {len(inputs)} prompts")
    if "corrupt" in found and found["corrupt"].shape != inputs.shape:
        raise UserError(f"corrupt prompts must be {list(inputs.shape)}, got {list(found['corrupt'].shape)}")
