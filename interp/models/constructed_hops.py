"""Hand-constructed retrieval whose reach doubles with every layer, and the same length of chain one hop a layer.

Doubling: every link, and the query, holds the symbol that its chain comes to next; in layer t it attends to the link
with that key, 2^t links on, and takes over what that one holds. Along the way the query keeps the symbols that it
passes, which are the answers. One by one: `interp.models.constructed.constructed_retrieval(variant="chain")`.
"""

from __future__ import annotations

import torch

from interp.models.constructed import LOGIT, SHARP, SHARPNESS, ConstructedModel
from interp.models.construction import Construction, Copy, Head, PlantedMatch
from interp.models.distractors import JUNK, build_with_distractors, codes
from tasks.retrieval import MultiHopRetrieval


def constructed_doubling(
    layers: int = 3, vocab: int = 24, chains: int = 2, distractors: int = 0, seed: int = 0
) -> ConstructedModel:
    """Retrieval of 2^layers - 1 hops in so many layers (pair layout, discrete symbols, no mask, target "ic").

    Raises UserError for a vocabulary that is too small for the chains.
    """
    hops = 2**layers - 1
    task = MultiHopRetrieval(
        hops=hops, chains=chains, vocab=vocab, symbols="discrete", layout="pair", target="ic"
    )
    # slot "s i" of a link k hops from the start holds symbol k + i: s 0 its value, s -1 its key
    slots = [
        "key",
        *(f"s {i}" for i in range(2**layers)),
        *(f"answer {hop}" for hop in range(1, hops + 1)),
    ]
    blank = torch.zeros(vocab + 1, 1)
    blank[vocab] = 1.0
    heads = [head for layer in range(layers) for head in _of_layer(layer, vocab)]
    readout = []
    for hop in range(1, hops + 1):
        block = torch.zeros(vocab, hops * vocab)
        block[:, (hop - 1) * vocab : hop * vocab] = LOGIT * torch.eye(vocab)
        readout.append((f"answer {hop}", block))
    construction = Construction(
        slots={**dict.fromkeys(slots, vocab), "blank": 1, "junk": JUNK, "sink": JUNK},
        tables={
            "token_embed.W_E_key": {"key": torch.eye(vocab), "junk": codes(vocab, seed)},
            "token_embed.W_E_value": {"s 0": torch.eye(vocab + 1, vocab), "blank": blank},
        },
        heads=heads,
        readout=readout,
    )
    settings = {"mask": "full", "positions": "none", "dtype": "float64"}
    strengths = {"key": SHARP, "junk": SHARP / JUNK**0.5}
    model, circuit = build_with_distractors(
        construction, task, layers, distractors, strengths, seed, **settings
    )
    return ConstructedModel(model, circuit, task)


def _of_layer(layer: int, vocab: int) -> list[Head]:
    """The head of the links, and that of the query, which starts at the key that it asks for."""
    one, step = SHARPNESS * torch.eye(vocab), 2**layer
    own = f"s {step - 1}"  # the symbol that is looked up as a key
    links = [Copy(f"s {i}", f"s {step + i}", torch.eye(vocab)) for i in range(step)]
    asked = [Copy(f"s {i}", f"answer {step + i}", torch.eye(vocab)) for i in range(step)]
    not_itself = PlantedMatch("blank", "blank", torch.tensor([[-2 * SHARPNESS]]))
    start = (PlantedMatch(f"answer {step - 1}", "key", one),)
    if layer == 0:
        start = (PlantedMatch("key", "key", one), not_itself)
    return [
        Head(layer, f"link_k -> link_k+{step}", (PlantedMatch(own, "key", one),), tuple(links)),
        Head(layer, f"query -> link_{step}", start, tuple(asked)),
    ]
