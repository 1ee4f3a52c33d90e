"""Hand-constructed models, whose circuit is known: multi-hop retrieval and an induction pair.

Residual slots hold one-hot symbols: a token's key and value, the hop answers collected at the query, and what
a link copies from its neighbours. These models attain the depth bound of arXiv 2411.12118, section 5: a layer of
attention triples the symbols available at a position. Distractor heads attend sharply and write to an unread slot.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch

from interp.models.construction import Construction, Copy, Head, PlantedCircuit, PlantedMatch
from interp.models.distractors import JUNK, build_with_distractors, codes
from interp.models.transformer import HookedTransformer
from tasks.base import Task
from tasks.errors import UserError
from tasks.retrieval import MultiHopRetrieval

SHARPNESS = 40.0  # score of a match: what does not match keeps e^-40 of the attention
LOGIT = 20.0  # logit of the answer
SHARP = 20 * SHARPNESS  # score of two symbols in a decoy
MERGE_LAYERS = {1: 1, 2: 2, 3: 2, 4: 2}


@dataclasses.dataclass(frozen=True)
class ConstructedModel:
    """A hand-constructed model, its planted circuit, and the task that it solves."""

    model: HookedTransformer
    circuit: PlantedCircuit
    task: Task


def constructed_retrieval(
    hops: int,
    variant: Literal["merge", "chain"] = "merge",
    vocab: int = 32,
    chains: int = 4,
    distractors: int = 0,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float64",
) -> ConstructedModel:
    """A hand-constructed model of `hops`-hop retrieval (pair layout, discrete symbols, no mask, target "ic").

    "merge" uses the fewest layers: one for a single hop, two for 2 to 4, where in layer 0 every link attends to
    its successor (and, for four hops, its predecessor). No head of it attends from the query to the last
    hop's source. "chain" uses a layer a hop: head k attends from the query to link k. `distractors` distractor heads
    are added, a quarter of them reading the task's tokens. Raises UserError for "merge" with more than 4 hops or
    none.
    """
    task = MultiHopRetrieval(
        hops=hops, chains=chains, vocab=vocab, symbols="discrete", layout="pair", target="ic"
    )
    if variant == "merge" and hops not in MERGE_LAYERS:
        raise UserError(f"variant='merge' is constructed for 1 to 4 hops, not {hops}: use variant='chain'")
    n_layers = MERGE_LAYERS[hops] if variant == "merge" else hops
    heads = _merge_heads(hops, vocab) if variant == "merge" else _chain_heads(hops, vocab)
    construction = _retrieval_construction(heads, hops, vocab, seed)
    settings = {"mask": "full", "positions": "none", "dtype": dtype}
    strengths = {"key": SHARP, "junk": SHARP / JUNK**0.5}
    model, circuit = build_with_distractors(
        construction, task, n_layers, distractors, strengths, seed, **settings
    )
    return ConstructedModel(model, circuit, task)


def constructed_induction(
    vocab: int = 32,
    chains: int = 4,
    distractors: int = 0,
    seed: int = 0,
    dtype: Literal["float32", "float64"] = "float64",
) -> ConstructedModel:
    """A previous-token head and an induction head on tokens a b ... a -> b (one-hop retrieval, flat layout,
    causal).

    The previous-token head of position 0 can only see itself, so the induction head's keys leave position 0
    out.
    """
    task = MultiHopRetrieval(
        hops=1, chains=chains, vocab=vocab, symbols="discrete", layout="flat", target="ic"
    )
    n_ctx = task.interface.n_ctx
    construction = Construction(
        slots={
            "token": vocab,
            "position": n_ctx,
            "before": vocab,
            "answer 1": vocab,
            "junk": JUNK,
            "sink": JUNK,
        },
        tables={
            "token_embed.W_E": {"token": torch.eye(vocab), "junk": codes(vocab, seed)},
            "positions.W_pos": {"position": torch.eye(n_ctx)},
        },
        heads=_induction_heads(n_ctx, vocab),
        readout=[("answer 1", LOGIT * torch.eye(vocab))],
    )
    settings = {"mask": "causal", "positions": "learned", "dtype": dtype}
    strengths = {"token": SHARP, "junk": SHARP / JUNK**0.5}
    model, circuit = build_with_distractors(construction, task, 2, distractors, strengths, seed, **settings)
    return ConstructedModel(model, circuit, task)


def _induction_heads(n_ctx: int, vocab: int) -> list[Head]:
    one = SHARPNESS * torch.eye(vocab)
    not_first = torch.zeros(vocab, n_ctx)
    not_first[:, 0] = -SHARPNESS
    previous = SHARPNESS * torch.eye(n_ctx).roll(1, 0)
    previous[0] = 0
    return [
        Head(
            0,
            "previous token",
            (PlantedMatch("position", "position", previous),),
            (_copy("token", "before", vocab),),
        ),
        Head(
            1,
            "induction",
            (PlantedMatch("token", "before", one), PlantedMatch("token", "position", not_first)),
            (_copy("token", "answer 1", vocab),),
        ),
    ]


def _copy(source: str, target: str, width: int) -> Copy:
    return Copy(source, target, torch.eye(width))


def _lookup(query: str, key: str, vocab: int) -> tuple[PlantedMatch, ...]:
    """Attend to the position whose `key` slot holds the symbol in the row's `query` slot."""
    return (PlantedMatch(query, key, SHARPNESS * torch.eye(vocab)),)


