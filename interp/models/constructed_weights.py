"""Weights of a hand-constructed model: an ordinary transformer without norms, MLPs or biases.

Heads take seats drawn from a seed. Scores are those of the match matrices (the softmax scale is undone).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.config.model_transformer import TransformerConfig
from interp.models.construction import Construction, Head, PlantedCircuit, planted_circuit
from interp.models.transformer import HookedTransformer
from tasks.base import Interface
from tasks.errors import UserError


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


def build_constructed(
    construction: Construction, interface: Interface, n_layers: int, seed: int, **settings: Any
) -> tuple[HookedTransformer, PlantedCircuit]:
    """The transformer a description stands for, and its circuit. Heads take seats drawn from `seed`.

    `settings` go to the transformer's configuration (attention, mask, positions, ...).
    """
    per_layer = [sum(head.layer == layer for head in construction.heads) for layer in range(n_layers)]
    config = TransformerConfig(
        n_layers=n_layers,
        n_heads=max(per_layer),
        d_model=construction.width,
        d_head=head_width(construction.heads),
        layer_norm="none",
        mlp="none",
        biases=False,
        **settings,
    )
    config.check(interface)
    model = HookedTransformer(config, interface, seed)
    places = seats(construction.heads, config.n_heads, seed)
    with torch.no_grad():
        _write(model, construction, places)
    return model.eval(), planted_circuit(construction, places)


def _write(model: HookedTransformer, construction: Construction, places: Mapping[int, str]) -> None:
    parameters = dict(model.named_parameters())
    for parameter in parameters.values():
        parameter.zero_()
    for name, columns in construction.tables.items():
        for slot, table in columns.items():
            parameters[name][:, construction.span(slot)] = table.to(parameters[name])
    for slot, matrix in construction.readout:
        model.W_U[construction.span(slot)] += matrix.to(model.W_U)
    for index, head in enumerate(construction.heads):
        write_head(model, construction, head, places[index])


def write_head(model: HookedTransformer, construction: Construction, head: Head, place: str) -> None:
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
            left[construction.span(rows), dims] = a
            right[dims, construction.span(columns)] = b
            used = dims.stop


def _factor(matrix: Float[Tensor, "row column"]) -> tuple[Tensor, Tensor]:
    """Two factors of a matrix, one of them an identity."""
    rows, columns = matrix.shape
    if rows <= columns:
        return torch.eye(rows).to(matrix), matrix
    return matrix, torch.eye(columns).to(matrix)
