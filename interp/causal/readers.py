"""What downstream modules can read of the residual stream after a block: the directions that reach a later output.

Derived from the weights alone, backwards from the unembedding: a neuron is followed when its output reaches what is
read behind it, a head likewise, and then what its queries, keys and values read counts as seen, for one position and
for all the others apart. `Seen.basis` spans everything that is read on some such path; a move of the stream
orthogonal to it changes no later query, key, value or neuron and no output, except through the scale of a LayerNorm,
which is left out here. Being seen does not mean being used: attention may never look, a neuron may never fire. In a
trained net nearly every direction of an early layer is seen; after the last block only the unembedding's are.

A direction can be decodable through a part that nobody reads while an unrelated part, constant in practice, is read:
moving along both then changes the output although the model never uses it so (Makelov et al., arXiv 2311.17030).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal import arithmetic as ar
from interp.hooks.protocol import HookedModel
from interp.models.components import LayerNorm, allowed

RANK = 1e-3  # of a module's largest singular value: directions below count as not read
NOTHING = 1e-6  # relative size of a product of weights that is no connection

Basis = Float[Tensor, "d_model _"]


@dataclasses.dataclass(frozen=True)
class Seen:
    """An orthonormal basis of what is read downstream of a site, and which modules read there."""

    basis: Basis
    by: tuple[str, ...] = ()

    def part(self, x: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead d_model"]:
        """The part of vectors that lies in what is read."""
        return (x @ self.basis) @ self.basis.T

    @property
    def everything(self) -> bool:
        """Whether no direction is unread."""
        return self.basis.shape[1] == self.basis.shape[0]


def seen_after(
    model: HookedModel, layer: int, position: int, n_pos: int, outputs: Sequence[int] | None = None
) -> Seen | None:
    """What is read of the stream after block `layer` at a position, on paths to the outputs (some of them, or all)
    at the same position. None for models whose weights are not laid out as ours.
    """
    if not ar.is_transformer(model):
        return None
    visible = allowed(n_pos, model.config, torch.device("cpu"))
    places = _Places(visible, position)
    width = model.config.d_model
    last = model.W_U.detach().double()
    last = last if outputs is None else last[:, list(outputs)]
    here = _span([_before(getattr(model, "ln_final", None), last)])
    there = here[:, :0]
    by = {"output"}
    for index in range(len(model.blocks) - 1, layer, -1):
        by = {"output"}
        block = model.blocks[index]
        here, there = (_through_mlp(block, index, space, by) for space in (here, there))
        here, there = _through_heads(block, index, here, there, places, by)
    assert here.shape[0] == width
    return Seen(here, tuple(sorted(by)))


class _Places:
    """Who may attend to whom: the one position, and the others."""

    def __init__(self, visible: Tensor, position: int):
        others = [p for p in range(len(visible)) if p != position]
        self.own_to_own = bool(visible[position, position])
        self.own_to_others = bool(visible[position, others].any())
        self.others_to_own = bool(visible[others, position].any())
        self.others_to_others = bool(visible[others][:, others].any())


def _through_mlp(block: Any, index: int, space: Basis, by: set[str]) -> Basis:
    """What is read before the MLP of a block, from what is read after it."""
    if block.mlp is None or not space.shape[1]:
        return space
    out = block.mlp.W_out.detach().double()
    live = (out @ space).norm(dim=1) > NOTHING * out.norm(dim=1).clamp_min(1e-300)
    if not bool(live.any()):
        return space
    by.add(f"L{index}.mlp")
    return _span([space, _before(block.ln2, block.mlp.W_in.detach().double()[:, live])])


def _through_heads(
    block: Any, index: int, here: Basis, there: Basis, places: _Places, by: set[str]
) -> tuple[Basis, Basis]:
    """What is read before attention at the position and at the others, from what is read after it."""
    own, others = [here], [there]
    attn = block.attn
    for head in range(attn.heads):
        q, k, v, o = (getattr(attn, f"W_{name}")[head].detach().double() for name in ("Q", "K", "V", "O"))
        moved = [_value(v, o, space) for space in (here, there)]
        if not any(value.shape[1] for value in moved):
            continue
        by.add(f"L{index}H{head}")
        score = _score(q @ k.T)
        rows = [bool(value.shape[1]) for value in moved]
        scores = _before(block.ln1, score), _before(block.ln1, score.T)
        values = [_before(block.ln1, value) for value in moved]
        if rows[0]:
            own.append(scores[0])
            own += [scores[1], values[0]] if places.own_to_own else []
            others += [scores[1], values[0]] if places.own_to_others else []
        if rows[1]:
            others.append(scores[0])
            own += [scores[1], values[1]] if places.others_to_own else []
            others += [scores[1], values[1]] if places.others_to_others else []
    return _span(own), _span(others)


def _value(v: Tensor, o: Tensor, space: Basis) -> Float[Tensor, "d_model k"]:
    """What a head carries from its values into a space; no columns where that is nothing."""
    product = v @ (o @ space)
    size = float(v.norm() * o.norm())
    return product if size > 0 and float(product.norm()) > NOTHING * size else product[:, :0]


def _score(score: Tensor) -> Tensor:
    """The query-key matrix itself, without columns where there is none."""
    return score if float(score.norm()) > 0 else score[:, :0]


def _before(norm: Any, weights: Float[Tensor, "d_model k"]) -> Float[Tensor, "d_model k"]:
    """Weights behind a LayerNorm as seen before it: its gain, and its centring."""
    if norm is None:
        return weights
    if isinstance(norm, LayerNorm) and norm.w is not None:
        weights = norm.w.detach().double()[:, None] * weights
    return weights - weights.mean(0, keepdim=True)


def _span(parts: Sequence[Basis]) -> Basis:
    """Orthonormal basis of the columns of matrices, each on its own scale."""
    columns = []
    for part in parts:
        if part.shape[1] and float(part.norm()) > 0:
            u, size, _ = torch.linalg.svd(part, full_matrices=False)
            columns.append(u[:, size > RANK * size[0]])
    if not columns:
        return parts[0][:, :0]
    u, size, _ = torch.linalg.svd(torch.cat(columns, 1), full_matrices=False)
    return u[:, size > RANK * size[0]]
