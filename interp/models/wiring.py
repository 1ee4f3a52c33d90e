"""Writing a transformer's weights down: named slots of the residual stream, and heads that match and copy
slots.

A wired net is an ordinary transformer without norms, MLPs or biases whose weights come from a short
description, so that its circuit is known. The circuit is read off the description: a sender has an edge to a
receiver that reads a slot the sender writes. Scores are those of the match matrices (the softmax scale is
undone).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.models.transformer import HookedTransformer
from interp.models.transformer_config import TransformerConfig
from tasks.base import Interface
from tasks.errors import UserError


@dataclasses.dataclass(frozen=True)
class Match:
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
    """A head by its role; `planted` heads belong to the circuit, others are decoys."""

    layer: int
    role: str
    match: tuple[Match, ...]
    copy: tuple[Copy, ...]
    planted: bool = True


@dataclasses.dataclass(frozen=True)
class Circuit:
    """The planted truth. Heads are "L0H3"; edges are (sender, receiver), a sender "embed" or a head, a
    receiver "L1H2.q", ".k", ".v" or "output". "embed" is the residual stream before the first block,
    positions included.

    `edges` carry what differs between prompts; `positional` edges carry positions only, so that resampling
    from a prompt of equal length cannot see them. `roles` names every planted head; `decoys` are the other
    heads that write.
    """

    heads: frozenset[str]
    edges: frozenset[tuple[str, str]]
    positional: frozenset[tuple[str, str]]
    roles: Mapping[str, str]
    decoys: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Wiring:
    """A net's description. `tables` maps a read-in parameter ("token_embed.W_E", "positions.W_pos", ...) to
    the slots that its columns fill; `readout` lists (slot, matrix [slot, d_out]).
    """

    slots: Mapping[str, int]
    tables: Mapping[str, Mapping[str, Tensor]]
    heads: Sequence[Head]
    readout: Sequence[tuple[str, Tensor]]

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return sum(self.slots.values())

    def span(self, slot: str) -> slice:
        """Where a slot lies in the residual stream."""
        names = list(self.slots)
        start = sum(self.slots[name] for name in names[: names.index(slot)])
        return slice(start, start + self.slots[slot])


def head_width(heads: Sequence[Head]) -> int:
    """The smallest head width that holds every head's match and copy terms."""
    ranks = [sum(min(term.matrix.shape) for term in terms) for h in heads for terms in (h.match, h.copy)]
    return max(ranks)


def seats(heads: Sequence[Head], n_heads: int, seed: int) -> dict[int, str]:
    """A place "L{layer}H{head}" for each head of the description (by its index), shuffled within the layer."""
    source = torch.Generator().manual_seed(seed)
    order: dict[int, list[int]] = {}
    places = {}
    for index, head in enumerate(heads):
        free = order.setdefault(head.layer, torch.randperm(n_heads, generator=source).tolist())
        if not free:
            raise UserError(f"layer {head.layer} has more than {n_heads} heads: raise n_heads")
        places[index] = f"L{head.layer}H{free.pop()}"
    return places


def build_wired(
    wiring: Wiring, interface: Interface, n_layers: int, seed: int, **settings: Any
) -> tuple[HookedTransformer, Circuit]:
    """The transformer a description stands for, and its circuit. Heads take seats drawn from `seed`.

    `settings` go to the transformer's configuration (attention, mask, positions, ...).
    """
    per_layer = [sum(head.layer == layer for head in wiring.heads) for layer in range(n_layers)]
    config = TransformerConfig(
        n_layers=n_layers,
        n_heads=max(per_layer),
        d_model=wiring.width,
        d_head=head_width(wiring.heads),
        layer_norm="none",
        mlp="none",
        biases=False,
        **settings,
    )
    config.check(interface)
    model = HookedTransformer(config, interface, seed)
    places = seats(wiring.heads, config.n_heads, seed)
    with torch.no_grad():
        _write(model, wiring, places)
    return model.eval(), circuit_of(wiring, places)


def _write(model: HookedTransformer, wiring: Wiring, places: Mapping[int, str]) -> None:
    parameters = dict(model.named_parameters())
    for parameter in parameters.values():
        parameter.zero_()
    for name, columns in wiring.tables.items():
        for slot, table in columns.items():
            parameters[name][:, wiring.span(slot)] = table.to(parameters[name])
    for slot, matrix in wiring.readout:
        model.W_U[wiring.span(slot)] += matrix.to(model.W_U)
    for index, head in enumerate(wiring.heads):
        write_head(model, wiring, head, places[index])


def write_head(model: HookedTransformer, wiring: Wiring, head: Head, place: str) -> None:
    """Put one head's weights in its seat. Each term takes as many dimensions of the head as its matrix's rank
    allows.
    """
    layer, seat = (int(part) for part in place[1:].split("H"))
    attn = model.typed_blocks()[layer].attn
    softmax_scale = attn.width**0.5 if model.config.scale == "sqrt_d_head" else 1.0
    pairs = [
        (attn.W_Q[seat], attn.W_K[seat].T, [(m.query, m.key, m.matrix * softmax_scale) for m in head.match]),
        (attn.W_V[seat], attn.W_O[seat], [(c.source, c.target, c.matrix) for c in head.copy]),
    ]
    for left, right, terms in pairs:
        left.zero_()
        right.zero_()
        used = 0
        for rows, columns, matrix in terms:
            a, b = _factor(matrix.to(left))
            dims = slice(used, used + a.shape[1])
            left[wiring.span(rows), dims] = a
            right[dims, wiring.span(columns)] = b
            used = dims.stop


def _factor(matrix: Float[Tensor, "row column"]) -> tuple[Tensor, Tensor]:
    """Two factors of a matrix, one of them an identity."""
    rows, columns = matrix.shape
    if rows <= columns:
        return torch.eye(rows).to(matrix), matrix
    return matrix, torch.eye(columns).to(matrix)


def circuit_of(wiring: Wiring, places: Mapping[int, str]) -> Circuit:
    """Planted heads and edges, from the slots that the description writes and reads."""
    planted = [(places[i], head) for i, head in enumerate(wiring.heads) if head.planted]
    reads = [("output", len(wiring.heads), {slot for slot, _ in wiring.readout})]
    for place, head in planted:
        reads.append((f"{place}.q", head.layer, {m.query for m in head.match}))
        reads.append((f"{place}.k", head.layer, {m.key for m in head.match}))
        reads.append((f"{place}.v", head.layer, {c.source for c in head.copy}))
    everywhere = {slot for name, columns in wiring.tables.items() if "pos" not in name for slot in columns}
    positions = {slot for columns in wiring.tables.values() for slot in columns} - everywhere
    last = 1 + max(head.layer for head in wiring.heads)
    writes = [("embed", -1, everywhere)]
    writes += [(place, head.layer, {c.target for c in head.copy}) for place, head in planted]
    edges = {
        (sender, receiver)
        for sender, written_at, written in writes
        for receiver, read_at, read in reads
        if written_at < (last if receiver == "output" else read_at) and written & read
    }
    positional = {("embed", receiver) for receiver, _, read in reads if positions & read} - edges
    return Circuit(
        heads=frozenset(place for place, _ in planted),
        edges=frozenset(edges),
        positional=frozenset(positional),
        roles={place: head.role for place, head in planted},
        decoys=frozenset(places[i] for i, head in enumerate(wiring.heads) if not head.planted),
    )
