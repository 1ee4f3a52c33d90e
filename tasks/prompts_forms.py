"""The five text forms of multi-hop retrieval: their sentences, and the names that fill them.

Sources of the forms: Musat (arXiv 2411.12118), where equations, lives-with and kingdoms are plain chains of look-ups,
functions and relatives conditional ones (a step needs more than the last value found). The wording is this project's.
A prompt has `chains` chains of `links` links; link j of chain c is a sentence that ties the node before it (its key) to
the next (its value). A sentence is a tuple of words (text) and columns (numbers), columns being filled with names.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

Form = Literal["equations", "lives-with", "kingdoms", "functions", "relatives"]
FORMS: tuple[Form, ...] = ("equations", "lives-with", "kingdoms", "functions", "relatives")
Sentence = tuple[str | int, ...]
_INNER = {
    "equations": "letter",
    "lives-with": "person",
    "kingdoms": "person",
    "functions": "argument",
    "relatives": "person",
}
_LAST = {
    "equations": "digit",
    "lives-with": "city",
    "kingdoms": "country",
    "functions": "digit",
    "relatives": "person",
}


class SentenceShape(NamedTuple):
    """Sizes of a prompt: rival chains included, links of each chain, and how many of them are asked for."""

    chains: int
    links: int
    hops: int

    def key(self, chain: int, link: int) -> int:
        """Column of the node before link `link` (from 1)."""
        return chain * self.links + link - 1

    def value(self, chain: int, link: int) -> int:
        """Column of the node behind it: a column of its own, so that one binding can be changed."""
        return self.chains * self.links + self.key(chain, link)

    @property
    def extras(self) -> int:
        """The first column that is neither key nor value."""
        return 2 * self.chains * self.links

    @property
    def first(self) -> int:
        """The link that is asked for first."""
        return self.links - self.hops + 1


class Plan(NamedTuple):
    """The sentences of a form: one a link (chain by chain), the others, and the question."""

    links: tuple[Sentence, ...]
    others: tuple[Sentence, ...]
    question: Sentence


def pools_of(form: Form, shape: SentenceShape) -> dict[str, int]:
    """How many distinct names of each pool a prompt needs."""
    inner, last = _INNER[form], _LAST[form]
    need = {inner: shape.chains * shape.links}
    need[last] = need.get(last, 0) + shape.chains
    if form == "functions":
        need["function"] = shape.links + 1
    if form == "relatives":
        need |= {"class": 2, "relation": 2}
    return need


def answer_pool(form: Form) -> str:
    """The pool that answers come from."""
    return _LAST[form]


def plan(form: Form, shape: SentenceShape) -> Plan:
    """The sentences of a form."""
    every = [(c, j) for c in range(shape.chains) for j in range(1, shape.links + 1)]
    asked = shape.key(0, shape.first)
    if form == "functions":
        return _functions(shape, every, asked)
    if form == "relatives":
        return _relatives(shape, every, asked)
    between, at_last, question = {
        "equations": (("=",), ("=",), ("So", asked, "=")),
        "lives-with": (("lives", "with"), ("lives", "in"), ("So", asked, "lives", "in")),
        "kingdoms": (("serves",), ("rules",), ("So", asked, "belongs", "to")),
    }[form]
    said = [
        (shape.key(c, j), *(at_last if j == shape.links else between), shape.value(c, j), ".")
        for c, j in every
    ]
    return Plan(tuple(said), (), question)


def _functions(shape: SentenceShape, every: list[tuple[int, int]], asked: int) -> Plan:
    """f ( A ) = B: the step needs function and argument; a distractor applies another function to the same argument."""
    names, distractor = range(shape.extras, shape.extras + shape.links), shape.extras + shape.links
    said = [(names[j - 1], "(", shape.key(c, j), ")", "=", shape.value(c, j), ".") for c, j in every]
    others = [
        (distractor + 2 * i, "(", shape.key(c, j), ")", "=", distractor + 2 * i + 1, ".")
        for i, (c, j) in enumerate(every)
    ]
    opened = [part for j in range(shape.links, shape.first - 1, -1) for part in (names[j - 1], "(")]
    return Plan(tuple(said), tuple(others), ("So", *opened, asked, *([")"] * shape.hops), "="))


def _relatives(shape: SentenceShape, every: list[tuple[int, int]], asked: int) -> Plan:
    """Whom a person lives with depends on the person's class, the class's rule and the relation so named."""
    rules = [("Every", shape.extras + i, "lives", "with", "the", shape.extras + 2 + i, ".") for i in range(2)]
    said, others = [], []
    for i, (c, j) in enumerate(every):
        key, at = shape.key(c, j), shape.extras + 4 + 4 * i
        said.append(("The", at + 1, "of", key, "is", shape.value(c, j), "."))
        others.append((key, "is", "a", at, "."))
        others.append(("The", at + 2, "of", key, "is", at + 3, "."))
    question = ("So", asked, "lives", "with", *(("someone", "who", "lives", "with") * (shape.hops - 1)))
    return Plan(tuple(said), (*rules, *others), question)


def fill(
    form: Form, shape: SentenceShape, sizes: dict[str, int], batch: int, source: torch.Generator
) -> Int[Tensor, "batch column"]:
    """Names for every column, as numbers of the form's pools laid end to end (in the order of `pools_of`)."""
    need = pools_of(form, shape)
    start, drawn = 0, {}
    for pool, count in need.items():
        order = torch.rand(batch, sizes[pool], generator=source).argsort(1)[:, :count]
        drawn[pool] = order + start
        start += sizes[pool]
    inner = drawn[_INNER[form]]
    last = inner[:, -shape.chains :] if _LAST[form] == _INNER[form] else drawn[_LAST[form]]
    nodes = torch.cat(
        [inner[:, : shape.chains * shape.links].unflatten(1, (shape.chains, -1)), last[..., None]], 2
    )
    columns = [nodes[..., :-1].flatten(1), nodes[..., 1:].flatten(1)]
    if form == "functions":
        columns.append(_distractor_functions(shape, drawn["function"], nodes, source))
    if form == "relatives":
        columns.append(_classes(shape, drawn["class"], drawn["relation"], nodes, source))
    return torch.cat(columns, 1)


