"""Prompts that somebody types: a task's own words for its tokens, read back into inputs.

Tokens are written as the task's labels, separated by spaces (a word of single letters may be written in one); links of
retrieval prompts as key>value, the query as key>_; regression prompts as numbers, "x_1 ... x_d : y" for an example and
x alone for the query, separated by semicolons or lines. The answer that is right for a typed prompt is given where the
task has one in closed form and the prompt determines it.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tasks import Batch, Task, UserError
from tasks.markov import MarkovBatch, MarkovChains
from tasks.regression import InContextRegression
from tasks.regression_layout import RegressionBatch, tokens
from tasks.retrieval import MultiHopRetrieval
from tasks.retrieval_reading import exact

SHOWN = 12  # words that a complaint lists
SEEN = 64  # prompts from which the words of a task are taken
LONGEST = 100_000  # characters of a prompt


class PromptForm:
    """How the prompts of one task are written and read."""

    def __init__(self, task: Task):
        self.task, self.face = task, task.interface

    @cached_property
    def form(self) -> str:
        """How a prompt is written, in one line; "" where it cannot be."""
        task, face = self.task, self.face
        if isinstance(task, InContextRegression):
            d = f"x_1 ... x_{task.d}"
            return f'{task.n} examples "{d} : y" and the query\'s {d}, separated by ; or lines'
        if self._linked:
            return f"{face.n_ctx - 1} links key>value and the query key>_, symbols 0 to {face.d_vocab - 1}"
        if face.inputs != "token":
            return ""
        words = list(self.words)
        some = ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")
        count = f"at most {face.n_ctx}" if len(face.output_positions) > 1 else f"exactly {face.n_ctx}"
        return f"{count} tokens, separated by spaces: {some}"

    @property
    def _linked(self) -> bool:
        """Whether tokens are links of the retrieval task, all but the query."""
        task = self.task
        return isinstance(task, MultiHopRetrieval) and self.face.inputs == "pair" and task.target != "mix"

    @cached_property
    def words(self) -> dict[str, int]:
        """The token of every label that the task's prompts have, by the label; labels of two tokens are left out."""
        numbers = {str(token): token for token in range(self.face.d_vocab)}
        if type(self.task).labels is Task.labels:
            return numbers
        batch, found, double = self.task.sample(0, "labels", 0, SEEN), {}, set()
        for labels, row in zip(self.task.labels(batch), batch.inputs.tolist(), strict=True):
            for label, token in zip(labels, row, strict=True):
                double |= {label} if found.setdefault(label, token) != token else set()
        plain = {word: token for word, token in found.items() if word not in double}
        counted = [word for word in plain if word.isdigit()]
        if counted and all(
            word == str(plain[word]) for word in counted
        ):  # symbols that are called by their numbers
            taken = set(plain.values())
            plain |= {word: token for word, token in numbers.items() if token not in taken}
        return dict(sorted(plain.items(), key=lambda item: item[1]))

    def symbol(self, entry: int) -> str:
        """What an entry of the outputs stands for: a token's label where outputs are tokens, else its number."""
        if self.face.inputs != "token":
            return str(entry)
        token = self.face.outputs[entry] if self.face.outputs else entry
        return next((word for word, known in self.words.items() if known == token), f"#{token}")

    def text_of(self, batch: Batch) -> str:
        """The first prompt of a batch as it would be typed; "" where it cannot be."""
        if isinstance(batch, RegressionBatch):
            rows = [" ".join(f"{v:.4g}" for v in row) for row in batch.x[0].tolist()]
            labels = [f" : {y:.4g}" for y in batch.y[0, :-1].tolist()]
            return ";\n".join(row + label for row, label in zip(rows, [*labels, ""], strict=True))
        if not self.form:
            return ""
        if type(self.task).labels is Task.labels:
            return " ".join(map(str, batch.inputs[0].tolist()))
        return " ".join(self.task.labels(batch)[0])

    def labels(self, batch: Batch) -> list[str]:
        """A label for each token of the first prompt of a typed batch."""
        if isinstance(batch, RegressionBatch):
            return self.task.labels(batch)[0]
        if self._linked:
            blank = self.face.d_vocab
            return [f"{k}>{'_' if v == blank else v}" for k, v in batch.inputs[0].tolist()]
        names = {token: word for word, token in self.words.items()}
        return [names.get(token, f"#{token}") for token in batch.inputs[0].tolist()]

    def typed(self, text: str) -> Batch:
        """A typed prompt as a batch of one: its inputs, and what of the task's ground truth follows from them.

        Raises UserError, on one line, for a text that is no prompt of the task.
        """
        if not self.form:
            raise UserError(
                f"prompts of task {self.task.kind!r} have no written form: choose a drawn one by its number"
            )
        if not text.strip():
            raise UserError(f"the prompt is empty: write {self.form}")
        if len(text) > LONGEST:
            raise UserError(f"the prompt has {len(text):,} characters: at most {LONGEST:,} are accepted")
        if isinstance(self.task, InContextRegression):
            return _regression(self.task, text, self.form)
        rows = self._links(text) if self._linked else self._tokens(text)
        self._require_length(len(rows))
        inputs = torch.tensor([rows])
        if isinstance(self.task, MarkovChains):
            return MarkovBatch(inputs, inputs, torch.zeros(1, self.task.states, self.task.symbols))
        return Batch(inputs, inputs)

    def best(self, batch: Any, own: bool) -> Float[Tensor, "1 pos d_out"] | None:
        """The best answer to a batch of one prompt, in the shape of the outputs; None where it is not known."""
        if own and isinstance(self.task, MultiHopRetrieval):
            return _followed(self.task, batch.inputs[0].tolist())
        if own and not isinstance(self.task, MarkovChains | InContextRegression):
            return None
        try:
            return self.task.answer(batch)
        except UserError:
            return None

    def _require_length(self, length: int) -> None:
        first, most = min(self.face.output_positions) + 1, self.face.n_ctx
        several = len(self.face.output_positions) > 1  # a prompt may then end early
        if length == most or (several and first <= length < most):
            return
        wanted = f"this model takes {first} to {most}" if several else f"{most} are needed"
        raise UserError(f"the prompt has {length} tokens: {wanted}; write {self.form}")

    def _tokens(self, text: str) -> list[int]:
        """Tokens by their labels, the longest label first, since one may hold a space ("hop 2")."""
        parts = text.split()
        longest = max((word.count(" ") + 1 for word in self.words), default=1)
        found: list[int] = []
        while parts:
            sizes = range(min(longest, len(parts)), 0, -1)
            size = next((size for size in sizes if " ".join(parts[:size]) in self.words), 0)
            found += [self.words[" ".join(parts[:size])]] if size else self._letters(parts[0])
            parts = parts[size or 1 :]
        return found

    def _letters(self, word: str) -> list[int]:
        """A word that is no label: letters without spaces, or a token's number with a "#"."""
        if re.fullmatch(r"#\d{1,9}", word, flags=re.ASCII) and int(word[1:]) < self.face.d_vocab:
            return [int(word[1:])]
        if all(letter in self.words and not letter.isdigit() for letter in word):
            return [self.words[letter] for letter in word]
        raise UserError(f"{word[:60]!r} is no token of task {self.task.kind!r}: write {self.form}")

    def _links(self, text: str) -> list[list[int]]:
        """Keys and values of links, and of the query at the end."""
        words, found = text.split(), []
        for place, word in enumerate(words, 1):
            match = re.fullmatch(r"(\d{1,9})>(\d{1,9}|_)", word, flags=re.ASCII)
            last = place == len(words)
            if not match or (match[2] == "_") != last:
                raise UserError(f"token {place}, {word[:60]!r}: write {self.form}")
            pair = [int(part) if part != "_" else self.face.d_vocab for part in match.groups()]
            if max(pair[: 2 - last]) >= self.face.d_vocab:
                raise UserError(f"token {place}, {word[:60]!r}: symbols are 0 to {self.face.d_vocab - 1}")
            found.append(pair)
        return found


