"""Conditional retrieval: a step may depend on several values found before, so the look-ups form a DAG, not a path.

A story has symbols s_0 (the query's) to s_D; fact k says that the symbols of its parents lead to s_k ("a's class is
b, class b lives with its c, a's c is d": parents ((0,), (1,), (0, 2))). Distractor stories use other symbols. Every
fact of two keys has a distractor fact, with its first key and the second key of another story, so that neither key
alone determines the value. Discrete prompts spell a fact as three tokens (key, key or blank, value), gaussian ones as
one vector.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from tasks.base import Batch, Interface, Level, Pair, Relation, Task, register
from tasks.retrieval_draws import in_order
from tasks.retrieval_reading import exact, hop_loss, hop_score
from tasks.streams import check_batch, generator

MAX_FACTS = 65536


@dataclasses.dataclass(frozen=True)
class ConditionalBatch(Batch):
    """`src`: positions holding the values of the queried story's facts; `chain`: its symbols s_0..s_D; `links` and
    `chains`: the same for every story, the queried one first; `decoys`: positions of the decoys' values."""

    src: Int[Tensor, "batch hops"]
    chain: Int[Tensor, "batch nodes"]
    links: Int[Tensor, "batch chains hops"]
    chains: Int[Tensor, "batch chains nodes"]
    decoys: Int[Tensor, "batch decoys"]
    table: Shaped[Tensor, "batch symbols *width"]