def _first_lookup(vocab: int) -> tuple[PlantedMatch, ...]:
    """Query to link 1. The query token has the key that it asks for, so it must not attend to itself."""
    return (*_lookup("key", "key", vocab), PlantedMatch("blank", "blank", torch.tensor([[-2 * SHARPNESS]])))


def _chain_heads(hops: int, vocab: int) -> list[Head]:
    heads = [Head(0, "query -> link_1", _first_lookup(vocab), (_copy("value", "answer 1", vocab),))]
    for hop in range(2, hops + 1):
        match = _lookup(f"answer {hop - 1}", "key", vocab)
        heads.append(Head(hop - 1, f"query -> link_{hop}", match, (_copy("value", f"answer {hop}", vocab),)))
    return heads


def _merge_heads(hops: int, vocab: int) -> list[Head]:
    """Hop 1: one look-up. Hop 2: links attend to their successors, then link 1 is looked up. Hops 3 and 4: links
    attend to their successors (and predecessors), the query looks up link 1; then link 2, which holds s_2 and s_3
    (and link 3, which holds s_1 and s_4).
    """
    first = Head(0, "query -> link_1", _first_lookup(vocab), (_copy("value", "answer 1", vocab),))
    ahead = Head(0, "link_k -> link_k+1", _lookup("value", "key", vocab), (_copy("value", "next", vocab),))
    back = Head(0, "link_k -> link_k-1", _lookup("key", "value", vocab), (_copy("key", "previous", vocab),))
    if hops == 1:
        return [first]
    if hops == 2:
        both = (_copy("value", "answer 1", vocab), _copy("next", "answer 2", vocab))
        return [ahead, Head(1, "query -> link_1", _first_lookup(vocab), both)]
    both = (_copy("value", "answer 2", vocab), _copy("next", "answer 3", vocab))
    heads = [first, ahead, Head(1, "query -> link_2", _lookup("answer 1", "key", vocab), both)]
    if hops == 4:
        match = _lookup("answer 1", "previous", vocab)
        heads += [back, Head(1, "query -> link_3", match, (_copy("next", "answer 4", vocab),))]
    return heads


def _retrieval_construction(heads: list[Head], hops: int, vocab: int, seed: int) -> Construction:
    answers = [f"answer {hop}" for hop in range(1, hops + 1)]
    names = ["key", "value", "next", "previous", *answers]
    blank = torch.zeros(vocab + 1, 1)
    blank[vocab] = 1.0
    readout = []
    for index, answer in enumerate(answers):
        block = torch.zeros(vocab, hops * vocab)
        block[:, index * vocab : (index + 1) * vocab] = LOGIT * torch.eye(vocab)
        readout.append((answer, block))
    return Construction(
        slots={**dict.fromkeys(names, vocab), "blank": 1, "junk": JUNK, "sink": JUNK},
        tables={
            "token_embed.W_E_key": {"key": torch.eye(vocab), "junk": codes(vocab, seed)},
            "token_embed.W_E_value": {"value": torch.eye(vocab + 1, vocab), "blank": blank},
        },
        heads=heads,
        readout=readout,
    )