def _followed(task: MultiHopRetrieval, row: list) -> Float[Tensor, "1 pos d_out"] | None:
    """The right answers of a retrieval prompt; None where links are missing, or a key stands twice."""
    asked = row.pop(-2) - task.vocab + 1 if task.target == "mix" else task.hops
    flat = task.layout == "flat"
    pairs = list(zip(row[:-1:2], row[1:-1:2], strict=True)) if flat else [tuple(link) for link in row[:-1]]
    links, symbol, chain = dict(pairs), row[-1] if flat else row[-1][0], []
    while len(chain) < asked and symbol in links:
        symbol = links[symbol]
        chain.append(symbol)
    if len(links) != len(pairs) or not 0 < len(chain) == asked or max(chain) >= task.symbol_width:
        return None
    wanted = chain if task.target == "ic" else chain[-1:]
    return exact(torch.tensor([wanted]), task.interface.n_ctx, task.symbol_width)


def _regression(task: InContextRegression, text: str, form: str) -> RegressionBatch:
    rows = [row for row in re.split(r"[;\n]+", text) if row.strip()]
    if len(rows) != task.n + 1:
        raise UserError(f"the prompt has {len(rows)} rows: write {form}")
    x, y = [], []
    for place, row in enumerate(rows, 1):
        inputs, colon, label = row.partition(":")
        if bool(colon) == (place == len(rows)):
            why = "the query has no label" if colon else 'an example has its label after ":"'
            raise UserError(f"row {place}, {row.strip()[:60]!r}: {why}")
        x.append([_number(word, place) for word in inputs.split()])
        y.append(_number(label.strip(), place) if colon else 0.0)
        if len(x[-1]) != task.d:
            raise UserError(f"row {place} has {len(x[-1])} coordinates: this task has {task.d}")
    xs, ys = torch.tensor([x]), torch.tensor([y])
    unknown = torch.full((1, task.d), torch.nan)
    inputs, targets = tokens(xs, ys, task.layout == "merged")
    basis = task.bases(torch.Generator().manual_seed(0), 1)  # the task's own, unless every prompt draws one
    return RegressionBatch(inputs, targets, xs, ys, ys, unknown, basis)


def _number(word: str, place: int) -> float:
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e6:
        raise UserError(f"row {place}: {word[:60]!r} is no number between -1e6 and 1e6")
    return value
