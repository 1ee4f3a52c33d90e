"""Whether a direction that decodes a value is used: moved whole, in the part that is read downstream, in the rest.

A direction's weights w are split into what later modules can read, P w, and the rest (`interp.causal.readers`).
Each part is moved alone from the clean to the corrupt prompt's own reading of it, by the smallest move in the
activations' metric within its own subspace. `decoded` is the squared correlation of a part's reading with the
value, over clean and corrupt prompts.

Verdicts of `use_of`: "used" where the part that is read decodes the value as well as the whole does and moving it alone
changes the output as predicted; "not read" where the value is decoded mainly from directions that nobody reads, be
there an effect of the whole direction or not; "not used" where it is read and moving it does too little; "not decoded".
An effect of the whole direction with the verdict "not read" is an interpretability illusion in the sense of Makelov et
al. (arXiv 2311.17030): the move wakes a path that is dormant on the model's own prompts, or drags something else along.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.readers import Seen
from probes.interval import Interval

Part = Literal["whole", "seen", "unseen"]
Use = Literal["used", "not read", "not used", "not decoded"]
PARTS: tuple[Part, ...] = ("whole", "seen", "unseen")
USED = 0.5  # least slope of a used direction, its lower confidence limit
MISSED = 0.5  # most of the predicted change that may be missed
GAP = 0.1  # of the decoded variance: what the part that is read may lack
DECODED = 0.1  # least decoded variance
STILL = 1e-9  # share of the whole reading's variance below which a part has nothing to move


@dataclasses.dataclass(frozen=True)
class Moved:
    """A part of a direction: how well it decodes the value, and the move of every prompt."""

    part: Part
    decoded: float
    move: Float[Tensor, "prompt d_model"]


def parts_of(
    weights: Float[Tensor, "d_model"],
    seen: Seen,
    clean: Float[Tensor, "prompt d_model"],
    corrupt: Float[Tensor, "prompt d_model"],
    values: Float[Tensor, "both"],
) -> list[Moved]:
    """The part of a direction that is read and the part that is not, with their moves from clean to corrupt; `values`
    are what the direction should decode, of the clean prompts and then of the corrupt ones.
    """
    w = weights.double()
    inside = seen.part(w)
    spaces = {"seen": (inside, seen.basis), "unseen": (w - inside, _complement(seen.basis))}
    stream = torch.cat([clean, corrupt]).double()
    whole = (stream @ w).var()
    found = []
    for part, (direction, basis) in spaces.items():
        reading = stream @ direction
        still = not basis.shape[1] or float(reading.var()) <= STILL * float(whole)
        along = torch.zeros_like(w) if still else _along(direction, basis, stream)
        amount = (corrupt - clean).double() @ direction
        move = (amount[:, None] * along).to(clean)
        found.append(Moved(part, 0.0 if still else decoded(reading, values), move))  # type: ignore[arg-type]
    return found


def decoded(reading: Float[Tensor, "prompt"], values: Float[Tensor, "prompt"]) -> float:
    """Squared correlation of a reading with a value; 0 where either does not vary."""
    a, b = (x.double() - x.double().mean() for x in (reading, values))
    size = a.square().sum() * b.square().sum()
    return float((a @ b).square() / size) if float(size) > 0 else 0.0


def _along(
    direction: Float[Tensor, "d_model"],
    basis: Float[Tensor, "d_model k"],
    stream: Float[Tensor, "prompt d_model"],
) -> Float[Tensor, "d_model"]:
    """The smallest move within a subspace, in the metric of its own activations, that moves a reading by 1."""
    inner = (stream - stream.mean(0)) @ basis
    covariance = inner.T @ inner / max(1, len(inner) - 1)
    w = basis.T @ direction
    moved = covariance @ w
    return basis @ (moved / (w @ moved))


def _complement(basis: Float[Tensor, "d_model k"]) -> Float[Tensor, "d_model rest"]:
    """Orthonormal basis of everything orthogonal to a subspace."""
    u = torch.linalg.svd(basis, full_matrices=True).U
    return u[:, basis.shape[1] :]


def use_of(whole: float, seen: float, slope: Interval, missed: Interval) -> Use:
    """The verdict from what the whole direction and its part that is read decode, and the effect of moving that
    part alone (causal slope and missed change).
    """
    if whole < DECODED:
        return "not decoded"
    if seen < whole - GAP:
        return "not read"
    return "used" if slope.low > USED and missed.high < MISSED else "not used"
