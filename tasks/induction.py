"""Induction for language models: random tokens, and the same tokens again.

A prompt is what the model's tokenizer puts before a text, then `copies` showings of one random word of `length` tokens.
The first showing is unpredictable; in the later ones every token but the first follows an earlier occurrence of the
token before it. Losses are cross entropies in nats, showing by showing, over the tokens behind the first of each.
Source: Olsson et al. 2209.11895 (repeated random tokens); the pairs are this project's.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from tasks.base import Batch, Interface, Level, Pair, Relation, Task, register
from tasks.retrieval_reading import MARGIN
from tasks.streams import check_batch, generator


@dataclasses.dataclass(frozen=True)
class InductionBatch(Batch):
    """Prompts; `word` are the tokens of a showing. `targets` number the interface's outputs, showing by showing."""

    word: Int[Tensor, "batch place"]


@register("induction")
class Induction(Task):
    """Settings of a family of repeated random words.

    Tokens are drawn from `first` up to, but not including, `last` (0: the end of the vocabulary), without `excluded`
    ones, and without repeats in a word if `distinct`. With `candidates` M, words are made of M of those tokens, drawn
    once from `candidates_seed`, and the model is scored among them only; 0 takes all, and scores over the whole
    vocabulary, whose outputs are then stored at every position.
    """

    vocabulary: int = Field(ge=4, le=2**22)
    length: int = Field(default=25, ge=2, le=8192)
    copies: int = Field(default=2, ge=2, le=64)
    prefix: tuple[int, ...] = Field(default=(), max_length=64)
    first: int = Field(default=0, ge=0)
    last: int = Field(default=0, ge=0)
    excluded: tuple[int, ...] = ()
    distinct: bool = True
    candidates: int = Field(default=1024, ge=0)
    candidates_seed: int = 0

    score_name: ClassVar[str] = "error"

    @model_validator(mode="after")
    def _consistent(self) -> Induction:
        if any(not 0 <= token < self.vocabulary for token in (*self.prefix, *self.excluded)):
            raise ValueError(f"prefix and excluded must be tokens below vocabulary={self.vocabulary}")
        if self.last > self.vocabulary:
            raise ValueError(f"last={self.last} is beyond the vocabulary of {self.vocabulary}")
        need = self.length + 1 if self.distinct else 2
        if len(self._allowed) < need:
            raise ValueError(
                f"{len(self._allowed)} tokens may be drawn, and a word needs {need}: widen first..last"
            )
        if self.candidates and self.candidates < need:
            raise ValueError(f"candidates={self.candidates} are fewer than the {need} that a word needs")
        return self

    @cached_property
    def _allowed(self) -> list[int]:
        out = set(self.excluded)
        return [token for token in range(self.first, self.last or self.vocabulary) if token not in out]

    @cached_property
    def drawable(self) -> Int[Tensor, "candidate"]:
        """The tokens that words are made of, in increasing order."""
        allowed = torch.tensor(self._allowed)
        if not self.candidates or self.candidates >= len(allowed):
            return allowed
        order = torch.randperm(len(allowed), generator=generator(self.candidates_seed, "candidates", 0))
        return allowed[order[: self.candidates]].sort().values

    @property
    def starts(self) -> tuple[int, ...]:
        """Position of the first token of each showing."""
        return tuple(len(self.prefix) + c * self.length for c in range(self.copies))

    @cached_property
    def _rows(self) -> list[int]:
        """Positions whose next token is to be predicted, showing by showing."""
        return [start + i for start in self.starts for i in range(self.length - 1)]

    @property
    def interface(self) -> Interface:
        outputs = tuple(self.drawable.tolist()) if self.candidates else ()
        return Interface(
            inputs="token", n_ctx=len(self.prefix) + self.copies * self.length, d_vocab=self.vocabulary,
            d_out=len(outputs) or self.vocabulary, outputs=outputs, output_positions=tuple(self._rows),
        )  # fmt: skip

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(f"copy {c + 1}" for c in range(self.copies))

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        return ("rebind", "other-copies")

    def sample(self, seed: int, stream: str, step: int, batch: int) -> InductionBatch:
        """Prompts: a pure function of the arguments. Raises UserError for a batch that is empty or too big."""
        check_batch(batch, self.interface.n_ctx + len(self.drawable))
        return self._assemble(self._words(generator(seed, stream, step), batch))

    def _words(self, gen: torch.Generator, batch: int) -> Int[Tensor, "batch place"]:
        """Words as numbers of drawable tokens."""
        count = len(self.drawable)
        if not self.distinct:
            return torch.randint(count, (batch, self.length), generator=gen)
        return torch.rand(batch, count, generator=gen).topk(self.length, dim=1).indices

    def _assemble(self, word: Int[Tensor, "batch place"]) -> InductionBatch:
        tokens = self.drawable[word]
        head = torch.tensor(self.prefix, dtype=torch.int64).expand(len(word), -1)
        targets = word if self.candidates else tokens
        inputs = torch.cat([head, tokens.repeat(1, self.copies)], dim=1)
        return InductionBatch(inputs, targets[:, 1:].repeat(1, self.copies), tokens)

    def _each(self, values: Float[Tensor, "batch row"]) -> Float[Tensor, "batch output"]:
        return values.unflatten(1, (self.copies, self.length - 1)).mean(2)

    def loss(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: InductionBatch
    ) -> Float[Tensor, "batch output"]:
        """Cross entropy of the next token in nats, averaged over each showing."""
        # a vocabulary in one piece: over strides it takes twice as long
        rows = outputs[:, self._rows].flatten(0, 1)
        each = F.cross_entropy(rows, batch.targets.flatten(), reduction="none")
        return self._each(each.view_as(batch.targets))

    def score(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: InductionBatch
    ) -> Float[Tensor, "batch output"]:
        """Share of each showing's tokens that are not the likeliest output; lower is better."""
        return self._each((outputs[:, self._rows].argmax(-1) != batch.targets).to(outputs))

    def answer(self, batch: InductionBatch) -> Float[Tensor, "batch pos d_out"]:
        """A margin on the token that followed before, in the later showings; zeros in the first."""
        out = torch.zeros(len(batch), self.interface.n_ctx, self.interface.d_out)
        later = self._rows[self.length - 1 :]
        prompts = torch.arange(len(batch))[:, None]
        out[prompts, torch.tensor(later), batch.targets[:, self.length - 1 :]] = MARGIN
        return out

    def bayes_risk(self) -> Level:
        """First showing: log of the number of tokens that may come, one fewer for each that came if they are distinct.
        Later ones: 0 for distinct tokens (repeats may follow an ambiguous context: no closed form is claimed, and 0
        stays a lower bound)."""
        count = len(self.drawable)
        gone = range(1, self.length) if self.distinct else [0] * (self.length - 1)
        fresh = sum(math.log(count - g) for g in gone) / (self.length - 1)
        value = torch.tensor([fresh] + [0.0] * (self.copies - 1))
        return Level(
            value, torch.zeros_like(value), "tokens are uniform in the first copy and determined after it"
        )

    def chance(self) -> Level:
        """Error of naming any of the tokens that words are made of."""
        value = torch.full((self.copies,), 1 - 1 / len(self.drawable))
        return Level(value, torch.zeros_like(value), "a guess among the drawable tokens")

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        """ "rebind": one token behind the first is another in all showings but the last, so that what followed before
        is another there, and the target with it. "other-copies": all showings but the last are of another word, so that
        nothing is repeated."""
        if kind not in self.pair_kinds:
            return super().pair(kind, seed, stream, step, batch)
        clean = self.sample(seed, stream, step, batch)
        gen = generator(seed, f"{stream}/{kind}", step)
        if kind == "other-copies":
            other = self._assemble(self._words(gen, batch))
            inputs = torch.cat([other.inputs[:, : self.starts[-1]], clean.word], dim=1)
            targets = torch.cat(
                [other.targets[:, : 1 - self.length], clean.targets[:, 1 - self.length :]], dim=1
            )
        else:
            inputs, targets = self._rebound(clean, gen)
        corrupt = dataclasses.replace(clean, inputs=inputs, targets=targets)
        return Pair(kind, clean, corrupt, inputs != clean.inputs)

    def _rebound(
        self, clean: InductionBatch, gen: torch.Generator
    ) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch row"]]:
        """The prompts with one token replaced in all showings but the last by one that the word does not have."""
        size = len(clean)
        place = torch.randint(1, self.length, (size, 1), generator=gen)
        number = torch.searchsorted(self.drawable, clean.word)
        lottery = torch.rand(size, len(self.drawable), generator=gen).scatter(1, number, -1.0)
        fresh = lottery.argmax(1, keepdim=True)
        word = clean.word.scatter(1, place, self.drawable[fresh])
        before = clean.inputs[:, : len(self.prefix)]
        inputs = torch.cat([before, word.repeat(1, self.copies - 1), clean.word], dim=1)
        target = fresh if self.candidates else self.drawable[fresh]
        one = clean.targets[:, : self.length - 1].scatter(1, place - 1, target)
        return inputs, one.repeat(1, self.copies)

    def relations(self, batch: InductionBatch) -> tuple[Relation, ...]:
        """ "previous token"; from every token of a later showing to its earlier copies ("duplicate token") and to what
        followed them ("induction")."""
        size, device = len(batch), batch.inputs.device
        here = torch.arange(1, self.interface.n_ctx, device=device)
        later = [
            (start + i, m * self.length)
            for c, start in enumerate(self.starts)
            for i in range(self.length)
            for m in range(1, c + 1)
        ]
        dest, back = torch.tensor(later, device=device).T
        found = [("previous token", here, here - 1), ("duplicate token", dest, dest - back)]
        found.append(("induction", dest, dest - back + 1))
        return tuple(Relation(name, d.expand(size, -1), s.expand(size, -1)) for name, d, s in found)

    def labels(self, batch: InductionBatch) -> list[list[str]]:
        """Token numbers, each with a "#"."""
        return [[f"#{token}" for token in row] for row in batch.inputs.tolist()]
