"""Multi-hop retrieval as text: five forms of question whose answer is reached by a chain of look-ups.

Every prompt of a setting has the same number of tokens. Its only output position is the last token, whose next token is
the answer; `outputs` of the interface are the vocabulary entries of the answers' pool. The answer is scored among the
prompt's `choices` only: loss is minus the log probability among them (nats), score is 1 where the right one is the most
likely. Positions are those of tokens, names being one token each. Source of the problem: arXiv 2411.12118, section
on language models; wording, names and the number of distractor chains are this project's.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from tasks.base import Interface, Level, Pair, Relation, Task, register
from tasks.errors import UserError
from tasks.prompts_batch import PAD, PromptBatch, PromptDraw, Template, relations
from tasks.prompts_forms import Form, Plan, Sentence, SentenceShape, answer_pool, fill, plan, pools_of
from tasks.prompts_lexicon import Lexicon, word_level
from tasks.retrieval_reading import MARGIN
from tasks.streams import check_batch, generator


@register("prompts")
class TextRetrieval(Task):
    """Settings of a family of text prompts.

    `hops` look-ups are asked for in chains of `links` links (as many, unless given); `chains` counts the rival chains
    in. `order` of a chain's sentences: "value_first" (what is used has been stated, as in a program), "query_first",
    or "random"; chains are mixed. `shots` whole examples with their answers stand before the question. `lexicon` holds
    the tokens; without it the prompts are in whole words of this project's own vocabulary.
    """

    form: Form = "equations"
    hops: int = Field(default=2, ge=1, le=64)
    links: int = Field(default=0, ge=0, le=64)
    chains: int = Field(default=4, ge=2, le=256)
    order: Literal["value_first", "query_first", "random"] = "value_first"
    shots: int = Field(default=0, ge=0, le=64)
    lexicon: Lexicon = Field(default_factory=word_level)

    score_name: ClassVar[str] = "accuracy"

    @model_validator(mode="after")
    def _consistent(self) -> TextRetrieval:
        if self.links and self.links < self.hops:
            raise ValueError(
                f"links={self.links} are fewer than hops={self.hops}: raise links or leave it out"
            )
        for pool, need in pools_of(self.form, self.shape).items():
            there = len(self.lexicon.names.get(pool, {}))
            if there < need:
                raise UserError(
                    f"form {self.form!r} needs {need} names of the pool {pool!r}, and {there} are single tokens here: "
                    "ask for fewer hops or chains"
                )
        return self

    @property
    def shape(self) -> SentenceShape:
        """Chains, links of each, and hops asked for."""
        return SentenceShape(self.chains, self.links or self.hops, self.hops)

    @cached_property
    def _plan(self) -> Plan:
        return plan(self.form, self.shape)

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return {pool: len(self.lexicon.names[pool]) for pool in pools_of(self.form, self.shape)}

    @cached_property
    def _names(self) -> Int[Tensor, "name"]:
        """Tokens of the form's names, pool after pool."""
        return torch.tensor([t for pool in self._sizes for t in self.lexicon.names[pool].values()])

    @cached_property
    def _first_answer(self) -> int:
        """Number of the first name of the answers' pool."""
        before = list(self._sizes)[: list(self._sizes).index(answer_pool(self.form))]
        return sum(self._sizes[pool] for pool in before)

    @cached_property
    def _template(self) -> Template:
        sentences = [self._coded(s) for s in (*self._plan.links, *self._plan.others)]
        width = max(map(len, sentences))
        rows = torch.tensor([row + [PAD] * (width - len(row)) for row in sentences])
        return Template(rows, torch.tensor(self._coded(self._plan.question)), int((rows != PAD).sum()))

    def _coded(self, sentence: Sentence) -> list[int]:
        coded: list[int] = []
        for part in sentence:
            coded += [-part - 1] if isinstance(part, int) else self.lexicon.words[part]
        return coded

    @property
    def interface(self) -> Interface:
        """Tokens in; logits of the answers' pool out, at the last position."""
        shot = self._template.length + len(self._template.question) + 1 + len(self.lexicon.words["."])
        prefix = len(self.lexicon.prefix)
        length = prefix + self.shots * shot + self._template.length + len(self._template.question)
        outputs = tuple(self.lexicon.names[answer_pool(self.form)].values())
        return Interface(
            inputs="token", n_ctx=length, d_vocab=self.lexicon.vocabulary, d_out=len(outputs),
            outputs=outputs, output_positions=(length - 1,),
        )  # fmt: skip

    @property
    def question_length(self) -> int:
        """Tokens of the question, the last of a prompt."""
        return len(self._template.question)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The output position, named after the hop asked for."""
        return (f"hop {self.hops}",)

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        return tuple(f"rebind-hop-{k + 1}" for k in range(self.hops))

    def sample(self, seed: int, stream: str, step: int, batch: int) -> PromptBatch:
        return self._assemble(*self._draws(seed, stream, step, batch))

    def _draws(
        self, seed: int, stream: str, step: int, batch: int, latest: int = 0
    ) -> tuple[list[PromptDraw], PromptDraw]:
        """What is random in the examples and in the question; `latest` as in `_ranks`."""
        check_batch(batch, self.interface.n_ctx * (1 + len(self._template.rows)))
        source = generator(seed, f"prompts/{stream}", step)
        draws = []
        for shot in range(self.shots + 1):
            columns = fill(self.form, self.shape, self._sizes, batch, source)
            z = torch.rand(batch, len(self._template.rows), generator=source)
            draws.append(PromptDraw(columns, self._ranks(z, latest if shot == self.shots else 0)))
        return draws[:-1], draws[-1]

    def _ranks(self, z: Float[Tensor, "batch sentence"], latest: int) -> Float[Tensor, "batch sentence"]:
        """Sentences in the order asked for. With `latest` the first chain is the one whose link of that number comes
        last, so that in value-first order any rival's value may stand in its place and has been stated before."""
        count = self.shape.chains * self.shape.links
        links = z[:, :count].unflatten(1, (self.shape.chains, self.shape.links))
        if self.order != "random":
            links = links.sort(dim=2, descending=self.order == "value_first").values
        if latest:
            last = links[:, :, latest - 1].argmax(1)
            place = torch.arange(self.shape.chains).repeat(len(z), 1)
            place[torch.arange(len(z)), last] = 0
            place[:, 0] = last
            links = links.gather(1, place[..., None].expand_as(links))
        return torch.cat([links.flatten(1), z[:, count:]], 1)

    def _assemble(self, shots: list[PromptDraw], draw: PromptDraw) -> PromptBatch:
        """Tokens, answer and positions of what was drawn."""
        parts = [torch.tensor(self.lexicon.prefix, dtype=torch.int64).repeat(len(draw.columns), 1)]
        for shot in shots:
            stop = torch.tensor(self.lexicon.words["."]).repeat(len(draw.columns), 1)
            right = self._names[shot.columns[:, self.shape.value(0, self.shape.links), None]]
            parts += [self._facts(shot)[0], self._question(shot), right, stop]
        facts, where = self._facts(draw)
        start = sum(part.shape[1] for part in parts)
        question = self._question(draw)
        values, keys = (place + start for place in self._places(where))
        asked = (self._template.question == -self.shape.key(0, self.shape.first) - 1).int().argmax()
        choices = self._choices(draw)
        return PromptBatch(
            inputs=torch.cat([*parts, facts, question], 1),
            targets=draw.columns[:, self.shape.value(0, self.shape.links), None] - self._first_answer,
            choices=choices, tokens=self._names[choices + self._first_answer],
            src=values[:, 0], keys=keys[:, 0], rivals=values[:, 1:], rival_keys=keys[:, 1:],
            asked=torch.full((len(facts),), start + facts.shape[1] + int(asked)),
        )  # fmt: skip

    def _facts(self, draw: PromptDraw) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch sentence word"]]:
        """Tokens of the sentences in their order, and the position of every word of every sentence."""
        rows, batch = self._template.rows, len(draw.columns)
        order = draw.ranks.argsort(1)
        coded = rows[order].flatten(1)
        kept = coded != PAD
        coded = coded[kept].unflatten(0, (batch, -1))
        names = self._names[draw.columns.gather(1, (-coded - 1).clamp(min=0))]
        word = (order[..., None] * rows.shape[1] + torch.arange(rows.shape[1])).flatten(1)
        word = word[kept].unflatten(0, (batch, -1))
        where = torch.zeros(batch, rows.numel(), dtype=torch.int64)
        where.scatter_(1, word, torch.arange(word.shape[1]).expand(batch, -1))
        return torch.where(coded < 0, names, coded), where.unflatten(1, tuple(rows.shape))

    def _question(self, draw: PromptDraw) -> Int[Tensor, "batch pos"]:
        coded = self._template.question.expand(len(draw.columns), -1)
        return torch.where(coded < 0, self._names[draw.columns.gather(1, (-coded - 1).clamp(min=0))], coded)

    def _places(
        self, where: Int[Tensor, "batch sentence word"]
    ) -> tuple[Int[Tensor, "batch chain hops"], Int[Tensor, "batch chain hops"]]:
        """Positions, among the facts, of value and key of each chain's links that are as far on as the asked ones."""
        shape, rows = self.shape, self._template.rows
        found = []
        for column in (shape.value, shape.key):
            each = [
                where[:, i, int((rows[i] == -column(c, j) - 1).int().argmax())]
                for i, (c, j) in enumerate(
                    (c, j) for c in range(shape.chains) for j in range(1, shape.links + 1)
                )
                if j >= shape.first
            ]
            found.append(torch.stack(each, 1).unflatten(1, (shape.chains, shape.hops)))
        return found[0], found[1]

    def _choices(self, draw: PromptDraw) -> Int[Tensor, "batch choice"]:
        """Outputs that may be the answer, in the order of their numbers (so that a tie is uninformative): the last
        value of every chain; of relatives, every person but the one asked about."""
        shape = self.shape
        columns = [shape.value(c, shape.links) for c in range(shape.chains)]
        if self.form == "relatives":
            asked = shape.key(0, shape.first)
            columns += [k for k in range(shape.chains * shape.links) if k != asked]
        return draw.columns[:, columns].sort(1).values - self._first_answer

    def loss(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: PromptBatch
    ) -> Float[Tensor, "batch output"]:
        """Minus the log probability of the answer among the choices, in nats."""
        chances = outputs[:, -1].gather(1, batch.choices).log_softmax(1)
        return -chances[batch.choices == batch.targets][:, None]

    def score(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: PromptBatch
    ) -> Float[Tensor, "batch output"]:
        """1 where the answer is the most likely choice."""
        best = outputs[:, -1].gather(1, batch.choices).argmax(1, keepdim=True)
        return (batch.choices.gather(1, best) == batch.targets).to(outputs)

    def answer(self, batch: PromptBatch) -> Float[Tensor, "batch pos d_out"]:
        """A margin on the right output at the last position, zeros elsewhere."""
        out = torch.zeros(len(batch), self.interface.n_ctx, self.interface.d_out)
        out[:, -1].scatter_(1, batch.targets, MARGIN)
        return out

    def bayes_risk(self) -> Level:
        """0: the prompt determines the answer."""
        return Level(torch.zeros(1), torch.zeros(1), "the prompt determines the answer")

    def chance(self) -> Level:
        """Accuracy of guessing one of the choices: 1/chains; for relatives 1/(persons of the prompt less one)."""
        count = self.chains * (self.shape.links + 1) - 1 if self.form == "relatives" else self.chains
        return Level(torch.tensor([1 / count]), torch.zeros(1), "a guess among the choices")

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        """ "rebind-hop-k": one binding, the value of hop k, becomes the value that a distractor chain has there, so
        that one token differs and the answer is that chain's."""
        if kind not in self.pair_kinds:
            return super().pair(kind, seed, stream, step, batch)
        link = self.shape.first + int(kind.rsplit("-", 1)[1]) - 1
        shots, draw = self._draws(seed, stream, step, batch, latest=link)
        clean = self._assemble(shots, draw)
        columns, last = draw.columns.clone(), self.shape.links
        columns[:, self.shape.value(0, link)] = columns[:, self.shape.value(1, link)]
        corrupt = self._assemble(shots, draw._replace(columns=columns))
        rival = draw.columns[:, self.shape.value(1, last), None] - self._first_answer
        corrupt = dataclasses.replace(corrupt, targets=rival, choices=clean.choices, tokens=clean.tokens)
        return Pair(kind, clean, corrupt, clean.inputs != corrupt.inputs)

    def relations(self, batch: PromptBatch) -> tuple[Relation, ...]:
        """The last token to the value of each hop; each value to the next hop's; values to their keys; rivals alike.

        Which of "link_k -> link_k+1" and its reverse a causal mask allows depends on the order of the sentences.
        """
        return relations(batch, self.interface.n_ctx - 1, self.order)

    def labels(self, batch: PromptBatch) -> list[list[str]]:
        """The words; ".." for what follows the first token of a word, the number of a token that is no word of ours."""
        said = self.lexicon.phrase()
        return [[said.get(token, f"#{token}") for token in row] for row in batch.inputs.tolist()]

    def in_words(self) -> TextRetrieval:
        """The same prompts, draw for draw, one token a word."""
        return TextRetrieval(**{**self.model_dump(exclude={"lexicon"}), "lexicon": self.lexicon.of_words()})

    def texts(self, batch: PromptBatch) -> list[str]:
        """The prompts of a word-level batch as text, a space before each word."""
        return [" " + " ".join(words) for words in self.labels(batch)]
