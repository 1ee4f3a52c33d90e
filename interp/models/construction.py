"""Description of a hand-constructed transformer: named slots of the residual stream, heads that match and copy slots,
and the circuit that follows from them.

The circuit is derived from the description alone, backwards from the outputs that count. A sender has an edge to a
receiver when it writes a slot that the receiver reads, at a place where the receiver reads it and where what comes of
it still reaches an output that counts. What is the same in every prompt (the label slot of a query, always 0) is not
written. Everything else may change an output; nothing left out can. `interp.models.constructed_weights` writes the
weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

Placed = tuple[str, str]  # a slot, at a place


@dataclasses.dataclass(frozen=True)
class PlantedMatch:
    """A term of a head's scores: query slot of the row, times `matrix`, times key slot of the column."""

    query: str
    key: str
    matrix: Float[Tensor, "query key"]


@dataclasses.dataclass(frozen=True)
class Copy:
    """A term of what a head writes: `source` slot of the attended position, times `matrix`, added to
    `target`.
    """

    source: str
    target: str
    matrix: Float[Tensor, "source target"]


@dataclasses.dataclass(frozen=True)
class Head:
    """A head by its role; `planted` heads belong to the circuit, others are distractor heads."""

    layer: int
    role: str
    match: tuple[PlantedMatch, ...]
    copy: tuple[Copy, ...]
    planted: bool = True


@dataclasses.dataclass(frozen=True)
class PlantedCircuit:
    """The planted ground truth. Heads are "L0H3"; edges are (sender, receiver), a sender "embed" or a head, a
    receiver "L1H2.q", ".k", ".v" or "output". "embed" is the residual stream before the first block,
    positions included.

    `edges` carry what differs between prompts; `positional` edges carry positions only, so that resampling
    from a prompt of equal length cannot see them. `roles` names every planted head; `distractors` are the
    distractor heads.
    """

    heads: frozenset[str]
    edges: frozenset[tuple[str, str]]
    positional: frozenset[tuple[str, str]]
    roles: Mapping[str, str]
    distractors: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Construction:
    """A net's description. `tables` maps a read-in parameter ("token_embed.W_E", "positions.W_pos", ...) to
    the slots that its columns fill; `readout` lists (slot, matrix [slot, d_out]).

    `places` are kinds of positions told apart: those that heads may attend to (`attended`) and those whose outputs
    count (`output_places`). `empty` lists (slot, place) that the read-in leaves at 0 in every prompt.
    """

    slots: Mapping[str, int]
    tables: Mapping[str, Mapping[str, Tensor]]
    heads: Sequence[Head]
    readout: Sequence[tuple[str, Tensor]]
    places: tuple[str, ...] = ("every",)
    attended: tuple[str, ...] = ("every",)
    output_places: tuple[str, ...] = ("every",)
    empty: frozenset[tuple[str, str]] = frozenset()

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return sum(self.slots.values())

    def span(self, slot: str) -> slice:
        """Where a slot lies in the residual stream."""
        names = list(self.slots)
        start = sum(self.slots[name] for name in names[: names.index(slot)])
        return slice(start, start + self.slots[slot])


def planted_circuit(construction: Construction, places: Mapping[int, str]) -> PlantedCircuit:
    """Planted heads and edges; `places` seats every head of the description (by its index)."""
    planted = [(places[i], head) for i, head in enumerate(construction.heads) if head.planted]
    reads = _reads(construction, planted)
    varying, positions = _embedded(construction)
    writes = [("embed", -1, varying)]
    writes += [
        (seat, head.layer, _everywhere(construction, {c.target for c in head.copy})) for seat, head in planted
    ]
    edges = {
        (sender, receiver)
        for sender, written_at, written in writes
        for receiver, read_at, read in reads
        if written_at < read_at and written & read
    }
    positional = {("embed", receiver) for receiver, _, read in reads if positions & read} - edges
    return PlantedCircuit(
        heads=frozenset(seat for seat, _ in planted),
        edges=frozenset(edges),
        positional=frozenset(positional),
        roles={seat: head.role for seat, head in planted},
        distractors=frozenset(places[i] for i, head in enumerate(construction.heads) if not head.planted),
    )


def _reads(
    construction: Construction, planted: Sequence[tuple[str, Head]]
) -> list[tuple[str, int, set[Placed]]]:
    """(receiver, layer, what it reads to the end that an output changes), from the output backwards."""
    after = 1 + max(head.layer for head in construction.heads)
    reads = [
        (
            "output",
            after,
            {(slot, place) for slot, _ in construction.readout for place in construction.output_places},
        )
    ]
    for seat, head in sorted(planted, key=lambda one: -one[1].layer):
        wanted = {placed for _, layer, what in reads if layer > head.layer for placed in what}
        copies = [c for c in head.copy if _everywhere(construction, {c.target}) & wanted]
        rows = {place for c in copies for slot, place in wanted if slot == c.target}
        keys = construction.attended if rows else ()
        reads += [
            (f"{seat}.q", head.layer, {(m.query, place) for m in head.match for place in rows}),
            (f"{seat}.k", head.layer, {(m.key, place) for m in head.match for place in keys}),
            (f"{seat}.v", head.layer, {(c.source, place) for c in copies for place in keys}),
        ]
    return reads


def _everywhere(construction: Construction, slots: Iterable[str]) -> set[Placed]:
    return {(slot, place) for slot in slots for place in construction.places}


def _embedded(construction: Construction) -> tuple[set[Placed], set[Placed]]:
    """What the read-in holds: of the tokens (less what is always 0), and of positions alone."""
    tokens = {slot for name, columns in construction.tables.items() if "pos" not in name for slot in columns}
    slots = {slot for columns in construction.tables.values() for slot in columns}
    return _everywhere(construction, tokens) - construction.empty, _everywhere(construction, slots - tokens)
