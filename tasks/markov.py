"""In-context Markov chains: every prompt draws its own transition matrix, and each next symbol is to be predicted.

A prompt is T symbols of a chain of order 1 or 2; the target at every position is the symbol that comes next, the
loss its cross entropy in nats, averaged over the first and over the second half of the positions. The
outputs of simple predictors are known in closed form (`tasks.markov_answers`): uniform, unigram, bigram, trigram.
Source: Edelman et al., arXiv 2402.11004; the pairs, and doubly stochastic matrices by scaling, are this project's.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from tasks.base import Batch, Interface, Level, Pair, Relation, Task, register
from tasks.errors import UserError
from tasks.markov_answers import log_posterior, same_context
from tasks.markov_draws import row_swapped, run_chain, stationary, transition_matrices, transition_replaced
from tasks.risk import risk
from tasks.streams import check_batch, generator

CORRUPTIONS = {"replace-transition": transition_replaced, "swap-row": row_swapped}
STRATEGIES = ("uniform", "unigram", "bigram", "trigram")  # the context that each looks at grows by a symbol


@dataclasses.dataclass(frozen=True)
class MarkovBatch(Batch):
    """Prompts with the chain behind each: `transitions[b, s]` is the distribution of the symbol after state s.

    The state of a chain of order 2 is (symbol before the last, last symbol), numbered first * symbols + second.
    """

    transitions: Float[Tensor, "batch state symbol"]


@register("markov")
class MarkovChains(Task):
    """Settings of a family of chains.

    `symbols` is the alphabet, `length` the number of tokens of a prompt, `order` how many symbols the next one depends
    on. Rows of the transition matrix are drawn from Dirichlet(concentration, ...); with chains "doubly stochastic"
    such a matrix is scaled until its columns sum to 1 too, so that every symbol is equally frequent in the long run
    and symbol counts are uninformative. `start`: the first state is drawn from the chain's stationary distribution, or
    uniformly.
    """

    symbols: int = Field(default=3, ge=2, le=64)
    length: int = Field(default=64, ge=4, le=4096)
    order: Literal[1, 2] = 1
    concentration: float = Field(default=1.0, gt=0, le=1e6, allow_inf_nan=False)
    chains: Literal["dirichlet", "doubly stochastic"] = "dirichlet"
    start: Literal["stationary", "uniform"] = "stationary"

    score_name: ClassVar[str] = "loss"

    @model_validator(mode="after")
    def _consistent(self) -> MarkovChains:
        if self.chains == "doubly stochastic" and self.order != 1:
            raise ValueError('chains "doubly stochastic" are of order 1: set order=1')
        return self

    @property
    def states(self) -> int:
        """Rows of the transition matrix."""
        return self.symbols**self.order

    @property
    def interface(self) -> Interface:
        k, t = self.symbols, self.length
        return Interface(inputs="token", n_ctx=t, d_vocab=k, d_out=k, output_positions=tuple(range(t)))

    @property
    def output_names(self) -> tuple[str, ...]:
        return ("first half", "second half")

    @property
    def pair_kinds(self) -> tuple[str, ...]:
        return ("replace-transition", "swap-row") if self.symbols > 2 else ("replace-transition",)

    def sample(self, seed: int, stream: str, step: int, batch: int) -> MarkovBatch:
        """Prompts: a pure function of the arguments. Raises UserError for a batch that is empty or too big."""
        check_batch(
            batch,
            self.states * (self.states if self.start == "stationary" else self.symbols) + 3 * self.length,
        )
        gen = generator(seed, stream, step)
        matrix = transition_matrices(gen, batch, self.states, self.symbols, self.concentration)
        if self.chains == "doubly stochastic":
            matrix = _balanced(matrix)
        first = (
            stationary(matrix, self.order)
            if self.start == "stationary"
            else matrix.new_ones(batch, self.states)
        )
        symbols = run_chain(gen, matrix, first, self.order, self.length + 1)
        return MarkovBatch(symbols[:, :-1], symbols[:, 1:], matrix.float())

    def loss(
        self, outputs: Float[Tensor, "batch pos d_out"], batch: MarkovBatch
    ) -> Float[Tensor, "batch output"]:
        """Cross entropy of the next symbol in nats, averaged over each half of the positions."""
        return self._halves(F.cross_entropy(outputs.transpose(1, 2), batch.targets, reduction="none"))

    def _halves(self, each: Float[Tensor, "batch pos"]) -> Float[Tensor, "batch output"]:
        middle = self.length // 2
        return torch.stack([each[:, :middle].mean(1), each[:, middle:].mean(1)], dim=1)

    def strategies(self, batch: MarkovBatch) -> dict[str, Float[Tensor, "batch pos d_out"]]:
        """Log probabilities (float64) of uniform guessing, and of the posterior mean of the next symbol's distribution
        given the last 0, 1 or 2 symbols ("unigram", "bigram", "trigram"), under rows ~ Dirichlet(concentration)."""
        even = torch.full((*batch.inputs.shape, self.symbols), -math.log(self.symbols), dtype=torch.float64)
        found = {"uniform": even.to(batch.inputs.device)}
        for context, name in enumerate(STRATEGIES[1:]):
            found[name] = log_posterior(batch.inputs, context, self.symbols, self.concentration)
        return found

    def distance(
        self,
        outputs: Float[Tensor, "batch pos d_out"],
        strategy: Float[Tensor, "batch pos d_out"],
        batch: MarkovBatch,
    ) -> Float[Tensor, "batch output"]:
        """KL divergence sum p_strategy log(p_strategy / p_outputs), in nats, averaged over each half of the
        positions."""
        wanted = strategy.double().log_softmax(-1)
        return self._halves((wanted.exp() * (wanted - outputs.double().log_softmax(-1))).sum(-1))

    def answer(self, batch: MarkovBatch) -> Float[Tensor, "batch pos d_out"]:
        """Log probabilities of the bigram (order 1) or trigram (order 2) predictor, in float64.

        They are Bayes-optimal given the first state. Where that is drawn from the stationary distribution it is
        slightly informative about the matrix, for which there is no closed form. Raises UserError for doubly stochastic
        chains, whose rows are not independent.
        """
        self._require_posterior()
        return log_posterior(batch.inputs, self.order, self.symbols, self.concentration)

    def _require_posterior(self) -> None:
        if self.chains != "dirichlet":
            raise UserError(
                'chains "doubly stochastic" have no closed-form Bayes answer: use chains "dirichlet"'
            )

    def bayes_risk(self) -> Level:
        """Expected loss of `answer`, over drawn prompts."""
        self._require_posterior()
        return risk(self, STRATEGIES[self.order + 1])

    def chance(self) -> Level:
        """Loss of guessing every symbol alike: log(symbols), the best that ignores the prompt, since no symbol is
        favoured before one is seen."""
        value = torch.full((2,), math.log(self.symbols))
        return Level(value, torch.zeros(2), "every symbol alike: log(symbols)")

    def pair(self, kind: str, seed: int, stream: str, step: int, batch: int) -> Pair:
        """ "replace-transition": one transition out of the last symbol (any, where it did not occur before) goes
        elsewhere: one token differs. "swap-row": after every earlier occurrence of the last symbol two of the other
        symbols are exchanged, so that in its row of counts two entries change places."""
        if kind not in self.pair_kinds:
            return super().pair(kind, seed, stream, step, batch)
        clean = self.sample(seed, stream, step, batch)
        inputs = CORRUPTIONS[kind](generator(seed, f"{stream}/{kind}", step), clean.inputs, self.symbols)
        targets = torch.cat([inputs[:, 1:], clean.targets[:, -1:]], dim=1)
        corrupt = dataclasses.replace(clean, inputs=inputs, targets=targets)
        return Pair(kind, clean, corrupt, inputs != clean.inputs)

    def relations(self, batch: MarkovBatch) -> tuple[Relation, ...]:
        """ "previous token", and "follows the same symbol": from a row to the successors of the earlier occurrences of
        its symbol ("follows the same pair" for order 2). Chance is the share of such columns, about the sum of squared
        frequencies, and not 1/T."""
        size, here = len(batch), torch.arange(1, self.length, device=batch.inputs.device)
        found = [Relation("previous token", here.expand(size, -1), here.expand(size, -1) - 1)]
        for context, name in ((1, "symbol"), (2, "pair"))[: self.order]:
            dest, source, valid = same_context(batch.inputs, context)
            found.append(Relation(f"follows the same {name}", dest, source, valid))
        return tuple(found)

    def labels(self, batch: MarkovBatch) -> list[list[str]]:
        """Letters from A on (numbers beyond Z)."""
        return [[chr(65 + s) if self.symbols <= 26 else str(s) for s in row] for row in batch.inputs.tolist()]


def _balanced(matrix: Float[Tensor, "batch state symbol"]) -> Float[Tensor, "batch state symbol"]:
    """Rows and columns scaled in turn until both sum to 1 (Sinkhorn), rows last."""
    for _ in range(200):
        matrix = matrix / matrix.sum(1, keepdim=True)
        matrix = matrix / matrix.sum(2, keepdim=True)
    return matrix
