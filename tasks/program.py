"""A compiled program as a task: its prompts, its answers at every position, and where an answer is defined.

The prompts are a list (of a `program.json`, see `tasks.program_files`), drawn from with equal chances; they may be of
several lengths, and shorter ones end in padding. Token 0 is the start token and is never read. A compiled net writes 1
on the output of the right value ("categorical"), or the value itself; losses and scores are averaged over the positions
of a prompt at which an answer is defined. Source of such programs: tracr, Lindner et al. 2301.05062.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from tasks.base import Batch, Interface, Level, Pair, Relation, Task, register
from tasks.streams import check_batch, generator

START, PAD = "compiler_bos", "compiler_pad"
Word = str | int | float | None


@dataclasses.dataclass(frozen=True)
class ProgramBatch(Batch):
    """Prompts; `targets` are values, or numbers of outputs, at the positions from 1 on; `defined` says which count.
    `lengths` counts tokens, the start token included and padding not."""

    defined: Bool[Tensor, "batch answer"]
    lengths: Int[Tensor, "batch"]


@register("program")
class Program(Task):
    """Settings of a program's task: everything its file states about prompts and answers.

    `tokens` are the meanings of the ids, `outputs` those of the outputs. `targets` and `defined` have an entry for
    every token of a prompt but the first.
    """

    name: str = ""
    tokens: tuple[Word, ...] = Field(min_length=2)
    outputs: tuple[Word, ...] = Field(min_length=1)
    categorical: bool
    prompts: tuple[tuple[int, ...], ...] = Field(min_length=1, max_length=65536, repr=False)
    targets: tuple[tuple[float, ...], ...] = Field(repr=False)
    defined: tuple[tuple[bool, ...], ...] = Field(repr=False)

    score_name: ClassVar[str] = "error"

    @model_validator(mode="after")
    def _consistent(self) -> Program:
        if not len(self.prompts) == len(self.targets) == len(self.defined):
            counts = (
                f"{len(self.prompts)} prompts, {len(self.targets)} targets and {len(self.defined)} defined"
            )
            raise ValueError(f"a program's lists differ in length: {counts}")
        several = len({len(prompt) for prompt in self.prompts}) > 1
        if several and PAD not in self.tokens:
            raise ValueError(f"prompts of several lengths need a token {PAD!r} among the tokens")
        if not self.categorical and len(self.outputs) != 1:
            raise ValueError(f"a program of numbers has one output, not {len(self.outputs)}")
        for i in range(len(self.prompts)):
            self._check_prompt(i)
        return self

    def _check_prompt(self, i: int) -> None:
        prompt, targets, defined = self.prompts[i], self.targets[i], self.defined[i]
        if len(prompt) < 2 or not len(prompt) - 1 == len(targets) == len(defined):
            raise ValueError(
                f"prompt {i} has {len(prompt)} tokens, {len(targets)} targets and {len(defined)} defined: "
                "a start token, and one of each for every other token, are needed"
            )
        if not all(0 <= token < len(self.tokens) for token in prompt):
            raise ValueError(f"prompt {i} has an id outside the {len(self.tokens)} tokens")
        if not any(defined):
            raise ValueError(f"prompt {i} has no position with an answer")
        values = [value for value, counts in zip(targets, defined, strict=True) if counts]
        if self.categorical and not all(v == int(v) and 0 <= v < len(self.outputs) for v in values):
            raise ValueError(f"prompt {i} has a target outside the {len(self.outputs)} outputs")

    @property
    def n_ctx(self) -> int:
        """Tokens of the longest prompt."""
        return max(len(prompt) for prompt in self.prompts)

    @property
    def interface(self) -> Interface:
        return Interface(
            inputs="token", n_ctx=self.n_ctx, d_vocab=len(self.tokens), d_out=len(self.outputs),
            output_positions=tuple(range(1, self.n_ctx)),
        )  # fmt: skip

    @property
    def output_names(self) -> tuple[str, ...]:
        return ("defined positions",)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Numbers of tokens that prompts have, the start token not counted, in increasing order."""
        return tuple(sorted({len(prompt) - 1 for prompt in self.prompts}))

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        if len(set(self.prompts)) < 2:
            return ()
        return ("other-prompt", "other-length") if len(self.lengths) > 1 else ("other-prompt",)

    @cached_property
    def _table(self) -> ProgramBatch:
        """Every prompt, padded to the longest."""
        pad = self.tokens.index(PAD) if PAD in self.tokens else 0
        inputs = torch.full((len(self.prompts), self.n_ctx), pad)
        targets = torch.zeros(len(self.prompts), self.n_ctx - 1)
        defined = torch.zeros(len(self.prompts), self.n_ctx - 1, dtype=torch.bool)
        for i, prompt in enumerate(self.prompts):
            inputs[i, : len(prompt)] = torch.tensor(prompt)
            defined[i, : len(prompt) - 1] = torch.tensor(self.defined[i])
            targets[i, : len(prompt) - 1] = torch.tensor(self.targets[i])
        targets = targets.masked_fill(~defined, 0.0)
        lengths = torch.tensor([len(prompt) for prompt in self.prompts])
        return ProgramBatch(inputs, targets.long() if self.categorical else targets, defined, lengths)

    def every(self) -> ProgramBatch:
        """All prompts of the list, in order."""
        return self._table.select(slice(None))

    def _drawn(self, seed: int, stream: str, step: int, batch: int) -> Int[Tensor, "batch"]:
        check_batch(batch, 3 * self.n_ctx)
        return torch.randint(len(self.prompts), (batch,), generator=generator(seed, stream, step))

    def sample(self, seed: int, stream: str, step: int, batch: int) -> ProgramBatch:
        """Prompts of the list, with replacement: a pure function of the arguments. Raises UserError for a batch that
        is empty or too big."""
        return self._table.select(self._drawn(seed, stream, step, batch))

    def answer(self, batch: ProgramBatch) -> Float[Tensor, "batch pos d_out"]:
        """What the compiled net writes where an answer is defined: 1 on its output, or the value; zeros elsewhere."""
        right = (
            F.one_hot(batch.targets, len(self.outputs)).float()
            if self.categorical
            else batch.targets[..., None]
        )
        return F.pad(right * batch.defined[..., None], (0, 0, 1, 0))

    def loss(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: ProgramBatch
    ) -> Float[Tensor, "batch output"]:
        """Squared distance to `answer`, averaged over a prompt's defined positions."""
        return self._mean((outputs - self.answer(batch).to(outputs)).square().sum(-1)[:, 1:], batch)

    def score(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: ProgramBatch
    ) -> Float[Tensor, "batch output"]:
        """Share of wrong answers among a prompt's defined positions; for numbers, their mean absolute error."""
        if self.categorical:
            return self._mean((outputs[:, 1:].argmax(-1) != batch.targets).to(outputs), batch)
        return self._mean((outputs[:, 1:, 0] - batch.targets).abs(), batch)

    def _mean(
        self, each: Float[Tensor, "batch answer"], batch: ProgramBatch
    ) -> Float[Tensor, "batch output"]:
        counts = batch.defined.to(each)
        return ((each * counts).sum(1) / counts.sum(1))[:, None]

    def bayes_risk(self) -> Level:
        """0: the program determines every answer."""
        return Level(torch.zeros(1), torch.zeros(1), "the program determines every answer")

    def chance(self) -> Level:
        """Score of the best answer that depends on the position only: the most frequent value (numbers: the median)."""
        table = self._table
        best = torch.zeros(self.n_ctx, len(self.outputs))
        for place in range(self.n_ctx - 1):
            values = table.targets[:, place][table.defined[:, place]]
            if len(values) and self.categorical:
                best[place + 1, values.mode().values] = 1.0
            elif len(values):
                best[place + 1] = values.median()
        value = self.score(best.expand(len(self.prompts), -1, -1), table).mean(0)
        return Level(value, torch.zeros(1), "the commonest answer of each position")

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        """ "other-prompt": any other prompt of the list. "other-length": one of another length, so that whatever
        counts positions differs too."""
        if kind not in self.pair_kinds:
            return super().pair(kind, seed, stream, step, batch)
        index = self._drawn(seed, stream, step, batch)
        table, clean = self._table, self._table.select(index)
        lottery = torch.rand(batch, len(self.prompts), generator=generator(seed, f"{stream}/{kind}", step))
        other = table.lengths != clean.lengths[:, None]
        if kind == "other-prompt":
            other = (table.inputs != clean.inputs[:, None]).any(-1)
        corrupt = table.select((lottery * other).argmax(1))
        return Pair(kind, clean, corrupt, clean.inputs != corrupt.inputs)

    def relations(self, batch: ProgramBatch) -> tuple[Relation, ...]:
        """To the token before and to the start token, from every token that is no padding; what else means something
        is the program's business."""
        size = len(batch)
        here = torch.arange(1, self.n_ctx, device=batch.inputs.device).expand(size, -1)
        own = here < batch.lengths[:, None]
        return (
            Relation("previous token", here, here - 1, own),
            Relation("start token", here, torch.zeros_like(here), own),
        )

    def labels(self, batch: ProgramBatch) -> list[list[str]]:
        """The tokens' meanings; "start" and "pad"."""
        names = [{START: "start", PAD: "pad"}.get(str(token), str(token)) for token in self.tokens]
        return [[names[i] for i in row] for row in batch.inputs.tolist()]
