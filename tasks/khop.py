"""k-hop induction: letters, and a first token that gives the number of hops to follow at every position.

Token 0 is the hop count asked, the others are letters, no two neighbours alike. find(i) is the position after the last
earlier occurrence of the letter at i, find^k its k-th iterate; the target at i is the letter at find^k(i), "~" where
there is none, and "_" at token 0. Ids: hop counts 0..hops, then the letters, "~", "_". Source: Sanford, Hsu and
Telgarsky, arXiv 2402.09268; the defaults (letters, hops, length, ids, loss at every position) are those of the models
published with it, of which `KHop(vocabulary=30)` makes the prompts. The pairs are this project's.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from tasks.base import Batch, Interface, Level, Pair, Relation, Task, register
from tasks.errors import UserError
from tasks.khop_draws import binding_replaced, draw_letters, find_all, half_replaced
from tasks.retrieval_reading import MARGIN
from tasks.streams import check_batch, generator


@dataclasses.dataclass(frozen=True)
class KHopBatch(Batch):
    """Prompts with where every hop leads: `finds[b, k, p]` is the position find^k(p), -1 where there is none."""

    asked: Int[Tensor, "batch"]
    finds: Int[Tensor, "batch hop pos"]


@register("khop")
class KHop(Task):
    """Settings of a family of k-hop prompts.

    `hops`: the most that is asked for; every prompt asks for one of 0..hops, all equally likely, or for `asked` only.
    `letters` in the alphabet, `length` of them in a prompt. `vocabulary`: ids of the model's tables, no fewer than
    these prompts use (0: as many). The score is the share of wrong answers among positions whose answer exists.
    """

    letters: int = Field(default=4, ge=3, le=1024)
    hops: int = Field(default=16, ge=0, le=256)
    length: int = Field(default=98, ge=2, le=16384)
    asked: int | None = Field(default=None, ge=0)
    vocabulary: int = Field(default=0, ge=0, le=2**20)

    score_name: ClassVar[str] = "error"

    @model_validator(mode="after")
    def _consistent(self) -> KHop:
        if self.asked is not None and self.asked > self.hops:
            raise ValueError(f"asked={self.asked} is more than hops={self.hops}")
        if self.length <= self.most_undefined(self.hops):
            need = self.most_undefined(self.hops) + 1
            raise ValueError(
                f"{self.hops} hops may exist nowhere in {self.length} letters: ask for length={need} at least"
            )
        if self.vocabulary and self.vocabulary < self.ids:
            raise ValueError(f"vocabulary={self.vocabulary} is too small: these prompts use {self.ids} ids")
        return self

    def most_undefined(self, hops: int) -> int:
        """The most positions of a word at which find^hops does not exist: letters seen for the first time, and with
        each further hop those that lead to one of them (find leads to every place from one place at most, and never
        to the first)."""
        return self.letters + (self.letters - 1) * (hops - 1) if hops else 0

    @property
    def ids(self) -> int:
        """Ids in use: hop counts, letters, "~" and "_"."""
        return self.hops + 1 + self.letters + 2

    @property
    def interface(self) -> Interface:
        n_ctx, size = self.length + 1, self.vocabulary or self.ids
        return Interface(
            inputs="token", n_ctx=n_ctx, d_vocab=size, d_out=size, token_types=(0,) + (1,) * self.length,
            output_positions=tuple(range(n_ctx)),
        )  # fmt: skip

    @property
    def output_names(self) -> tuple[str, ...]:
        return ("asked hop" if self.asked is None else f"hop {self.asked}",)

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        found = ("first-half",)
        if self.hops:
            found = ("hop-token", *found)
        return (*found, "rebind") if self.letters > 3 and self.hops else found

    def at(self, hops: int) -> KHop:
        """The same prompts, all asking for so many hops. Raises UserError for more than this task asks for."""
        if not 0 <= hops <= self.hops:
            raise UserError(f"hop {hops} is not among 0..{self.hops}")
        return self.model_copy(update={"asked": hops})

    @property
    def distributions(self) -> dict[str, Task]:
        """The prompts of each hop count alone."""
        return {f"hop {k}": self.at(k) for k in range(self.hops + 1)}

    @property
    def attributes(self) -> tuple[str, ...]:
        return ("hops",) if self.asked is None else ()

    def grouped(self, attribute: str) -> dict[str, Task]:
        if attribute not in self.attributes:
            return super().grouped(attribute)
        return {f"hops={k}": self.at(k) for k in range(self.hops + 1)}

    def sample(self, seed: int, stream: str, step: int, batch: int) -> KHopBatch:
        """Prompts: a pure function of the arguments; letters do not depend on what is asked. Raises UserError for a
        batch that is empty or too big."""
        return self._assemble(*self._draw(seed, stream, step, batch))

    def _draw(
        self, seed: int, stream: str, step: int, batch: int
    ) -> tuple[Int[Tensor, "batch place"], Int[Tensor, "batch"]]:
        check_batch(batch, (self.hops + 3) * (self.length + 1))
        gen = generator(seed, stream, step)
        word = draw_letters(gen, batch, self.length, self.letters)
        asked = torch.randint(self.hops + 1, (batch,), generator=gen)
        return word, asked if self.asked is None else torch.full_like(asked, self.asked)

    def _assemble(self, word: Int[Tensor, "batch place"], asked: Int[Tensor, "batch"]) -> KHopBatch:
        finds = find_all(word, self.letters, self.hops)
        here = finds.gather(1, asked[:, None, None].expand(-1, 1, self.length))[:, 0]
        letters = word + self.hops + 1
        wanted = torch.where(here < 0, self.ids - 2, letters.gather(1, here.clamp(min=0)))
        finds = F.pad(torch.where(finds < 0, -1, finds + 1), (1, 0), value=-1)
        first = asked[:, None]
        return KHopBatch(
            torch.cat([first, letters], 1),
            torch.cat([torch.full_like(first, self.ids - 1), wanted], 1),
            asked,
            finds,
        )

    def exists(self, batch: KHopBatch) -> Tensor:
        """[batch, pos]: whether a position has an answer (a letter)."""
        return batch.targets < self.ids - 2

    def loss(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: KHopBatch
    ) -> Float[Tensor, "batch output"]:
        """Cross entropy in nats averaged over all positions, "~" and "_" to be answered too."""
        return F.cross_entropy(outputs.transpose(1, 2), batch.targets, reduction="none").mean(1, keepdim=True)

    def score(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: KHopBatch
    ) -> Float[Tensor, "batch output"]:
        """Share of wrong answers among the positions of a prompt whose answer exists; lower is better."""
        exists = self.exists(batch)
        wrong = (outputs.argmax(-1) != batch.targets) & exists
        return (wrong.sum(1) / exists.sum(1))[:, None].to(outputs)

    def answer(self, batch: KHopBatch) -> Float[Tensor, "batch pos d_out"]:
        """A margin on the right output at every position."""
        return MARGIN * F.one_hot(batch.targets, self.interface.d_out).float()

    def bayes_risk(self) -> Level:
        """0: the prompt determines every answer."""
        return Level(torch.zeros(1), torch.zeros(1), "the prompt determines every answer")

    def chance(self) -> Level:
        """Error of naming any letter: 1 - 1/letters. (A predictor that uses that the answer of hop 0 is the letter
        itself, and of hop 1 is not, scores slightly better without any look-up.)"""
        return Level(torch.tensor([1 - 1 / self.letters]), torch.zeros(1), "a guess among the letters")

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        """ "hop-token": another number of hops is asked for. "first-half": the first half of the letters is drawn
        again. "rebind": one letter on the last position's way to its answer, up to the hop asked, becomes another one,
        so that the way leads elsewhere from there (nothing changes where the way has no hop)."""
        if kind not in self.pair_kinds:
            return super().pair(kind, seed, stream, step, batch)
        word, asked = self._draw(seed, stream, step, batch)
        clean, gen = self._assemble(word, asked), generator(seed, f"{stream}/{kind}", step)
        if kind == "hop-token":
            asked = (asked + torch.randint(1, self.hops + 1, (batch,), generator=gen)) % (self.hops + 1)
        elif kind == "first-half":
            word = half_replaced(gen, word, self.letters)
        else:
            finds = find_all(word, self.letters, self.hops)
            word = binding_replaced(gen, word, finds, asked, self.letters)
        corrupt = self._assemble(word, asked)
        return Pair(kind, clean, corrupt, clean.inputs != corrupt.inputs)

    def relations(self, batch: KHopBatch) -> tuple[Relation, ...]:
        """Every letter to find^k of its position, for k = 1..hops, where that exists; to the token before; to token 0,
        which says how many hops are asked."""
        size = len(batch)
        here = torch.arange(1, self.length + 1, device=batch.inputs.device).expand(size, -1)
        found = [
            Relation("previous token", here, here - 1),
            Relation("hop token", here, torch.zeros_like(here)),
        ]
        for k in range(1, self.hops + 1):
            source = batch.finds[:, k, 1:]
            found.append(Relation(f"find^{k}", here, source.clamp(min=0), source >= 0))
        return tuple(found)

    def labels(self, batch: KHopBatch) -> list[list[str]]:
        """ "hop 3", then letters from a on (numbers beyond z)."""
        first = self.hops + 1
        names = [chr(97 + i) if self.letters <= 26 else str(i) for i in range(self.letters)]
        return [[f"hop {row[0]}", *(names[i - first] for i in row[1:])] for row in batch.inputs.tolist()]