@register("conditional-retrieval")
class ConditionalRetrieval(Task):
    """Settings: `parents[k-1]` lists the one or two symbols (0..k-1) that fact k depends on; `chains` stories; `vocab`
    symbols or vectors of `width` coordinates; `target` "ic" (every hop) or "final" (the last)."""

    parents: tuple[tuple[int, ...], ...] = ((0,), (1,), (0, 2))
    chains: int = Field(default=4, ge=2, le=4096)
    symbols: Literal["discrete", "gaussian"] = "discrete"
    vocab: int = Field(default=32, ge=2, le=2**20)
    width: int = Field(default=16, ge=1, le=65536)
    target: Literal["ic", "final"] = "ic"

    score_name: ClassVar[str] = "accuracy"

    @model_validator(mode="after")
    def _consistent(self) -> ConditionalRetrieval:
        for k, keys in enumerate(self.parents, start=1):
            if len(keys) not in (1, 2) or len(set(keys)) != len(keys) or not set(keys) <= set(range(k)):
                raise ValueError(
                    f"parents of hop {k} must be one or two different symbols of 0..{k - 1}, not {keys}"
                )
        if not self.parents or len({frozenset(keys) for keys in self.parents}) != len(self.parents):
            raise ValueError("parents must list at least one hop, and no two hops may have the same parents")
        if self.n_facts > MAX_FACTS:
            raise ValueError(f"a prompt of {self.n_facts} facts is over the limit of {MAX_FACTS}")
        if self.symbols == "discrete" and self.vocab < self.n_symbols:
            raise ValueError(
                f"vocab {self.vocab} is too small: a prompt has {self.n_symbols} distinct symbols"
            )
        return self

    @property
    def hops(self) -> int:
        return len(self.parents)

    @property
    def joint(self) -> tuple[int, ...]:
        """Hops (1-based) that depend on two symbols."""
        return tuple(k for k, keys in enumerate(self.parents, start=1) if len(keys) == 2)

    @property
    def ends(self) -> tuple[int, ...]:
        """Hops (1-based) that no later hop depends on."""
        used = {key for keys in self.parents for key in keys}
        return tuple(k for k in range(1, self.hops + 1) if k not in used)

    @property
    def n_facts(self) -> int:
        return self.chains * (self.hops + len(self.joint))

    @property
    def n_symbols(self) -> int:
        return self.chains * (self.hops + 1 + len(self.joint))

    @property
    def symbol_width(self) -> int:
        return self.vocab if self.symbols == "discrete" else self.width

    @property
    def interface(self) -> Interface:
        d_out = self.symbol_width * len(self.reads)
        if self.symbols == "gaussian":
            n_ctx = self.n_facts + 1
            return Interface(
                inputs="continuous",
                d_in=3 * self.width,
                n_ctx=n_ctx,
                d_out=d_out,
                read_positions=(n_ctx - 1,),
            )
        n_ctx = 3 * self.n_facts + 1
        types = (0, 1, 2) * self.n_facts + (3,)
        return Interface(
            inputs="token",
            d_vocab=self.vocab + 1,
            n_ctx=n_ctx,
            d_out=d_out,
            token_types=types,
            read_positions=(n_ctx - 1,),
        )

    @property
    def reads(self) -> tuple[str, ...]:
        every = tuple(f"hop {k + 1}" for k in range(self.hops))
        return every if self.target == "ic" else every[-1:]

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        return (*(f"swap-hop-{k}" for k in self.ends), "swap-query")

    def sample(self, seed: int, stream: str, step: int, batch: int) -> ConditionalBatch:
        """Prompts: a pure function of the arguments. Raises UserError for a batch that is empty or too big."""
        return self._assemble(*self._draw(seed, stream, step, batch))

    def _draw(self, seed: int, stream: str, step: int, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Symbol names by story (then the decoys' values), their table, and the slots of facts and decoys."""
        gaussian = self.symbols == "gaussian"
        n_table = self.n_symbols * self.width if gaussian else self.vocab
        check_batch(batch, n_table + self.n_facts * (3 * self.width if gaussian else 12))
        gen = generator(seed, stream, step)
        table = torch.randn(batch, n_table, generator=gen)
        slots = torch.randn(batch, self.n_facts, generator=gen).argsort(dim=1)
        if gaussian:
            names, table = (
                torch.arange(self.n_symbols).expand(batch, -1),
                table.unflatten(1, (-1, self.width)),
            )
        else:
            names = table = table.argsort(dim=1)[:, : self.n_symbols]
        n_story = self.chains * (self.hops + 1)
        return names[:, :n_story].unflatten(1, (self.chains, -1)), names[:, n_story:], table, slots

    def _facts(self, chains: Tensor, decoys: Tensor) -> Int[Tensor, "batch facts 3"]:
        """(key, key or blank, value) of every story's facts, story by story, then of the decoys."""
        blank = torch.full_like(chains[..., 0], self.vocab if self.symbols == "discrete" else self.n_symbols)
        facts = [
            torch.stack([chains[..., p[0]], chains[..., p[1]] if len(p) > 1 else blank, chains[..., k]], -1)
            for k, p in enumerate(self.parents, start=1)
        ]
        real = torch.stack(facts, dim=2).flatten(1, 2)
        false = []
        for values, k in zip(decoys.split(self.chains, dim=1), self.joint, strict=False):
            first, second = self.parents[k - 1]
            false.append(torch.stack([chains[..., first], chains[..., second].roll(1, dims=1), values], -1))
        return torch.cat([real, *false], dim=1)

    def _assemble(self, chains: Tensor, decoys: Tensor, table: Tensor, slots: Tensor) -> ConditionalBatch:
        facts = in_order(self._facts(chains, decoys), slots)
        links, false = slots.split([self.chains * self.hops, self.chains * len(self.joint)], dim=1)
        links = links.unflatten(1, (self.chains, self.hops))
        chain = chains[:, 0]
        wanted = chain[:, 1:] if self.target == "ic" else chain[:, -1:]
        if self.symbols == "discrete":
            inputs = torch.cat([facts.flatten(1), chain[:, :1]], dim=1)
            return ConditionalBatch(
                inputs, wanted, 3 * links[:, 0] + 2, chain, 3 * links + 2, chains, 3 * false + 2, table
            )
        query = torch.full_like(facts[:, :1], self.n_symbols)
        query[:, 0, 0] = chain[:, 0]
        padded, prompt = F.pad(table, (0, 0, 0, 1)), torch.arange(len(table))[:, None]
        inputs = padded[prompt[:, :, None], torch.cat([facts, query], dim=1)].flatten(2)
        return ConditionalBatch(
            inputs, table[prompt, wanted], links[:, 0], chain, links, chains, false, table
        )

    def loss(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: ConditionalBatch
    ) -> Float[Tensor, "batch read"]:
        """Cross entropy in nats, or mean squared error per coordinate."""
        return hop_loss(outputs[:, -1].unflatten(-1, (-1, self.symbol_width)), batch.targets)

    def score(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: ConditionalBatch
    ) -> Float[Tensor, "batch read"]:
        """1 where the largest logit, or the nearest of the prompt's symbols, is right."""
        wanted = batch.chain[:, 1:] if self.target == "ic" else batch.chain[:, -1:]
        return hop_score(outputs[:, -1].unflatten(-1, (-1, self.symbol_width)), wanted, batch.table)

    def answer(self, batch: ConditionalBatch) -> Float[Tensor, "batch pos d_out"]:
        """The exact answer at the query, zeros elsewhere."""
        return exact(batch.targets, self.interface.n_ctx, self.symbol_width)

    def floor(self) -> Level:
        """0 at every hop: the story is in the prompt."""
        zero = torch.zeros(len(self.reads))
        return Level(zero, zero, "the prompt determines every hop")

    def chance(self) -> Level:
        """Accuracy of guessing any of the prompt's symbols; for a hop no later one depends on, any that is never a key
        (the ends of every story and the decoys' values)."""
        never_keys = self.chains * (len(self.ends) + len(self.joint))
        value = [1 / (never_keys if k in self.ends else self.n_symbols) for k in range(1, self.hops + 1)]
        value = torch.tensor(value if self.target == "ic" else value[-1:])
        return Level(value, torch.zeros_like(value), "a guess among the prompt's symbols")

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        """ "swap-hop-k" (hops no later one depends on): the values of fact k of the queried and of one other story are
        exchanged. "swap-query": the query asks for the other story."""
        if kind not in self.pair_kinds:
            return super().pair(kind, seed, stream, step, batch)
        chains, decoys, table, slots = self._draw(seed, stream, step, batch)
        clean = self._assemble(chains, decoys, table, slots)
        changed = torch.zeros(batch, self.interface.n_ctx, dtype=torch.bool)
        chains = chains.clone()
        if kind == "swap-query":
            return self._asked_of_the_other(clean, changed)
        hop = int(kind.rsplit("-", 1)[1])
        chains[:, :2, hop] = chains[:, :2, hop].flip(1)
        changed.scatter_(1, clean.links[:, :2, hop - 1], True)
        return Pair(kind, clean, self._assemble(chains, decoys, table, slots), changed)

    def _asked_of_the_other(self, clean: ConditionalBatch, changed: Tensor) -> Pair:
        """Only the query token changes: the facts stay where they are, the first two stories change roles."""
        turn = [1, 0, *range(2, self.chains)]
        chains, links = clean.chains[:, turn], clean.links[:, turn]
        wanted = chains[:, 0, 1:] if self.target == "ic" else chains[:, 0, -1:]
        inputs, targets = clean.inputs.clone(), wanted
        if self.symbols == "gaussian":
            prompt = torch.arange(len(inputs))[:, None]
            inputs[:, -1, : self.width] = clean.table[prompt[:, 0], chains[:, 0, 0]]
            targets = clean.table[prompt, wanted]
        else:
            inputs[:, -1] = chains[:, 0, 0]
        changed[:, -1] = True
        other = ConditionalBatch(
            inputs, targets, links[:, 0], chains[:, 0], links, chains, clean.decoys, clean.table
        )
        return Pair("swap-query", clean, other, changed)

    def relations(self, batch: ConditionalBatch) -> tuple[Relation, ...]:
        """Query to each fact, and each fact to the facts that found its keys."""
        src, query = batch.src, torch.full_like(batch.src[:, :1], self.interface.n_ctx - 1)
        found = [Relation(f"query -> link_{k + 1}", query, src[:, k : k + 1]) for k in range(self.hops)]
        for k, keys in enumerate(self.parents, start=1):
            for key in keys:
                if key:
                    name = f"link_{k} -> link_{key}"
                    found.append(Relation(name, src[:, k - 1 : k], src[:, key - 1 : key]))
                    found.append(
                        Relation(f"link_{key} -> link_{k}", src[:, key - 1 : key], src[:, k - 1 : k])
                    )
        return tuple(found)

    def labels(self, batch: ConditionalBatch) -> list[list[str]]:
        """ "7,3>9" for a fact of two keys, "7>3" for one of one; one symbol a token when spelled out ("_": blank)."""
        if self.symbols == "discrete":
            return [["_" if s == self.vocab else str(s) for s in row] for row in batch.inputs.tolist()]
        n_story = self.chains * (self.hops + 1)
        values = torch.arange(n_story, self.n_symbols, device=batch.chain.device).expand(len(batch), -1)
        # the turned twin of a pair lists its stories in another order: facts are named from the stories themselves
        stories = batch.chains[torch.arange(len(batch))[:, None], batch.chains[..., 0].argsort(dim=1)]
        ordered = batch.links[torch.arange(len(batch))[:, None], batch.chains[..., 0].argsort(dim=1)]
        slots = torch.cat([ordered.flatten(1), batch.decoys], dim=1)
        rows = in_order(self._facts(stories, values), slots).tolist()
        body = [[f"{a}>{v}" if b == self.n_symbols else f"{a},{b}>{v}" for a, b, v in row] for row in rows]
        return [[*row, f"{start}>_"] for row, start in zip(body, batch.chain[:, 0].tolist(), strict=True)]