def _distractor_functions(
    shape: SentenceShape,
    functions: Int[Tensor, "batch function"],
    nodes: Int[Tensor, "batch chain node"],
    source: torch.Generator,
) -> Int[Tensor, "batch column"]:
    """The functions of the links, then for each link a distractor: another function, and another chain's value."""
    batch = len(functions)
    shift = torch.randint(1, shape.links + 1, (batch, shape.chains, shape.links), generator=source)
    other = (torch.arange(shape.links) + shift) % (shape.links + 1)
    names = functions.gather(1, other.flatten(1))
    values = _of_another_chain(shape, nodes, torch.rand(batch, shape.chains, shape.links, generator=source))
    return torch.cat([functions[:, : shape.links], torch.stack([names, values], 2).flatten(1)], 1)


def _classes(
    shape: SentenceShape,
    classes: Int[Tensor, "batch 2"],
    relations: Int[Tensor, "batch 2"],
    nodes: Int[Tensor, "batch chain node"],
    source: torch.Generator,
) -> Int[Tensor, "batch column"]:
    """The two rules, then for each link its person's class, the relation it names, the other one and its person."""
    batch, count = len(classes), shape.chains * shape.links
    which = torch.randint(2, (batch, count), generator=source)
    values = _of_another_chain(shape, nodes, torch.rand(batch, shape.chains, shape.links, generator=source))
    each = [classes.gather(1, which), relations.gather(1, which), relations.gather(1, 1 - which), values]
    return torch.cat([classes, relations, torch.stack(each, 2).flatten(1)], 1)


def _of_another_chain(
    shape: SentenceShape, nodes: Int[Tensor, "batch chain node"], draw: Float[Tensor, "batch chain link"]
) -> Int[Tensor, "batch column"]:
    """For each link the node that stands at its value's place in another chain (in its own, if it is alone)."""
    step = (1 + (draw * (shape.chains - 1)).long()).clamp(max=max(shape.chains - 1, 0))
    chain = (torch.arange(shape.chains)[:, None] + step) % shape.chains
    return nodes[..., 1:].gather(1, chain).flatten(1)
