"""Multi-hop retrieval: chains of key > value links, shuffled, and a query that starts one of them.

A chain s_0 > s_1 > ... > s_D has D = `hops` links; its value at each hop is the key of the next. All symbols
of a prompt are distinct. Layout "pair": one token (key, value) a link, then the query (s_0, blank). Layout
"flat": key and value are separate tokens, at neighbouring positions, then s_0. With target "mix" a token
that gives the hop asked for comes before the query. The attention mask is a setting of the model. Where the
source paper (arXiv 2411.12118) is silent (number of chains, symbol size, layout) the defaults are choices of
this project.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from pydantic import Field, model_validator
from torch import Tensor

from tasks.base import Interface, Level, Pair, Relation, Task, register
from tasks.retrieval_draws import RetrievalBatch, RetrievalDraws, edges, embedded, in_order, ranked, rows_of
from tasks.retrieval_reading import chain_relations, exact, guesses, hop_loss, hop_score, token_labels
from tasks.streams import check_batch, generator

MAX_LINKS = 65536


@register("retrieval")
class MultiHopRetrieval(Task):
    """Settings of a family of retrieval prompts.

    `chains` chains of `hops` links (the queried one and distractors); `vocab` symbols, or `width` coordinates
    of a N(0, I) vector each. `dangling` links continue every chain past its answer, so that the answer is no
    longer one of the few symbols that occur as a value only; `distractors` adds isolated links between
    symbols of their own. `order` of a chain's links: "random", "query_first" (link 1 before link 2 ...) or
    "value_first". `target`: "ic" all hops, "final" the last, "mix" one hop per prompt. `weights` multiplies
    the loss of each hop (target "ic" only). `train_set`: 0 for fresh prompts; M for a fixed set of M from
    which stream "train" draws (other streams stay fresh).
    """

    hops: int = Field(default=3, ge=1, le=1024)
    chains: int = Field(default=4, ge=1, le=65536)
    symbols: Literal["discrete", "gaussian"] = "discrete"
    vocab: int = Field(default=32, ge=2, le=2**20)
    width: int = Field(default=16, ge=1, le=65536)
    layout: Literal["pair", "flat"] = "pair"
    order: Literal["random", "query_first", "value_first"] = "random"
    target: Literal["ic", "final", "mix"] = "ic"
    weights: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()
    dangling: int = Field(default=0, ge=0, le=1024)
    distractors: int = Field(default=0, ge=0, le=65536)
    train_set: int = Field(default=0, ge=0, le=2**40)

    score_name: ClassVar[str] = "accuracy"

    @model_validator(mode="after")
    def _consistent(self) -> MultiHopRetrieval:
        if self.n_links > MAX_LINKS:
            raise ValueError(f"a prompt of {self.n_links} links is over the limit of {MAX_LINKS}")
        if self.symbols == "discrete" and self.vocab < self.n_symbols:
            raise ValueError(
                f"vocab {self.vocab} is too small: a prompt has {self.n_symbols} distinct symbols"
            )
        if self.weights and (len(self.weights) != self.hops or not sum(self.weights)):
            raise ValueError(
                f"weights must be {self.hops} numbers, none negative and not all 0 (one per hop)"
            )
        if self.weights and self.target != "ic":
            raise ValueError("weights go with target 'ic' only")
        return self

    @property
    def n_symbols(self) -> int:
        """Distinct symbols in a prompt."""
        return self.chains * (self.hops + self.dangling + 1) + 2 * self.distractors

    @property
    def n_links(self) -> int:
        """Links in a prompt."""
        return self.chains * (self.hops + self.dangling) + self.distractors

    @property
    def symbol_width(self) -> int:
        """Outputs per symbol: logits over the vocabulary, or coordinates."""
        return self.vocab if self.symbols == "discrete" else self.width

    @property
    def interface(self) -> Interface:
        announced = self.target == "mix"
        pair = self.layout == "pair"
        n_ctx = self.n_links * (1 if pair else 2) + announced + 1
        extra = self.hops if announced else 0
        d_out = self.symbol_width * (self.hops if self.target == "ic" else 1)
        types = () if pair else (0, 1) * self.n_links + (2,) * announced + (3,)
        if self.symbols == "gaussian":
            d_in = self.width * (1 + pair) + extra
            kind = {"inputs": "continuous", "d_in": d_in}
        else:
            kind = {"inputs": "pair" if pair else "token", "d_vocab": self.vocab + extra}
        return Interface(n_ctx=n_ctx, d_out=d_out, token_types=types, output_positions=(n_ctx - 1,), **kind)

    @property
    def output_names(self) -> tuple[str, ...]:
        every = tuple(f"hop {k + 1}" for k in range(self.hops))
        return {"ic": every, "final": every[-1:], "mix": ("asked hop",)}[self.target]

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        if self.chains < 2:
            return ()
        return (*(f"swap-hop-{k + 1}" for k in range(self.hops)), "swap-query")

    def sample(self, seed: int, stream: str, step: int, batch: int) -> RetrievalBatch:
        """Prompts: a pure function of the arguments. Raises UserError for a batch that is empty or over the
        memory limit."""
        return self._assemble(self._draw(seed, stream, step, batch))

    def _draw(self, seed: int, stream: str, step: int, batch: int) -> RetrievalDraws:
        """Everything random about a batch, from one row of normal draws a prompt."""
        gaussian = self.symbols == "gaussian"
        n_table = self.n_symbols * self.width if gaussian else self.vocab
        count = n_table + self.n_links + self.hops
        check_batch(batch, count + 4 * self.n_links * (2 * self.width if gaussian else 2))
        gen = generator(seed, stream, step)
        if self.train_set and stream == "train":
            index = torch.randint(self.train_set, (batch,), generator=gen).tolist()
            z = torch.stack([torch.randn(count, generator=generator(seed, "training set", i)) for i in index])
        else:
            z = torch.randn(batch, count, generator=gen)
        return self._arrange(*z.split([n_table, self.n_links, self.hops], dim=1))

    def _arrange(
        self,
        table: Float[Tensor, "batch table"],
        order: Float[Tensor, "batch all_links"],
        hop: Float[Tensor, "batch hops"],
    ) -> RetrievalDraws:
        """Symbols, slots and the hop asked for, each a ranking of normal draws or the draws themselves."""
        if self.symbols == "discrete":
            names = table = table.argsort(dim=1)[:, : self.n_symbols]
        else:
            table = table.unflatten(1, (self.n_symbols, self.width))
            names = torch.arange(self.n_symbols).expand(len(table), -1)
        n_stray = self.distractors
        chains, stray = names.split([self.n_symbols - 2 * n_stray, 2 * n_stray], dim=1)
        slots = ranked(order, self.chains, n_stray, self.order)
        slots, stray_slots = slots.split([self.n_links - n_stray, n_stray], dim=1)
        return RetrievalDraws(
            chains=chains.unflatten(1, (self.chains, self.hops + self.dangling + 1)),
            slots=slots.unflatten(1, (self.chains, self.hops + self.dangling)),
            stray=stray.unflatten(1, (n_stray, 2)),
            stray_slots=stray_slots,
            table=table,
            asked=hop.argmax(1) if self.target == "mix" else torch.full((len(hop),), self.hops - 1),
        )

    def _assemble(self, draws: RetrievalDraws) -> RetrievalBatch:
        """Tokens, targets and source positions of what was drawn."""
        chain, asked = draws.chains[:, 0, : self.hops + 1], draws.asked
        place = (lambda slot: slot) if self.layout == "pair" else (lambda slot: 2 * slot + 1)
        links = place(draws.slots)
        targets = chain[:, 1:] if self.target == "ic" else chain.gather(1, asked[:, None] + 1)
        if self.symbols == "gaussian":
            targets = rows_of(draws.table, targets)
        return RetrievalBatch(
            inputs=self._tokens(draws),
            targets=targets,
            src=links[:, 0, : self.hops],
            chain=chain,
            links=links,
            chains=draws.chains,
            stray=place(draws.stray_slots),
            table=draws.table,
            asked=asked,
        )

    def _tokens(self, draws: RetrievalDraws) -> Shaped[Tensor, "batch pos *token"]:
        """The prompt in this task's layout: links by slot, the announcement if there is one, the query."""
        slots = torch.cat([draws.slots.flatten(1), draws.stray_slots], dim=1)
        links = in_order(edges(draws.chains, draws.stray), slots)
        blank = self.n_symbols if self.symbols == "gaussian" else self.interface.d_vocab
        ends = [draws.chains[:, 0, 0]]
        if self.target == "mix":
            ends.insert(
                0,
                torch.full_like(draws.asked, blank)
                if self.symbols == "gaussian"
                else self.vocab + draws.asked,
            )
        end = torch.stack(ends, dim=1)
        if self.layout == "pair":
            names = torch.cat([links, torch.stack([end, torch.full_like(end, blank)], -1)], dim=1)
        else:
            names = torch.cat([links.flatten(1), end], dim=1)
        return (
            names
            if self.symbols == "discrete"
            else embedded(names, draws, self.hops if self.target == "mix" else 0)
        )

    def predictions(self, outputs: Float[Tensor, "batch pos d_out"]) -> Float[Tensor, "batch output symbol"]:
        """The outputs at the query, one row an output: logits over the vocabulary, or a vector."""
        return outputs[:, -1].unflatten(-1, (len(self.output_names), self.symbol_width))

    def loss(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: RetrievalBatch
    ) -> Float[Tensor, "batch output"]:
        """Cross entropy in nats, or mean squared error per coordinate (zero predictor: 1), times the hop's
        weight."""
        loss = hop_loss(self.predictions(outputs), batch.targets)
        return loss * loss.new_tensor(self.weights) if self.weights else loss

    def score(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: RetrievalBatch
    ) -> Float[Tensor, "batch output"]:
        """1 where the best guess is right: the largest logit, or the nearest of the prompt's own symbols."""
        wanted = (
            batch.chain[:, 1:] if self.target == "ic" else batch.chain.gather(1, batch.asked[:, None] + 1)
        )
        return hop_score(self.predictions(outputs), wanted, batch.table)

    def answer(self, batch: RetrievalBatch) -> Float[Tensor, "batch pos d_out"]:
        """The exact answer at the query, zeros elsewhere: the symbols' vectors, or a margin on the right
        logits."""
        return exact(batch.targets, self.interface.n_ctx, self.symbol_width)

    def bayes_risk(self) -> Level:
        """0 at every hop: the chain is in the prompt."""
        zero = torch.zeros(len(self.output_names))
        return Level(zero, zero, "the prompt determines every hop")

    def chance(self) -> Level:
        """Accuracy of guessing any of the prompt's symbols; at the last hop, any that occurs as a value only.

        Inner hops 1/symbols, which is 1/(chains·(hops + 1)) for chains alone. Last hop 1/(chains +
        distractors): the end of every chain and of every isolated link is never a key. With dangling links
        the answer is a key too and the rule no longer helps: 1/symbols. "mix" asks for each hop equally
        often.
        """
        ends = self.n_symbols if self.dangling else self.chains + self.distractors
        why = guesses(self.n_symbols, ends, self.hops, self.hops == 1 or self.target == "final")
        return self._level([1 / self.n_symbols] * (self.hops - 1) + [1 / ends], why)

    def elimination(self) -> Level:
        """Accuracy of the best guess that uses which symbols occur as keys and which as values, but follows
        no link.

        Symbols that occur as both are the candidates of every hop whose value is a key: chains·(hops +
        dangling - 1) of them, all hops of them equally likely. Without dangling links the last hop is as in
        `chance`.
        """
        both = max(1, self.chains * (self.hops + self.dangling - 1))  # one hop without dangling has none
        last = 1 / both if self.dangling else 1 / (self.chains + self.distractors)
        return self._level([1 / both] * (self.hops - 1) + [last], "a guess among symbols of the right roles")

    def _level(self, hops: list[float], source: str) -> Level:
        value = {"ic": hops, "final": hops[-1:], "mix": [sum(hops) / len(hops)]}[self.target]
        return Level(torch.tensor(value), torch.zeros(len(value)), source)

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        """ "swap-hop-k": links k of the queried and of one other chain trade their values, so that exactly
        those two tokens differ, symbols before hop k stay and the rest follow the other chain. "swap-query":
        the query token asks for another chain."""
        if kind not in self.pair_kinds:
            return super().pair(kind, seed, stream, step, batch)
        draws = self._draw(seed, stream, step, batch)
        clean = self._assemble(draws)
        changed = torch.zeros(batch, self.interface.n_ctx, dtype=torch.bool)
        if kind == "swap-query":
            changed[:, -1] = True
            return Pair(kind, clean, self._assemble(draws.turned()), changed)
        hop = int(kind.rsplit("-", 1)[1])
        changed.scatter_(1, clean.links[:, :2, hop - 1], True)
        return Pair(kind, clean, self._assemble(draws.exchanged(hop)), changed)

    def relations(self, batch: RetrievalBatch) -> tuple[Relation, ...]:
        """Query to each link, neighbouring links both ways (rival chains pooled), and value to key when
        flat."""
        flat_links = self.n_links if self.layout == "flat" else 0
        return chain_relations(batch.links[:, :, : self.hops], self.interface.n_ctx - 1, flat_links)

    def labels(self, batch: RetrievalBatch) -> list[list[str]]:
        """ "7>3" for a link, "7>_" for the query ("7", "3", "7" when flat), "hop 2" for an announcement."""
        flat = self.layout == "flat"
        places = torch.cat([batch.links.flatten(1), batch.stray], dim=1)
        slots = places // 2 if flat else places
        links = in_order(edges(batch.chains, self._stray_names(batch)), slots)
        announced = batch.asked.tolist() if self.target == "mix" else []
        return token_labels(links.tolist(), announced, batch.chain[:, 0].tolist(), flat)

    def _stray_names(self, batch: RetrievalBatch) -> Int[Tensor, "batch distractors 2"]:
        first = self.n_symbols - 2 * self.distractors
        if self.symbols == "discrete":
            names = batch.table[:, first:]
        else:
            names = torch.arange(first, self.n_symbols, device=batch.chain.device).expand(len(batch), -1)
        return names.unflatten(1, (self.distractors, 2))
